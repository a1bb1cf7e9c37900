"""The same samples predicted by several runs: figures by loops over voxels, the choice of samples, the page, errors."""

import base64
import io
import re
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from fake_gallery import HOSTILE, PicturedFrames, write_pictured_experiment
from fake_occupancy import CLASSES, TinyNetwork, write_frames
from fake_semantickitti import write_semantickitti
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from al_lightning import cli
from al_lightning.data import Occ3DNuScenes, SemanticKITTI
from al_lightning.report import qualitative
from al_lightning.report.html_elements import NOTHING
from al_lightning.report.html_qualitative import Comparison
from al_lightning.tasks import OccupancyTask
from al_lightning.types import IGNORE, OccupancyAnnotations, OccupancyPrediction, VoxelGrid, collate

SAMPLES = 6
WEIGHTS = {"cas": [], "first": ["inter=0", "intra=0"], "second": ["inter=0", "intra=0"]}
LABELS = ["inter + intra + uncertainty", "uncertainty, seed 0", "uncertainty, seed 1"]


class MaskedFrames(PicturedFrames):
    """`PicturedFrames` whose validation has voxels without a label and a mask that leaves some out."""

    def __init__(self, root: str, split: str) -> None:
        super().__init__(root, split)
        self.units = self.units if self.files else ()

    def annotations(self, row):
        found = super().annotations(row)
        if self.folder.name != "val":
            return found
        semantics, mask = found.semantics.clone(), found.mask.clone()
        semantics[0, row % 4] = IGNORE
        mask[:, (row + 1) % 4, 1] = False
        return OccupancyAnnotations(semantics, mask)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of two acquisitions, one of them with two seeds; each has trained two cycles."""
    folder = tmp_path_factory.mktemp("qualitative")
    words = write_pictured_experiment(folder, "occupancy")
    write_frames(folder / "data", val=SAMPLES)
    file = folder / "configs/experiment/fake.yaml"
    file.write_text(file.read_text().replace("fake_gallery.PicturedFrames", f"{__name__}.MaskedFrames"))
    words += ["loop.cycles=2", "trainer.max_epochs=2", "gallery.selected=1", "gallery.rejected=0"]
    for name, weights in WEIGHTS.items():
        own = [f"acquisition.weights.{weight}" for weight in weights]
        own += [f"run_dir={folder / name}", f"seed={int(name == 'second')}"]
        assert cli.main([*words, *own], folder / "configs") == 0
    return {name: folder / name for name in WEIGHTS}


def call(runs: dict[str, Path], *words: object) -> int:
    return qualitative.main([*map(str, runs.values()), *map(str, words)])


def brute_force(prediction, semantics, mask, free: int) -> float:
    """Mean IoU over the classes in truth, voxel by voxel."""
    hits: dict[int, int] = {}
    either: dict[int, int] = {}
    true: set[int] = set()
    for p, s, m in zip(*(np.asarray(values).ravel().tolist() for values in (prediction, semantics, mask)), strict=True):
        if not m or s == IGNORE:
            continue
        true.add(s)
        for k in {p, s}:
            either[k] = either.get(k, 0) + 1
            hits[k] = hits.get(k, 0) + (p == s)
    true.discard(free)
    return float(np.mean([hits[k] / either[k] for k in sorted(true)])) if true else float("nan")


def predicted(run: Path, cycle: int, dataset: MaskedFrames, row: int) -> np.ndarray:
    """What a run's network predicts, loaded by hand."""
    weights = torch.load(run / f"cycles/{cycle}/checkpoint.ckpt", weights_only=True)["state_dict"]
    network = TinyNetwork().eval()
    network.load_state_dict(
        {key.removeprefix("network."): value for key, value in weights.items() if key.startswith("network.")}
    )
    with torch.no_grad():
        return network(collate([dataset.sample(row)]).inputs).logits[0].argmax(0).numpy()


def figures(runs: dict[str, Path], cycle: int, dataset: MaskedFrames) -> np.ndarray:
    """(samples, runs)."""
    truth = [dataset.annotations(row) for row in range(len(dataset))]
    return np.array([
        [brute_force(predicted(run, cycle, dataset, row), one.semantics, one.mask, 0) for run in runs.values()]
        for row, one in enumerate(truth)
    ])  # fmt: skip


def frames(runs: dict[str, Path]) -> MaskedFrames:
    return MaskedFrames(str(runs["cas"].parent / "data"), "val")


def shown(page: str) -> list[int]:
    return [int(row) for row in re.findall(r"Row (\d+)", page)]


def below(page: str, sample: int) -> list[str]:
    """The mIoU below the predictions of a sample."""
    return re.findall(rf'id="sample-{sample}-[1-9]-title".*?mIoU (.*?)</p>', page)


