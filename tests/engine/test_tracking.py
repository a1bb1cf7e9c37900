from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.utilities import rank_zero_only

from al_lightning.engine import Tracker


class RecordingRun:
    """Stands for a W&B run."""

    def __init__(self) -> None:
        self.axes: dict[str, str | None] = {}
        self.rows: list[dict[str, Any]] = []

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.axes[name] = step_metric

    def log(self, row: dict[str, Any]) -> None:
        self.rows.append(row)


def test_the_curves_of_all_cycles_make_one_line_and_the_worth_is_over_the_labels(tmp_path: Path) -> None:
    tracker, run = Tracker(tmp_path, "disabled", {}), RecordingRun()
    tracker.representation(0, 7, {"worth": 0.5}, {"loss": torch.ones(2)})  # disabled: nothing happens
    tracker.logger = SimpleNamespace(experiment=run)
    tracker.representation(0, 7, {"worth": 0.5}, {"loss": torch.tensor([3.0, 2.0])})
    tracker.representation(0, 7, {"worth": 0.5}, {"loss": torch.tensor([3.0, 2.0])})  # again, after a restart
    tracker.representation(1, 14, {"worth": 0.75}, {"loss": torch.tensor([4.0, 1.0])})
    assert run.axes == {"worth": "labeled"}
    assert [row for row in run.rows if "worth" in row] == [
        {"labeled": 7, "worth": 0.5},
        {"labeled": 14, "worth": 0.75},
    ]
    line = [
        (row["representation/cycle"], row["representation/loss"]) for row in run.rows if "representation/loss" in row
    ]
    assert line == [(0.5, 3.0), (1.0, 2.0), (1.5, 4.0), (2.0, 1.0)]


def test_nothing_is_told_twice_however_often_the_run_starts(tmp_path: Path) -> None:
    run = RecordingRun()
    for cycle in (0, 0, 1):
        tracker = Tracker(tmp_path, "disabled", {})
        tracker.cycle({"cycle": cycle, "labeled": 3, "mIoU": 0.5})  # not tracked yet: it is told later
        tracker.logger = SimpleNamespace(experiment=run)
        tracker.cycle({"cycle": cycle, "labeled": 3, "mIoU": 0.5})
        tracker.selection(cycle, [{"pick": 0, "unit": "a"}])
    assert [row["cycle"] for row in run.rows if "mIoU" in row] == [0, 1]
    assert [row["cycle"] for row in run.rows if "selected/units" in row] == [0, 1]


def test_what_a_kill_cut_off_is_told_at_the_next_start(tmp_path: Path) -> None:
    class Killed(RecordingRun):
        def log(self, row: dict[str, Any]) -> None:
            raise KeyboardInterrupt

    run = RecordingRun()
    for experiment in (Killed(), run, run):
        tracker = Tracker(tmp_path, "disabled", {})
        tracker.logger = SimpleNamespace(experiment=experiment)
        for tell in (
            lambda told: told.cycle({"cycle": 0, "labeled": 3, "mIoU": 0.5}),
            lambda told: told.representation(0, 3, {"worth": 0.5}, {}),
            lambda told: told.selection(0, [{"pick": 0, "unit": "a"}]),
        ):
            with nullcontext() if experiment is run else pytest.raises(KeyboardInterrupt):
                tell(tracker)
    assert [len([row for row in run.rows if name in row]) for name in ("mIoU", "worth", "selected/units")] == [1, 1, 1]


def test_only_the_first_process_has_a_run_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    tracker = Tracker(tmp_path, "offline", {})
    assert tracker.logger is not None  # callbacks such as LearningRateMonitor insist on one
    tracker.finish()
    assert not list(tmp_path.iterdir())
