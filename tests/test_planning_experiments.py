"""Every planning experiment runs from end to end, on a small simulated world and on real keyframes."""

import csv
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from fake_planning import FakeDrives, write_drives, write_planning_experiment

from al_lightning import cli
from al_lightning.acquisition import Acquisition, ErrorWindows, Random, SceneRepresentation
from al_lightning.config import compose, instantiate, options
from al_lightning.data import LabelPool
from al_lightning.driving import commanded_positions, footprints
from al_lightning.engine import ActiveLearningCallback
from al_lightning.metrics import OpenLoopPlanning
from al_lightning.types import collate

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
INFOS = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "planning"
SMALL = (
    "trainer.accelerator=cpu", "trainer.progress_bar=false", "tracking.mode=disabled", "loader.num_workers=0",
    "loop.cycles=2", "loop.seed_size=2", "loop.budget=1", "trainer.max_epochs=1", "trainer.later_epochs=1",
    "loader.samples_per_epoch=2",
)  # fmt: skip
ON_TINY_WORLD = ("data.image_size=[36,64]", "summarizer.horizon=2")  # its scenes have three keyframes
OWN = {
    "planning_sim": ("prepare.preset=tiny", "task.passes=2"),
    # The network is too large for a test.
    "planning_nuscenes": (
        "data.version=v1.0-sim", "task.network={_target_: al_lightning.models.vad_nano}", "task.passes=2",
    ),
    "planning_status": ("data=simulated_driving",),
    "planning_status_sim": ("prepare.preset=tiny",),
}  # fmt: skip
ROWS = list(itertools.product((1.0, 0.0), repeat=3))[:-1]
"""Weights of safety, rarity and uncertainty: the rows of Table 1 but the baseline, which is random."""


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_all_planning_experiments_are_tried() -> None:
    assert {name for name in options(CONFIGS, "experiment") if name.startswith("planning")} == set(OWN)


@pytest.mark.parametrize(
    ("experiment", "acquisition"), [*((name, "value") for name in OWN), ("planning_sim", "random")]
)
def test_it_runs_on_a_simulated_world(experiment: str, acquisition: str, tiny_world: Path, tmp_path: Path) -> None:
    words = [f"experiment={experiment}", *OWN[experiment], *ON_TINY_WORLD, *SMALL, f"acquisition={acquisition}"]
    words += ["acquisition.representation.epochs=5"] if acquisition == "value" else []
    before = sorted(tiny_world.rglob("*"))
    assert cli.main([*words, f"data.root={tiny_world}", f"run_dir={tmp_path / 'run'}"], CONFIGS) == 0
    assert sorted(tiny_world.rglob("*")) == before
    assert [row["labeled"] for row in read(tmp_path / "run/metrics.csv")] == ["2", "3"]
    with np.load(tmp_path / "run/cycles/0/summaries.npz") as summary:
        assert summary["error_window"].shape == (3, 2, 2)
        assert np.isfinite(summary["error_window_samples"]).all()


def test_it_runs_on_real_keyframes(tmp_path: Path) -> None:
    train, val = (INFOS / f"vad_infos_scene-{number}.pkl" for number in ("0103", "0916"))
    if not train.is_file():
        pytest.skip(f"needs the real keyframes {train}")
    words = ["experiment=planning_status", f"data.train={train}", f"data.val={val}", *SMALL, "loop.seed_size=2"]
    assert cli.main([*words, "acquisition.representation.epochs=5", f"run_dir={tmp_path / 'run'}"], CONFIGS) == 0
    for row in read(tmp_path / "run/metrics.csv"):
        assert list(row)[:4] == ["cycle", "labeled", "share", "L2_avg_1s"]
        assert row["samples"] == "35.0"  # of 41 keyframes
        for seconds in (1, 2, 3):
            for name in ("avg", "at"):
                assert 0 < float(row[f"L2_{name}_{seconds}s"]) < 20
                assert 0 <= float(row[f"collision_{name}_{seconds}s"]) <= 1


@pytest.mark.parametrize("weights", ROWS)
def test_the_rows_of_the_ablation_table_are_overrides(weights: tuple[float, float, float]) -> None:
    names = ("safety", "rarity", "uncertainty")
    words = [f"acquisition.weights.{name}={weight}" for name, weight in zip(names, weights, strict=True)]
    resolved = compose(CONFIGS, ["experiment=planning_nuscenes", "data.root=.", *words])[1]
    acquisition = instantiate(resolved["acquisition"], "acquisition")
    assert set(acquisition.criteria) == {name for name, weight in zip(names, weights, strict=True) if weight}


