"""Weights & Biases through Lightning's logger, with the cycle and the number of labels as the axes."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import wandb
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from al_lightning.engine.run_directory import write_atomically

log = logging.getLogger(__name__)


class CycleProgress(Callback):
    """Logs ``train/cycle``, which grows from K to K + 1 while cycle K trains: an axis over all cycles.

    ``trainer/global_step``, Lightning's own axis, starts again in every cycle.
    """

    NAME = "train/cycle"

    def __init__(self, cycle: int) -> None:
        self.cycle = cycle

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Log how much of the cycle's training is done."""
        pl_module.log(self.NAME, self.cycle + trainer.global_step / trainer.estimated_stepping_batches)


class Tracker:
    """What a run tells Weights & Biases.

    One W&B run stands for the whole loop, also after a restart: its id is kept in the run directory, with what it has
    been told, which is not told again; what a kill cut off is told anew, so that nothing is lost. Only the first of
    several processes tells it anything.

    Args:
        directory: the run directory; W&B's files go to ``wandb/`` in it.
        mode: online, offline or disabled; online falls back to offline, with a warning, where there is no server.
        config: the resolved configuration.
        project: name of the project.
        entity: team or user; None for the account's own.
        group: runs shown together.
        name: shown name of the run.
        timeout: seconds to wait for the server.
    """

    def __init__(
        self,
        directory: Path,
        mode: Literal["online", "offline", "disabled"],
        config: Mapping[str, Any],
        *,
        project: str = "al_lightning",
        entity: str | None = None,
        group: str | None = None,
        name: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.logger: WandbLogger | DummyLogger | None = None
        self._told = directory / ".wandb_told"
        if mode == "disabled":
            return
        if rank_zero_only.rank:  # type: ignore[attr-defined]  # callbacks may insist on a logger
            self.logger = DummyLogger()
            return
        arguments: dict[str, Any] = {
            "project": project, "entity": entity, "group": group, "name": name, "id": self._run_id(directory),
            "save_dir": str(directory), "resume": "allow", "config": dict(config),
            "settings": wandb.Settings(init_timeout=timeout, mode=mode),
        }  # fmt: skip
        self.logger = WandbLogger(offline=mode == "offline", **arguments)
        try:
            run = self.logger.experiment
        except (wandb.Error, OSError) as error:
            log.warning(
                "Weights & Biases cannot be reached (%s); this run is tracked offline: `wandb sync %s` sends it later",
                error, directory / "wandb",
            )  # fmt: skip
            arguments["id"] += "-offline"  # the failed start still holds the other id
            arguments["settings"] = wandb.Settings(mode="offline")
            self.logger = WandbLogger(offline=True, **arguments)
            run = self.logger.experiment
        for axis in ("cycle", "labeled", CycleProgress.NAME, "representation/cycle"):
            run.define_metric(axis)
        run.define_metric("train/*", step_metric=CycleProgress.NAME)
        run.define_metric("representation/*", step_metric="representation/cycle")
        run.define_metric("selected/*", step_metric="cycle")

    @staticmethod
    def _run_id(directory: Path) -> str:
        path = directory / ".wandb_run_id"
        if not path.exists():
            write_atomically(path, lambda file: file.write(uuid.uuid4().hex[:12].encode()))
        return path.read_text()

    def _told_before(self) -> list[str]:
        """What W&B has been told of, in this start of the run or an earlier one."""
        return self._told.read_text().splitlines() if self._told.exists() else []

    def _tell(self, what: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Log rows, and then note that W&B has been told."""
        assert self.logger is not None
        for row in rows:
            self.logger.experiment.log(dict(row))
        lines = [*self._told_before(), what]
        write_atomically(self._told, lambda file: file.write("\n".join(lines).encode()))

    def cycle(self, metrics: Mapping[str, float]) -> None:
        """Log a cycle's row of `metrics.csv`."""
        what = f"metrics of cycle {metrics['cycle']:.0f}"
        if self.logger is not None and what not in self._told_before():
            for name in set(metrics) - {"cycle", "labeled"}:
                self.logger.experiment.define_metric(name, step_metric="labeled")
            self._tell(what, [metrics])

    def representation(
        self, cycle: int, labeled: float, metrics: Mapping[str, float], curves: Mapping[str, Tensor]
    ) -> None:
        """Log how the representation was learned in a cycle.

        Args:
            cycle: number of the cycle; over its epochs, ``representation/cycle`` grows from it to the next one.
            labeled: number of labeled units.
            metrics: name -> what the representation is worth.
            curves: name -> (epochs,), logged as ``representation/<name>``.
        """
        what = f"representation of cycle {cycle}"
        if self.logger is None or what in self._told_before():
            return
        for name in metrics:
            self.logger.experiment.define_metric(name, step_metric="labeled")
        rows = [{"labeled": labeled, **metrics}]
        for name, values in curves.items():
            for epoch, value in enumerate(values.tolist(), start=1):
                rows.append({"representation/cycle": cycle + epoch / len(values), f"representation/{name}": value})
        self._tell(what, rows)

    def selection(
        self, cycle: int, rows: Sequence[Mapping[str, Any]], class_share: Mapping[str, float] | None = None
    ) -> None:
        """Log what was selected.

        Args:
            cycle: number of the cycle that selected.
            rows: one a unit, in pick order, all with the same columns.
            class_share: mean predicted share of each class over the selected units.
        """
        what = f"selection of cycle {cycle}"
        if self.logger is None or what in self._told_before():
            return
        columns: list[str | int] = list(rows[0])
        payload: dict[str, Any] = {
            "cycle": cycle,
            "selected/units": wandb.Table(columns=columns, data=[list(row.values()) for row in rows]),
        }
        if class_share is not None:
            bars = wandb.Table(columns=["class", "share"], data=[[name, share] for name, share in class_share.items()])
            payload["selected/class_histogram"] = wandb.plot.bar(bars, "class", "share", title="Selected: class shares")
            payload |= {f"selected/share/{name}": share for name, share in class_share.items()}
        self._tell(what, [payload])

    def finish(self, exit_code: int = 0) -> None:
        """Close the W&B run."""
        if self.logger is not None:
            self.logger.experiment.finish(exit_code=exit_code)
