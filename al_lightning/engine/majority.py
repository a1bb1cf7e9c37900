"""A reference that needs no network: at every voxel, the class seen there most often in the labeled set."""

from __future__ import annotations

import logging
from copy import deepcopy
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from al_lightning.data import ActiveLearningDataModule
from al_lightning.engine.subsets import warn_of_unknown
from al_lightning.tasks.occupancy import OccupancyBatch, OccupancyTask

log = logging.getLogger(__name__)


class VoxelMajority(Callback):
    """Reports the metric of a majority predictor beside the network's, as ``majority/<name>``.

    At a voxel that no labeled frame has seen, and in ties, the lowest class wins. It reads the labels of the labeled
    set once a cycle.

    Args:
        num_classes: number of classes K.
        metrics: the names to report, of those that the task's metric computes. One that it does not compute is left
            out, with a warning before training and in every cycle.
    """

    def __init__(self, num_classes: int, metrics: tuple[str, ...] = ("mIoU",)) -> None:
        self.num_classes, self.metrics = num_classes, metrics

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the labeled set."""
        assert isinstance(pl_module, OccupancyTask)
        if trainer.state.fn is not TrainerFn.VALIDATING:
            return
        self._majority = self._count(trainer.datamodule).to(pl_module.device)  # type: ignore[attr-defined]
        self._metric = deepcopy(pl_module.metric)
        self._metric.reset()

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say which names look wrong before training shows it."""
        warn_of_unknown("VoxelMajority", self.metrics, trainer)

    def _count(self, datamodule: ActiveLearningDataModule) -> Tensor:
        """Majority class (X, Y, Z) of the labeled samples."""
        counts = None
        for row in datamodule.labeled_rows.tolist():
            truth = datamodule.train.annotations(row)
            labels, mask = truth.semantics.long(), truth.mask
            if counts is None:
                counts = torch.zeros(self.num_classes, *labels.shape, dtype=torch.int32)
            counts.scatter_add_(0, torch.where(mask, labels, 0)[None], mask[None].int())
        assert counts is not None
        return counts.argmax(dim=0)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: OccupancyBatch,
        *_: Any,
    ) -> None:
        """Compare the majority with a validation batch."""
        if trainer.state.fn is TrainerFn.VALIDATING:
            assert batch.annotations is not None
            truth = batch.annotations
            self._metric.update(self._majority.expand_as(truth.semantics), truth.semantics, truth.mask)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report."""
        if trainer.state.fn is TrainerFn.VALIDATING:
            values = self._metric.compute()
            for name in self.metrics:
                if name in values:
                    pl_module.log(f"majority/{name}", values[name], logger=False)
                else:
                    log.warning("VoxelMajority: there is no metric '%s', only %s", name, ", ".join(sorted(values)))
