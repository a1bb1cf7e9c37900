"""A first cycle that is taken over is the one that would have been trained."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_occupancy import write_experiment, write_frames
from fake_planning import write_drives, write_planning_experiment

from al_lightning import cli
from al_lightning.config import compose
from al_lightning.engine.reuse import LATER, ORIGIN, first_cycle_settings, reuse_first_cycle
from al_lightning.engine.run_directory import RunDirectoryError
from al_lightning.settings import SILENT

RANDOM = (
    "acquisition={_target_: al_lightning.acquisition.Acquisition, criteria: {random: {_target_: "
    "al_lightning.acquisition.Random}}, normalizer: {_target_: al_lightning.acquisition.Identity}, "
    "combiner: {_target_: al_lightning.acquisition.WeightedSum}}"
)
OTHERWISE = {  # everything that is held not to shape cycle 0, changed at once
    "occupancy": ("loop.cycles=2", "loop.budget=2", "loop.weights=previous", "trainer.later_epochs=1"),
    "planning": ("loop.cycles=2", "loop.budget=2", "loop.weights=scratch", "trainer.later_epochs=1"),
}
LABELLED = (  # everything that is held not to touch a result
    "description=another", "tracking.project=another", "gallery.selected=1", "loader.num_workers=1",
    "trainer.log_every_n_steps=3", "trainer.checkpoint_every_n_epochs=2",
)  # fmt: skip


@pytest.fixture(scope="module", params=["occupancy", "planning"])
def world(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, tuple[str, ...]]:
    """A folder with the finished run ``donor``, and the words of a run that differs in all that comes later."""
    root = tmp_path_factory.mktemp(request.param)
    if request.param == "planning":
        write_drives(root / "data", train=9)
        write_planning_experiment(root / "configs")
    else:
        write_frames(root / "data")
        write_experiment(root / "configs")
    assert cli.main([*words(root, "donor"), "loop.cycles=3"], root / "configs") == 0
    return root, (RANDOM, *OTHERWISE[request.param], *LABELLED)


def words(root: Path, run: str) -> list[str]:
    return ["experiment=fake", f"data.root={root / 'data'}", f"run_dir={root / run}", "trainer.max_epochs=2"]


def test_what_is_taken_over_is_bit_for_bit_what_would_have_been_trained(world: tuple[Path, tuple[str, ...]]) -> None:
    root, other = world
    assert cli.main([*words(root, "alone"), *other], root / "configs") == 0
    config = compose(root / "configs", [*words(root, "taken"), *other])[1]
    reuse_first_cycle(root / "donor", config, root / "taken")
    assert (root / "taken/devices.json").read_bytes() == (root / "donor/devices.json").read_bytes()
    before = (root / "taken/cycles/0/checkpoint.ckpt").stat().st_ino
    assert cli.main([*words(root, "taken"), *other], root / "configs") == 0
    assert (root / "taken/cycles/0/checkpoint.ckpt").stat().st_ino == before  # not trained again
    for name in ("pool.csv", "metrics.csv", "cycles/0/metrics.json", "cycles/0/selection.csv", "cycles/1/metrics.json"):
        assert (root / "taken" / name).read_bytes() == (root / "alone" / name).read_bytes(), name
    with (
        np.load(root / "taken/cycles/0/summaries.npz") as ours,
        np.load(root / "alone/cycles/0/summaries.npz") as alone,
    ):
        assert ours.files == alone.files
        assert all(ours[name].tobytes() == alone[name].tobytes() for name in alone.files)
    for cycle in (0, 1):
        ours, alone = (
            torch.load(root / run / f"cycles/{cycle}/checkpoint.ckpt", weights_only=True)["state_dict"]
            for run in ("taken", "alone")
        )
        assert all(torch.equal(ours[key], alone[key]) for key in alone)
    assert (root / "taken" / "cycles/0" / ORIGIN).read_text() == f"{root / 'donor'}\n"
    assert not list(root.glob(".*.partial"))


def test_the_donor_is_left_as_it_was(world: tuple[Path, tuple[str, ...]]) -> None:
    root, other = world
    content = {path: path.read_bytes() for path in (root / "donor").rglob("*") if path.is_file()}
    config = compose(root / "configs", [*words(root, "second"), *other])[1]
    (root / ".second.partial/cycles").mkdir(parents=True)  # of an attempt that was killed
    reuse_first_cycle(root / "donor", config, root / "second")
    assert cli.main([*words(root, "second"), *other], root / "configs") == 0
    assert {path: path.read_bytes() for path in (root / "donor").rglob("*") if path.is_file()} == content


@pytest.mark.parametrize(
    "word",
    [
        "seed=1", "loop.seed_size=4", "task.lr=0.02", "trainer.max_epochs=3", "loader.batch_size=1",
        "trainer.gradient_clip_val=1.0",
    ],
)  # fmt: skip
def test_another_first_cycle_is_refused_by_key(world: tuple[Path, tuple[str, ...]], word: str) -> None:
    root, other = world
    config = compose(root / "configs", [*words(root, "refused"), *other, word])[1]
    with pytest.raises(RunDirectoryError, match=word.split("=")[0].replace(".", r"\.")):
        reuse_first_cycle(root / "donor", config, root / "refused")
    assert not (root / "refused").exists()


def test_what_is_not_there_cannot_be_given(world: tuple[Path, tuple[str, ...]]) -> None:
    root, other = world
    config = compose(root / "configs", [*words(root, "never"), *other])[1]
    with pytest.raises(RunDirectoryError, match="holds no run"):
        reuse_first_cycle(root / "nowhere", config, root / "never")
    with pytest.raises(RunDirectoryError, match="there already"):
        reuse_first_cycle(root / "donor", config, root / "donor")
    assert cli.main([*words(root, "short"), "loop.cycles=1"], root / "configs") == 0  # predicts no pool
    with pytest.raises(RunDirectoryError, match="not finished its first cycle"):
        reuse_first_cycle(root / "short", config, root / "never")
    assert not (root / "never").exists()


def test_only_what_comes_later_is_left_out() -> None:
    config = {
        "seed": 3, "experiment": "fake", "description": "", "run_dir": "runs", "tracking": {"mode": "disabled"},
        "acquisition": {"weights": {"a": 1}}, "data": {"_target_": "x", "root": "r", "splits": {}},
        "loop": {"cycles": 3, "seed_size": 2, "budget": 1, "weights": "scratch"},
        "trainer": {"max_epochs": 2, "later_epochs": None, "progress_bar": True, "devices": 1},
        "loader": {"num_workers": 4},
    }  # fmt: skip
    assert json.loads(json.dumps(first_cycle_settings(config))) == {
        "seed": 3, "data._target_": "x", "data.root": "r", "data.splits": {}, "loop.seed_size": 2,
        "trainer.max_epochs": 2, "trainer.devices": 1, "trainer.compile": False,  # the last is filled in
    }  # fmt: skip
    assert not set(first_cycle_settings(config)) & {*LATER, *SILENT}
