import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_gallery import HOSTILE, PicturedFrames, write_pictured_experiment
from fake_occupancy import SHAPE, TinyNetwork, write_frames
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from al_lightning import cli
from al_lightning.acquisition import Selection, VoxelSummarizer
from al_lightning.data.pictures import montage
from al_lightning.engine.gallery import LOWEST, RUNNER_UP, SELECTED, Gallery, choose
from al_lightning.types import Summary, VoxelGrid, collate


@given(
    scores=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    budget=st.integers(1, 12),
    selected=st.integers(0, 5),
    rejected=st.integers(0, 5),
)
def test_the_first_picks_the_best_and_the_worst_of_the_rest(scores, budget, selected, rejected) -> None:
    score = torch.tensor(scores, dtype=torch.float64)
    order = score.argsort(descending=True, stable=True)[:budget]
    step = torch.full((len(scores),), -1)
    step[order] = torch.arange(len(order))
    shown = choose(score, step, selected, rejected)
    assert len({exhibit.position for exhibit in shown}) == len(shown)
    kinds = {kind: [e.position for e in shown if e.kind == kind] for kind in (SELECTED, RUNNER_UP, LOWEST)}
    assert kinds[SELECTED] == order[:selected].tolist()
    rest = [i for i in range(len(scores)) if step[i] < 0]
    assert len(kinds[RUNNER_UP]) + len(kinds[LOWEST]) == min(rejected, len(rest))
    assert all(step[i] < 0 for i in kinds[RUNNER_UP] + kinds[LOWEST])
    others = [i for i in rest if i not in kinds[RUNNER_UP] + kinds[LOWEST]]
    assert all(score[i] >= score[j] for i in kinds[RUNNER_UP] for j in others + kinds[LOWEST])
    assert all(score[i] <= score[j] for i in kinds[LOWEST] for j in others)


def test_a_montage_keeps_places_and_proportions(tmp_path: Path) -> None:
    files = []
    for number, (shade, size) in enumerate(((0, (160, 90)), (120, (160, 90)), (250, (320, 180)), (60, (160, 90)))):
        files.append(tmp_path / f"{number}.png")
        Image.new("RGB", size, (shade, shade, shade)).save(files[-1])
    (tmp_path / "sheet.jpg").write_bytes(montage(files))
    sheet = np.asarray(Image.open(tmp_path / "sheet.jpg")).astype(int)
    assert sheet.shape == (2 * 126, 672, 3)
    middles = [sheet[63, 112, 0], sheet[63, 336, 0], sheet[63, 560, 0], sheet[189, 112, 0], sheet[189, 336, 0]]
    assert middles == pytest.approx([0, 120, 250, 60, 0], abs=4)
    assert Image.open(tmp_path / "sheet.jpg").format == "JPEG"


# --- evidence ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def frames(tmp_path: Path) -> PicturedFrames:
    write_frames(tmp_path)
    for name in ("CAM_LEFT", "CAM_RIGHT"):
        Image.new("RGB", (32, 18)).save(tmp_path / f"{name}.png")
    return PicturedFrames(str(tmp_path), "train")


def collected(frames: PicturedFrames, network: TinyNetwork) -> dict[str, np.ndarray]:
    """The gallery of a selection of units 3 and 0 out of 0, 1, 3, 5."""
    summarizer = VoxelSummarizer(VoxelGrid((0, 0, 0), (4, 4, 2), SHAPE), "all")
    batch = collate([frames.sample(row, annotations=False) for row in range(6)])
    with torch.no_grad():
        summary = Summary(torch.arange(6), summarizer(batch, network(batch.inputs)))
        selection = Selection(
            torch.tensor([3, 0]), torch.tensor([1, -1, 0, -1]),
            {"score": torch.tensor([0.6, 0.1, 0.9, 0.3], dtype=torch.float64)}, {}, {},
        )  # fmt: skip
        return Gallery(frames, summarizer).collect(
            summary, np.array([0, 1, 3, 5]), selection, lambda one: network(one.inputs)
        )