@pytest.mark.parametrize("cycle", [0, 1])
def test_figures_are_those_of_loops_over_voxels(runs, tmp_path, cycle) -> None:
    rows = [4, 1, 2, 0, 3, 5]
    assert call(runs, "--sample", *rows, "--cycle", cycle, "--out", tmp_path / "new/page.html") == 0
    page = unescape((tmp_path / "new/page.html").read_text())
    expected = figures(runs, cycle, frames(runs))
    assert shown(page) == rows
    for place, row in enumerate(rows):
        words = [NOTHING if np.isnan(value) else f"{100 * value:.2f} %" for value in expected[row]]
        assert below(page, place) == words
    assert qualitative.NAMED in page


def test_the_samples_in_which_the_runs_differ_most_come_first(runs, tmp_path) -> None:
    assert call(runs, "--count", 3, "--out", tmp_path / "page.html") == 0
    page = unescape((tmp_path / "page.html").read_text())
    values = figures(runs, 1, frames(runs))  # the last cycle
    spread = np.nan_to_num(values.max(1) - values.min(1))
    assert spread.max() > 0
    assert shown(page) == sorted(range(SAMPLES), key=lambda row: (-spread[row], row))[:3]
    assert "farthest apart" in page


@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=2, max_size=2), max_size=9), st.integers(1, 5)
)
def test_equal_spreads_keep_their_order(figures: list[list[float]], count: int) -> None:
    nothing = np.zeros((1, 1, 1), np.uint8)
    compared = [Comparison(row, nothing, [], own) for row, own in enumerate(figures)]
    chosen = [one.row for one in qualitative.most_different(iter(compared), count)]
    order = sorted((-abs(a - b), row) for row, (a, b) in enumerate(figures))
    assert chosen == [row for _, row in order[:count]]


def test_a_sample_without_objects_has_no_figure() -> None:
    truth = torch.tensor([[[0, IGNORE]]])
    assert np.isnan(qualitative.sample_miou(torch.tensor([[[1, 1]]]), truth, 3, 0))
    assert Comparison(0, truth.numpy(), [], [float("nan")] * 2).spread == 0


def test_voxels_that_do_not_count_are_left_out_everywhere(runs) -> None:
    dataset = frames(runs)
    tasks = [one.task for one in qualitative.read_contestants(list(runs.values()), None)]
    assert not any(task.training for task in tasks)
    for row in range(SAMPLES):
        found = qualitative.compare(dataset, row, tasks)
        truth = dataset.annotations(row)
        counts = (truth.mask & (truth.semantics != IGNORE)).numpy()
        assert 0 < counts.sum() < counts.size
        for volume in (found.truth, *found.predictions):
            np.testing.assert_array_equal(volume != IGNORE, counts)
        np.testing.assert_array_equal(found.truth[counts], truth.semantics.numpy()[counts])
        for run, volume in zip(runs.values(), found.predictions, strict=True):
            np.testing.assert_array_equal(volume[counts], predicted(run, 1, dataset, row)[counts])


class Echo(OccupancyTask):
    """Predicts classes that depend on the voxel alone, of any number of classes."""

    device = torch.device("cpu")

    def __init__(self, shape: tuple[int, int, int], num_classes: int) -> None:
        torch.nn.Module.__init__(self)
        self.shape, self.num_classes = shape, num_classes

    def predict_step(self, batch, batch_idx):
        assert batch.annotations is None
        classes = torch.arange(int(np.prod(self.shape))).view(1, *self.shape) % self.num_classes
        return OccupancyPrediction(torch.nn.functional.one_hot(classes, self.num_classes).movedim(-1, 1).float())


@pytest.mark.parametrize("kind", ["occ3d", "kitti"])
def test_free_space_is_the_data_sets_own(kind: str, tiny_world: Path, tmp_path: Path) -> None:
    if kind == "occ3d":
        grid = VoxelGrid((-40, -40, -1), (40, 40, 5.4), (50, 50, 8))
        dataset, classes, free = Occ3DNuScenes(str(tiny_world), grid, "v1.0-sim", "val", image_size=(32, 96)), 18, 17
    else:
        write_semantickitti(tmp_path, {"08": 1})
        grid = VoxelGrid((0.0, -25.6, -2.0), (51.2, 25.6, 4.4), (32, 32, 4))
        dataset, classes, free = SemanticKITTI(str(tmp_path), grid, "val", image_size=(32, 96)), 20, 0
    found = qualitative.compare(dataset, 0, [Echo(grid.shape, classes)])
    prediction = np.arange(np.prod(grid.shape)).reshape(grid.shape) % classes
    truth = dataset.annotations(0)
    assert found.miou[0] == pytest.approx(brute_force(prediction, truth.semantics, truth.mask, free), abs=1e-12)
    assert 0 < found.miou[0] < 1


