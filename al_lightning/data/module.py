"""The DataModule of the loop: labeled rows to train on, validation rows, and everything for the pool pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler

from al_lightning.data.pool import LabelPool
from al_lightning.types import ActiveDataset, Batch, Sample, collate, stack


class LabeledRows(Dataset[Sample[Any, Any]]):
    """Rows with annotations, in the given order.

    Args:
        dataset: holds the rows.
        rows: their numbers.
        seed: with the position it seeds the augmentation; None for none.
        past_frames: rows before each that are read with it, without augmentation, where the dataset does not choose a
            past itself.
    """

    def __init__(
        self,
        dataset: ActiveDataset,
        rows: NDArray[np.int64],
        seed: tuple[int, ...] | None = None,
        past_frames: int = 0,
    ) -> None:
        self.dataset, self.rows, self.seed, self.past_frames = dataset, rows, seed, past_frames

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Sample[Any, Any]:
        generator = None if self.seed is None else np.random.default_rng((*self.seed, position))
        row = int(self.rows[position])
        sample = self.dataset.sample(row, annotations=True, generator=generator)
        if self.past_frames and sample.past is None:
            sample.past = stack([self._inputs(before) for before in self._rows_before(row)])
        return sample

    def _rows_before(self, row: int) -> NDArray[np.int64]:
        """Numbers (F,) of the rows before, not before the first one of the unit."""
        first = int(np.searchsorted(self.dataset.unit_of, self.dataset.unit_of[row]))
        return np.maximum(np.arange(row - self.past_frames, row), first)

    def _inputs(self, row: np.int64) -> Any:
        return self.dataset.sample(int(row), annotations=False).inputs


class SensorRows(Dataset[Sample[Any, Any]]):
    """All rows without annotations and without augmentation: what the acquisition may see."""

    def __init__(self, dataset: ActiveDataset, label_mask: bool = False) -> None:
        self.dataset, self.label_mask = dataset, label_mask

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> Sample[Any, Any]:
        return self.dataset.sample(row, annotations=False, label_mask=self.label_mask)


class WholeUnits(DistributedSampler[Any]):
    """The rows of every so many-th unit: each process reads whole units, in their order, and every row is read once.

    Args:
        dataset: what is sampled.
        unit_of: (rows,) the unit of each row.
        processes: number of processes.
        rank: number of this one.

    Raises:
        ValueError: there are fewer units than processes.
    """

    def __init__(self, dataset: Dataset[Any], unit_of: NDArray[np.int64], processes: int, rank: int) -> None:
        super().__init__(dataset, processes, rank, shuffle=False)
        units, position = np.unique(unit_of, return_inverse=True)
        if len(units) < processes:
            raise ValueError(f"{processes} processes cannot share {len(units)} units; use fewer")
        self.rows = np.flatnonzero(position % processes == rank)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows.tolist())

    def __len__(self) -> int:
        return len(self.rows)


class ActiveLearningDataModule(LightningDataModule):
    """Loaders over a growing labeled set.

    The order of the rows and their augmentation depend on (seed, cycle, epoch, position) alone, never on a random
    stream, so that a resumed run sees the same batches; the Trainer has to reload the train loader in every epoch.

    Args:
        train: rows to train on once they are labeled.
        val: rows to validate on, all labeled.
        pool: which units of ``train`` are labeled; `expand` adds to it.
        batch_size: samples in a training batch.
        predict_batch_size: samples in a batch of validation and prediction.
        samples_per_epoch: rows of a training epoch, drawn in rounds over the shuffled labeled rows; None for each once.
        num_workers: reader processes.
        seed: seed of order and augmentation.
        label_mask: read the visibility mask that ships with the labels in the pool pass.
        past_frames: rows before each training row that are read with it, for networks that remember; a dataset may
            choose them itself, in `Sample.past`.
    """

    def __init__(
        self,
        train: ActiveDataset,
        val: ActiveDataset,
        pool: LabelPool,
        *,
        batch_size: int = 1,
        predict_batch_size: int = 1,
        samples_per_epoch: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        label_mask: bool = False,
        past_frames: int = 0,
    ) -> None:
        super().__init__()
        self.train, self.val, self.pool = train, val, pool
        self.batch_size, self.predict_batch_size, self.num_workers = batch_size, predict_batch_size, num_workers
        self.samples_per_epoch = samples_per_epoch
        self.seed, self.label_mask, self.past_frames = seed, label_mask, past_frames

    @property
    def labeled_rows(self) -> NDArray[np.int64]:
        """Rows of ``train`` whose unit is labeled, ascending."""
        return np.flatnonzero(self.pool.acquired_at[self.train.unit_of] >= 0)

    def expand(self, units: Sequence[int] | NDArray[np.int64]) -> None:
        """Add units to the labeled set."""
        self.pool.acquire(units)

    def train_dataloader(self) -> DataLoader[Batch[Any, Any]]:
        """Labeled rows in the order of this cycle and epoch."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        seed = (self.seed, self.pool.cycle, epoch)
        generator, rows = np.random.default_rng(seed), self.labeled_rows
        size = self.samples_per_epoch or len(rows)
        order = np.concatenate([generator.permutation(rows) for _ in range(0, size, len(rows))])[:size]
        return self._loader(LabeledRows(self.train, order, seed, self.past_frames), self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch[Any, Any]]:
        """All validation rows in their order, each read by one process: equal shares would count some twice."""
        rows = LabeledRows(self.val, np.arange(len(self.val)))
        return self._loader(rows, self.predict_batch_size, self._share(rows, self.val))

    def predict_dataloader(self) -> DataLoader[Batch[Any, Any]]:
        """All rows of ``train`` in their order, labeled or not, without annotations."""
        rows = SensorRows(self.train, self.label_mask)
        return self._loader(rows, self.predict_batch_size, self._share(rows, self.train))

    def _share(self, rows: Dataset[Sample[Any, Any]], dataset: ActiveDataset) -> Sampler[int] | None:
        """What this process reads of the rows of a dataset; None for all."""
        trainer = self.trainer
        if not trainer or trainer.world_size == 1:
            return None
        return WholeUnits(rows, dataset.unit_of, trainer.world_size, trainer.global_rank)

    def _loader(
        self, rows: Dataset[Sample[Any, Any]], batch_size: int, sampler: Sampler[int] | None = None
    ) -> DataLoader[Batch[Any, Any]]:
        loader: DataLoader[Any] = DataLoader(
            rows,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=collate,
            worker_init_fn=_read_in_one_thread,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            generator=torch.Generator().manual_seed(self.seed),  # else every epoch draws from the global stream
        )
        return loader


def _read_in_one_thread(_: int) -> None:
    """Reader processes share the processors already; torch limits its own threads there, OpenCV does not."""
    cv2.setNumThreads(0)  # none beside this one; for 1, OpenCV would wait for threads that are lost in a fork
