"""The callback that turns the pool pass into summaries, scores and a larger labeled set."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning import Callback, LightningModule, Trainer

from al_lightning.acquisition import Acquisition, Selection, Summarizer
from al_lightning.data import UNLABELED, LabelPool
from al_lightning.engine.processes import end_if_any
from al_lightning.types import ActiveDataset, Batch, Summary


class ActiveLearningCallback(Callback):
    """Collects a summary of every unit while the Trainer predicts, and selects from it.

    Predictions are reduced on the device, batch by batch; only the summary's few numbers are kept.

    Args:
        summarizer: what to keep of a prediction.
        acquisition: how to select.
        dataset: what is predicted; of labeled units, and of no other, its annotations are read in a selection.
    """

    def __init__(self, summarizer: Summarizer, acquisition: Acquisition, dataset: ActiveDataset) -> None:
        self.summarizer, self.acquisition, self.dataset = summarizer, acquisition, dataset
        self.summary: Summary | None = None
        self._parts: list[Summary] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last pass."""
        self._parts, self.summary = [], None

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch[Any, Any],
        *_: Any,
    ) -> None:
        """Reduce a batch of predictions on their device.

        Raises:
            RuntimeError: the batch carries annotations, which the pool pass may not see.
            SIGTERMException: the process was told to end; Lightning itself forgets that while it predicts.
        """
        if trainer.received_sigterm:
            end_if_any(trainer, told=True)
        if batch.annotations is not None:
            raise RuntimeError("the pool pass was given annotations; its loader must not read any")
        fields = {name: values.cpu() for name, values in self.summarizer(batch, outputs).items()}
        self._parts.append(Summary(batch.index.cpu(), fields))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Join the rows of all batches and ranks, and group them into units.

        Raises:
            SIGTERMException: another process has left the pass before its end.
        """
        end_if_any(trainer, told=False)  # whoever was told after its last batch first saves what is done
        parts = self._parts
        if trainer.world_size > 1:
            gathered: list[list[Summary]] = [[] for _ in range(trainer.world_size)]
            dist.all_gather_object(gathered, parts)
            parts = [part for rank in gathered for part in rank]
        rows = Summary.concatenate(parts)
        rows = rows.take(torch.argsort(rows.units))
        unit_of = torch.from_numpy(self.dataset.unit_of)
        self.summary = self.summarizer.group(Summary(unit_of[rows.units], rows.fields))
        self._parts = []

    def select(self, summary: Summary, pool: LabelPool, budget: int, generator: torch.Generator) -> Selection:
        """Select units of the pool from the summaries of pool and labeled set.

        Raises:
            ValueError: the summary does not hold every unit exactly once.
        """
        if not torch.equal(summary.units.sort().values, torch.arange(len(pool.units))):
            raise ValueError(f"the summary holds {len(summary)} rows and not each of {len(pool.units)} units once")
        order = torch.argsort(summary.units)
        unlabeled, labeled = (summary.take(order[torch.from_numpy(units)]) for units in (pool.unlabeled, pool.labeled))
        labeled = self.summarizer.with_labels(labeled, lambda row: self._annotations(row, pool))
        return self.acquisition.select(unlabeled, labeled, budget, generator)

    def _annotations(self, row: int, pool: LabelPool) -> Any:
        """Annotations of a row of a labeled unit."""
        unit = int(self.dataset.unit_of[row])
        if pool.acquired_at[unit] == UNLABELED:
            raise RuntimeError(f"annotations of row {row} were asked for, but its unit {pool.units[unit]} has none yet")
        return self.dataset.annotations(row)
