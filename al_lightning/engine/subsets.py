"""The task's metric on parts of the validation set, such as night and rain."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from copy import deepcopy
from typing import Any, Protocol, runtime_checkable

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics import Metric

from al_lightning.types import ActiveDataset, Batch

log = logging.getLogger(__name__)


@runtime_checkable
class MeasuredTask(Protocol):
    """A task whose metric can be computed on parts of the validation set.

    Attributes:
        metric: computes a dictionary of scalars; updates without a row count as nothing.
    """

    metric: Metric

    def measured(self, outputs: Any, batch: Any) -> tuple[Tensor, ...]:
        """What updates the metric, each (B, ...), from what the validation step returned and its batch."""
        ...


def warn_of_unknown(owner: str, names: Iterable[str], trainer: Trainer) -> None:
    """Warn of names that the task's metric has not computed on the one batch of the sanity check."""
    for name in names:
        if name not in trainer.callback_metrics:
            known = ", ".join(sorted(trainer.callback_metrics))
            log.warning("%s: the first validation batch gives no metric '%s', only %s", owner, name, known)


class SubsetMetrics(Callback):
    """Reports the metric of every subset that the validation set names, as ``<subset>/<name>``.

    A subset without a validation sample is left out, with a warning, and so is a name that no subset has. What a metric
    computes may depend on the data, so that a name which the first batch lacks is only warned of before training.

    Args:
        metrics: the names to report, of those that the task's metric computes.

    Raises:
        TypeError: the task is no `MeasuredTask`.
    """

    def __init__(self, metrics: tuple[str, ...] = ("mIoU",)) -> None:
        self.metrics = metrics
        self._members: dict[str, Tensor] = {}
        self._metrics: dict[str, Metric] = {}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A fresh copy of the metric for each subset."""
        if not isinstance(pl_module, MeasuredTask):
            raise TypeError(f"SubsetMetrics needs a task with metric and measured, got a {type(pl_module).__name__}")
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

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say which names look wrong before training shows it."""
        warn_of_unknown("SubsetMetrics", self.metrics, trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch[Any, Any],
        *_: Any,
    ) -> None:
        """Count the samples of each subset.

        Without one in the batch, too: in a process whose metrics were never updated, states that are lists have no
        shape to be gathered with.
        """
        if trainer.state.fn is not TrainerFn.VALIDATING:
            return
        assert isinstance(pl_module, MeasuredTask)
        measured = pl_module.measured(outputs, batch)
        for name, metric in self._metrics.items():
            member = self._members[name][batch.index.cpu()].to(pl_module.device)
            metric.update(*(values[member] for values in measured))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report what the samples seen define."""
        if trainer.state.fn is not TrainerFn.VALIDATING:
            return
        computed = {subset: metric.compute() for subset, metric in self._metrics.items()}
        for name in self.metrics:
            found = {f"{subset}/{name}": values[name] for subset, values in computed.items() if name in values}
            if computed and not found:
                known = sorted({known for values in computed.values() for known in values})
                log.warning("SubsetMetrics: no subset has the metric '%s', only %s", name, ", ".join(known))
            pl_module.log_dict(found, logger=False)