# --- page -------------------------------------------------------------------------------------------------------------


def test_the_page_holds_every_run_of_every_sample(runs, tmp_path) -> None:
    assert call(runs, "--sample", HOSTILE, "001", 2, 1, "--out", tmp_path / "page.html") == 0
    page = (tmp_path / "page.html").read_text()
    assert shown(page) == [0, 1, 2]  # the unit 001 is row 1, which is shown once
    assert HOSTILE not in page
    assert re.findall(r'id="sample-\d-cameras"', page) == [f'id="sample-{i}-cameras"' for i in range(3)]
    for i in range(3):
        titles = re.findall(rf'<h5 id="sample-{i}-\d-title">(.*?)</h5>', page)
        assert titles == ["Truth", *LABELS]
    for run in runs.values():
        assert str(run) in page
    legends = re.findall(r'<ul class="legend">(.*?)</ul>', page)
    assert len(legends) == 3
    assert len(set(legends)) == 1
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_truth_is_drawn_from_above(runs, tmp_path) -> None:
    assert call(runs, "--sample", 3, "--out", tmp_path / "page.html") == 0
    page = (tmp_path / "page.html").read_text()
    source = re.search(r'id="sample-0-0">.*?base64,(.*?)"', page)[1]
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))))[::-1, ::-1]
    truth = frames(runs).annotations(3)
    for x, y in np.ndindex(drawn.shape):
        column = [s for s, m in zip(truth.semantics[x, y].tolist(), truth.mask[x, y].tolist(), strict=True) if m]
        solid = [s for s in column if s not in (0, IGNORE)]
        assert drawn[x, y] == (solid[-1] if solid else IGNORE)


def test_one_run_shows_the_first_samples(runs, tmp_path) -> None:
    assert qualitative.main([str(runs["cas"]), "--count", "2", "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert shown(page) == [0, 1]
    assert "farthest apart" not in page


def test_the_runs_are_left_as_they_were(runs, tmp_path) -> None:
    before = {path: path.read_bytes() for run in runs.values() for path in run.rglob("*") if path.is_file()}
    assert call(runs, "--count", 1, "--out", tmp_path / "page.html") == 0
    assert {path: path.read_bytes() for run in runs.values() for path in run.rglob("*") if path.is_file()} == before


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sample", "6"], "there is no sample '6'"),
        (["--sample", "001", "1e0"], "there is no sample '1e0': it is none of the 6 units"),
        (["--cycle", "7"], "has no checkpoint of cycle 7; there are those of cycles [0, 1]"),
        (["--split", "night"], "the split night has no samples"),
    ],
)
def test_what_is_not_there_is_named(runs, tmp_path, capsys, words, message) -> None:
    assert call(runs, *words, "--out", tmp_path / "page.html") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def changed(run: Path, copy: Path, key: str, value: object) -> Path:
    """A copy of a run with other data settings."""
    shutil.copytree(run, copy)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["data"][key] = value
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    return copy


def test_runs_that_cannot_be_compared_are_refused(runs, finished_runs, tmp_path, capsys) -> None:
    other = changed(runs["cas"], tmp_path / "other", "root", "elsewhere")
    untrained = Path(shutil.copytree(runs["cas"], tmp_path / "untrained"))
    for path in untrained.glob("cycles/*/checkpoint.ckpt"):
        path.unlink()
    damaged = Path(shutil.copytree(runs["cas"], tmp_path / "damaged"))
    (damaged / "cycles/1/checkpoint.ckpt").write_bytes(b"no checkpoint")
    for stranger, message in (
        (tmp_path, "is no run directory"),
        (other, "are on different data: root: "),
        (untrained, "has no checkpoint; there are those of cycles []"),
        (damaged, "cannot read checkpoint"),
        (finished_runs["planning"], "must be of the kind OccupancyTask"),
    ):
        assert qualitative.main([str(runs["cas"]), str(stranger), "--out", str(tmp_path / "page.html")]) == 1
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert message in said
        assert str(stranger) in said
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("words", [[], ["RUN", "--count", "0"], ["RUN", "--out", "."]])
def test_wrong_use_is_refused(words) -> None:
    with pytest.raises(SystemExit, match="2"):
        qualitative.main(words)


def test_classes_are_named_in_the_legend(runs, tmp_path) -> None:
    assert call(runs, "--out", tmp_path / "page.html") == 0
    legend = re.search(r'<ul class="legend">(.*?)</ul>', (tmp_path / "page.html").read_text())[1]
    named = re.findall(r"</span>(.*?)</li>", legend)
    assert set(named) <= set(CLASSES[1:])
    assert named