def test_vad_does_not_start_on_a_frozen_trunk_without_weights(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["experiment=planning_nuscenes", "data.root=missing", "trainer.accelerator=cpu", "tracking.mode=disabled"]
    assert cli.main([*words, f"run_dir={tmp_path / 'run'}"], CONFIGS) == 2
    assert "task.network: the stem and the norms of a frozen trunk" in " ".join(capsys.readouterr().out.split())


Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    write_drives(tmp_path / "data")
    write_planning_experiment(tmp_path / "configs")

    def start(*words: str) -> int:
        given = ["experiment=fake", f"data.root={tmp_path / 'data'}", f"run_dir={tmp_path / 'run'}"]
        return cli.main([*given, *words], tmp_path / "configs")

    return start


def test_a_run_selects_by_safety_rarity_and_uncertainty(run: Run, tmp_path: Path) -> None:
    assert run() == 0
    assert [row["labeled"] for row in read(tmp_path / "run/metrics.csv")] == ["3", "6", "9"]
    for cycle in (0, 1):
        scores = pq.read_table(tmp_path / f"run/cycles/{cycle}/scores.parquet").to_pydict()
        total = sum(np.array(scores[f"{name}_normalized"]) for name in ("safety", "rarity", "uncertainty"))
        assert np.allclose(scores["score"], total)
        assert len(set(scores["safety"])) == len(set(scores["uncertainty"])) == 9 - 3 * cycle
        picked = sorted(range(len(total)), key=lambda i: -total[i])[:3]
        assert [row["unit"] for row in read(tmp_path / f"run/cycles/{cycle}/selection.csv")] == [
            scores["unit"][i] for i in picked
        ]


def test_how_the_encoder_was_fitted_is_kept(run: Run, tmp_path: Path) -> None:
    assert run("acquisition.representation.epochs=60") == 0
    for cycle in (0, 1):
        rows = read(tmp_path / f"run/cycles/{cycle}/representation.csv")
        assert [int(row["epoch"]) for row in rows] == list(range(60))
        loss = [float(row["loss"]) for row in rows]
        assert sum(loss[-10:]) < sum(loss[:10])
    assert not (tmp_path / "run/cycles/2/representation.csv").exists()  # the last cycle selects nothing
    correlation = [row["embedding/correlation"] for row in read(tmp_path / "run/metrics.csv")]
    assert all(-1 <= float(value) <= 1 for value in correlation[:2])
    assert correlation[2] == ""


def test_the_rehearsal_learns_one_epoch(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned = []
    original = SceneRepresentation.fit

    def fit(self, labeled, generator):
        learned.append(self.epochs)
        return original(self, labeled, generator)

    monkeypatch.setattr(SceneRepresentation, "fit", fit)
    assert run("loop.cycles=2") == 0
    assert learned == [1, 20]


def test_subsets_have_the_metric_of_their_scenes_alone(run: Run, tmp_path: Path) -> None:
    subsets = "callbacks={subsets: {_target_: al_lightning.engine.SubsetMetrics, metrics: [L2_avg_3s, samples]}}"
    assert run("loop.cycles=1", subsets) == 0
    assert run("loop.cycles=1", f"run_dir={tmp_path / 'plain'}") == 0
    row, plain = (read(tmp_path / name / "metrics.csv")[0] for name in ("run", "plain"))
    assert {name: row[name] for name in plain} == plain
    assert float(row["odd/samples"]) == float(row["samples"]) / 3  # one of three scenes
    checkpoint = torch.load(tmp_path / "run/cycles/0/checkpoint.ckpt", weights_only=True)
    task = instantiate(compose(tmp_path / "configs", ["experiment=fake", "data.root=."])[1]["task"], "task")
    task.load_state_dict(checkpoint["state_dict"])
    metric, val = OpenLoopPlanning(), FakeDrives(str(tmp_path / "data"), "val", (4, 4))
    for number in np.flatnonzero(val.unit_of == 1):
        batch = collate([val.sample(int(number))])
        with torch.no_grad():
            plan = commanded_positions(task.eval()(batch.inputs).plan, batch.inputs.command)
        truth = batch.annotations
        metric.update(plan, truth.ego_future.cumsum(1), truth.ego_future_mask, *footprints(truth))
    assert float(row["odd/L2_avg_3s"]) == pytest.approx(float(metric.compute()["L2_avg_3s"]), abs=1e-5)


def test_later_cycles_train_their_own_number_of_epochs_from_the_last_weights(run: Run, tmp_path: Path) -> None:
    assert run() == 0
    epochs = [
        torch.load(tmp_path / f"run/cycles/{cycle}/checkpoint.ckpt", weights_only=True)["epoch"] + 1
        for cycle in (0, 1, 2)
    ]
    assert epochs == [3, 2, 2]


def test_labels_are_read_of_labeled_scenes_alone(run: Run, tmp_path: Path, openings: list[str]) -> None:
    assert run() == 0
    opened = {Path(name).name.split(".")[0] for name in openings if "/train/" in name and name.endswith(".label.npz")}
    assert opened == {row["unit"] for row in read(tmp_path / "run/pool.csv") if row["acquired_at"] != "-1"}
    assert len(opened) == 9


def test_external_labels_give_the_run_that_labels_on_disk_give(run: Run, tmp_path: Path) -> None:
    assert run() == 0
    folder, drawer = tmp_path / "data/train", tmp_path / "drawer"
    drawer.mkdir()
    for path in folder.glob("*.label.npz"):  # nobody has labeled anything
        path.rename(drawer / path.name)
    other = f"run_dir={tmp_path / 'external'}"
    for name in ("seed", "cycle_0", "cycle_1"):
        assert run("oracle=external", other) == 0
        for row in read(tmp_path / f"external/requests/{name}.csv"):
            (drawer / Path(row["label"]).name).rename(tmp_path / "data" / row["label"])
    assert run("oracle=external", other) == 0
    for name in ("metrics.csv", "pool.csv"):
        assert (tmp_path / "external" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_workers_and_batches_change_nothing(run: Run, tmp_path: Path) -> None:
    assert run("loop.cycles=2") == 0
    other = ("loader.num_workers=2", "loader.predict_batch_size=7", "loader.past_frames=2")
    assert run("loop.cycles=2", *other, f"run_dir={tmp_path / 'other'}") == 0
    assert (tmp_path / "other/pool.csv").read_bytes() == (tmp_path / "run/pool.csv").read_bytes()
    for ours, theirs in zip(*(read(tmp_path / name / "metrics.csv") for name in ("run", "other")), strict=True):
        assert {key: float(value) for key, value in ours.items() if value} == pytest.approx(
            {key: float(value) for key, value in theirs.items() if value}
        )


SCRIPT = """
import sys
from pathlib import Path
from al_lightning.cli import main

sys.exit(main(sys.argv[1:], Path(__file__).parent / "configs"))
"""


def test_two_processes_read_whole_scenes_and_find_what_one_finds(run: Run, tmp_path: Path) -> None:
    """The same weights are summarized and validated: nothing is trained."""
    untrained = ("task.lr=1e-30", "loop.cycles=2", "task.weight_decay=0", "loader.batch_size=1")
    assert run(*untrained) == 0
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    words = [
        "experiment=fake", f"data.root={tmp_path / 'data'}", f"run_dir={tmp_path / 'two'}", *untrained,
        "trainer.devices=2", "trainer.strategy=ddp",
    ]  # fmt: skip
    paths = os.pathsep.join([str(Path(__file__).resolve().parent), *sys.path])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script, *words], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    one, two = (np.load(tmp_path / name / "cycles/0/summaries.npz") for name in ("run", "two"))
    assert set(one) == set(two)
    for name in one:
        assert np.allclose(one[name], two[name], atol=1e-5), name
    metrics = [read(tmp_path / name / "metrics.csv")[0] for name in ("run", "two")]
    assert float(metrics[0]["L2_at_3s"]) == pytest.approx(float(metrics[1]["L2_at_3s"]))


def test_parts_that_do_not_fit_show_before_training(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("acquisition.criteria.safety.safety_field=danger") == 2
    assert "no summary field 'danger'" in " ".join(capsys.readouterr().out.split())
    assert run("task.passes=0") == 2
    assert "it takes two stochastic passes or more (task.passes)" in " ".join(capsys.readouterr().out.split())
    assert run("summarizer.horizon=7") == 2
    assert "horizon must be between 1 and the 6 planned steps" in " ".join(capsys.readouterr().out.split())
    assert run("loader.past_frames=-1") == 2
    assert "'loader.past_frames' must not be negative" in " ".join(capsys.readouterr().out.split())
    assert run("trainer.later_epochs=0") == 2
    assert "'trainer.later_epochs' must be at least 1" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "run/config.yaml").exists()


def test_the_pool_is_refused_its_annotations(tmp_path: Path) -> None:
    write_drives(tmp_path / "data", train=4)
    drives = FakeDrives(str(tmp_path / "data"), "train")
    pool = LabelPool(drives.units)
    pool.acquire([2])
    callback = ActiveLearningCallback(ErrorWindows(), Acquisition({"random": Random()}), drives)
    assert callback._annotations(2 * 9, pool) is not None
    with pytest.raises(RuntimeError, match="its unit 003 has none yet"):
        callback._annotations(3 * 9, pool)