def test_evidence_is_that_of_the_prediction(frames: PicturedFrames) -> None:
    torch.manual_seed(0)
    network = TinyNetwork().eval()
    arrays = collected(frames, network)
    index = json.loads(str(arrays["index"]))
    assert [(entry["unit"], entry["kind"]) for entry in index["units"]] == [
        (frames.units[3], SELECTED), (HOSTILE, SELECTED), (frames.units[5], RUNNER_UP), (frames.units[1], RUNNER_UP),
    ]  # fmt: skip
    assert index["free_class"] == 0
    assert index["units"][0]["cameras"] == ["CAM_LEFT", "CAM_RIGHT"]  # the third file is not there
    for place, row in enumerate((3, 0, 5, 1)):
        inputs = collate([frames.sample(row, annotations=False)]).inputs
        expected = network(inputs).logits.argmax(1)[0]
        assert np.array_equal(arrays[f"{place}/predicted_classes"], expected)
    truth = frames.sample(3).annotations
    assert np.array_equal(arrays["0/true_classes"], truth.semantics)
    assert {name.partition("/")[0] for name in arrays if name.endswith("true_classes")} == {"0", "1"}


def test_labels_of_units_left_behind_are_not_opened(frames: PicturedFrames, openings: list[str]) -> None:
    collected(frames, TinyNetwork().eval())
    opened = {Path(name).name for name in openings if name.endswith(".label.npy")}
    assert opened == {"003.label.npy", "000.label.npy"}


# --- in a run ---------------------------------------------------------------------------------------------------------

RESULTS = ("pool.csv", "metrics.csv", "cycles/0/selection.csv", "cycles/1/selection.csv")


@pytest.fixture(scope="module", params=["occupancy", "planning"])
def runs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, list[str]]:
    """A folder with a run that kept no gallery, and the words of that run."""
    folder = tmp_path_factory.mktemp("gallery")
    words = write_pictured_experiment(folder, request.param)
    words += ["trainer.max_epochs=2", "gallery.selected=0", "gallery.rejected=0"]
    assert cli.main(words, folder / "configs") == 0
    return folder, words


def weights(run: Path, cycle: int) -> dict[str, torch.Tensor]:
    return torch.load(run / f"cycles/{cycle}/checkpoint.ckpt", weights_only=True)["state_dict"]


def test_a_gallery_changes_no_result(runs: tuple[Path, list[str]], capsys: pytest.CaptureFixture) -> None:
    folder, words = runs
    shown = folder / "shown"
    assert cli.main([*words[:-2], f"run_dir={shown}"], folder / "configs") == 0
    assert f"report: {shown / 'report.html'}" in capsys.readouterr().out.replace("\n", "")
    for name in RESULTS:
        assert (shown / name).read_bytes() == (folder / "run" / name).read_bytes()
    for cycle in (0, 1, 2):
        ours, theirs = weights(shown, cycle), weights(folder / "run", cycle)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    with np.load(shown / "cycles/1/gallery.npz") as file:
        kinds = [entry["kind"] for entry in json.loads(str(file["index"]))["units"]]
    assert kinds == [SELECTED] * 3 + [RUNNER_UP] * min(2, len(kinds) - 3) + [LOWEST] * max(0, len(kinds) - 5)


def test_a_run_outlives_a_gallery_and_a_report_that_fail(
    runs: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, words = runs

    def fail(*_: object) -> None:
        torch.rand(3)
        raise ZeroDivisionError("no picture")

    monkeypatch.setattr(Gallery, "collect", fail)
    monkeypatch.setattr(cli, "write_run_report", fail)
    run = folder / "failing"
    with caplog.at_level(logging.WARNING):
        assert cli.main([*words[:-2], f"run_dir={run}"], folder / "configs") == 0
    messages = [record for record in caplog.records if record.exc_info]
    assert [record.exc_info[0] for record in messages] == [ZeroDivisionError] * 3  # two galleries, one report
    assert "the report could not be written" in messages[-1].message
    for name in RESULTS:
        assert (run / name).read_bytes() == (folder / "run" / name).read_bytes()
    assert not list(run.rglob("gallery.npz"))


def test_a_finished_run_may_be_opened_with_another_gallery(runs: tuple[Path, list[str]]) -> None:
    folder, words = runs
    assert cli.main([*words, "gallery.selected=3"], folder / "configs") == 0
