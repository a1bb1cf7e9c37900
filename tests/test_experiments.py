"""Every experiment file runs from end to end on a small data set in the real format."""

import csv
import itertools
from pathlib import Path

import pytest
from fake_semantickitti import write_semantickitti

from al_lightning import cli
from al_lightning.config import compose, instantiate, options

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SMALL = ("loop.cycles=2", "loop.seed_size=2", "loop.budget=2", "trainer.max_epochs=1", "trainer.accelerator=cpu",
         "trainer.progress_bar=false", "tracking.mode=disabled", "data.image_size=[32,96]", "loader.num_workers=0",
         "loader.samples_per_epoch=2")  # fmt: skip
NANO = "task.network={_target_: al_lightning.models.flashocc_nano, grid: '${data.grid}', image_size: [32, 96]}"
OWN = {
    "occupancy_kitti": (),
    "occformer_kitti_mini": ("task.loss.points=64", "loader.batch_size=2"),
    # The network is too large for a test, and the frames have no scans.
    "occformer_kitti": (
        "data.grid.shape=[64,64,8]",
        "data.depth=voxels",
        "task.network={_target_: al_lightning.models.occformer_nano, grid: '${data.grid}', image_size: [32, 96]}",
        "task.loss.points=64",
        "loader.batch_size=2",
    ),
    "occupancy_sim": (),
    # The split's tokens are nuScenes' own, and the network is too large for a test.
    "occupancy_nuscenes": (
        "data.version=v1.0-sim",
        "data.grid.shape=[40,40,8]",
        "data.splits={_target_: al_lightning.data.OfficialSplit}",
        NANO,
    ),
}


@pytest.fixture(scope="module")
def semantickitti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("semantickitti")
    write_semantickitti(root, {"00": 3, "04": 3, "08": 2}, seed=0)
    return root


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("loop.seed_size=3", "loop.budget=2"), "in cycle 0 the last batch of 3 samples, 2 to a batch, would be 1"),
        (("loop.budget=1",), "in cycle 1 the last batch of 3 samples"),
        (("loader.batch_size=1",), "would be 1, and this network's norms need 2 images"),
    ],
)
def test_batches_that_cannot_be_normalized_show_before_training(
    semantickitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    given = [f"experiment={(name := 'occformer_kitti_mini')}", f"data.root={semantickitti}", *SMALL, *OWN[name]]
    others = ["loader.samples_per_epoch=null", *words, f"run_dir={tmp_path / 'run'}"]
    assert cli.main([*given, *others], CONFIGS) == 2
    assert message in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("experiment", "acquisition"),
    [
        *itertools.product(
            (name for name in OWN if name.startswith("occupancy")), ("random", "entropy", "coreset", "cas")
        ),
        ("occformer_kitti", "coreset"),
        ("occformer_kitti_mini", "cas"),
    ],
)
def test_it_runs(experiment: str, acquisition: str, semantickitti: Path, tiny_world: Path, tmp_path: Path) -> None:
    root = semantickitti if "kitti" in experiment else tiny_world
    words = [f"experiment={experiment}", f"acquisition={acquisition}", f"data.root={root}", *SMALL, *OWN[experiment]]
    before = sorted(tiny_world.rglob("*"))
    words += ["prepare.preset=tiny"] if experiment == "occupancy_sim" else []
    assert cli.main([*words, f"run_dir={tmp_path / 'run'}"], CONFIGS) == 0
    assert sorted(tiny_world.rglob("*")) == before
    with (tmp_path / "run/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["labeled"] for row in rows] == ["2", "4"]
    assert all(0 <= float(row["mIoU"]) <= 1 for row in rows)


def test_all_experiments_are_tried() -> None:
    """Here, or those of planning in `test_planning_experiments`, or where mmdet3d is installed."""
    others = {name for name in options(CONFIGS, "experiment") if name.startswith("planning")} | {"detection_sim"}
    assert set(options(CONFIGS, "experiment")) - others == set(OWN)


@pytest.mark.parametrize(
    ("weights", "terms"),
    [
        (("inter=0", "intra=0"), {"uncertainty"}),
        (("intra=0", "uncertainty=0"), {"inter"}),
        (("inter=0", "uncertainty=0"), {"intra"}),
        (("intra=0",), {"uncertainty", "inter"}),
        (("inter=0",), {"uncertainty", "intra"}),
        (("uncertainty=0",), {"inter", "intra"}),
        ((), {"inter", "intra", "uncertainty"}),
    ],
)
def test_the_rows_of_the_ablation_table_are_overrides(weights: tuple[str, ...], terms: set[str]) -> None:
    words = ["experiment=occupancy_kitti", "data.root=.", *(f"acquisition.weights.{word}" for word in weights)]
    acquisition = instantiate(compose(CONFIGS, words)[1]["acquisition"], "acquisition")
    assert set(acquisition.criteria) == terms


def test_a_broken_label_ends_the_run_naming_the_file(
    semantickitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "copy"
    write_semantickitti(root, {"00": 3, "08": 1}, seed=0)
    for path in root.rglob("00/voxels/*.label"):
        path.write_bytes(path.read_bytes()[:1000])
    words = ["experiment=occupancy_kitti", f"data.root={root}", *SMALL, "loop.budget=1"]
    assert cli.main([*words, f"run_dir={tmp_path / 'run'}"], CONFIGS) == 1
    output = "".join(capsys.readouterr().out.split())
    assert ".label" in output
    assert "4194304" in output.replace(",", "")
