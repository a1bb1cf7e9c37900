"""The task's metric on parts of the validation set, such as night and rain."""

from __future__ import annotations

import logging
from copy import deepcopy
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics import Metric

from al_lightning.tasks.occupancy import OccupancyBatch, OccupancyTask
from al_lightning.types import ActiveDataset

log = logging.getLogger(__name__)


class SubsetMetrics(Callback):
    """Reports the metric of every subset that the validation set names, as ``<subset>/<name>``.

    A subset without a validation sample is left out, with a warning.

    Args:
        metrics: the names to report, of those that the task's metric computes.

    Raises:
        TypeError: the task is another one than occupancy.
        ValueError: the task's metric computes no such name on any subset.
    """

    def __init__(self, metrics: tuple[str, ...] = ("mIoU",)) -> None:
        self.metrics = metrics
        self._members: dict[str, Tensor] = {}
        self._metrics: dict[str, Metric] = {}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A fresh copy of the metric for each subset."""
        if not isinstance(pl_module, OccupancyTask):
            raise TypeError(f"SubsetMetrics needs an OccupancyTask, got a {type(pl_module).__name__}")
        if trainer.state.fn is not TrainerFn.VALIDATING:
            return
        val: ActiveDataset = trainer.datamodule.val  # type: ignore[attr-defined]
        rows = {name: torch.from_numpy(units[val.unit_of]) for name, units in val.subsets.items()}
        self._members = {name: member for name, member in rows.items() if bool(member.any())}
        self._metrics = {name: deepcopy(pl_module.metric) for name in self._members}
        for name in rows.keys() - self._members.keys():
            log.warning("no validation sample belongs to the subset '%s': it is left out of the metrics", name)
        for metric in self._metrics.values():
            metric.reset()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: OccupancyBatch,
        *_: Any,
    ) -> None:
        """Count the samples of each subset; ``outputs`` are the predicted classes (B, X, Y, Z)."""
        if trainer.state.fn is not TrainerFn.VALIDATING:
            return
        assert batch.annotations is not None
        for name, metric in self._metrics.items():
            member = self._members[name][batch.index.cpu()].to(outputs.device)
            if bool(member.any()):
                truth = batch.annotations
                metric.update(outputs[member], truth.semantics[member], truth.mask[member])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report what the samples seen define."""
        if trainer.state.fn is not TrainerFn.VALIDATING:
            return
        computed = {subset: metric.compute() for subset, metric in self._metrics.items()}
        for name in self.metrics:
            found = {f"{subset}/{name}": values[name] for subset, values in computed.items() if name in values}
            if computed and not found:
                known = sorted({known for values in computed.values() for known in values})
                raise ValueError(f"SubsetMetrics: no subset has the metric '{name}'; there are {', '.join(known)}")
            pl_module.log_dict(found, logger=False)
