"""Seeds that a crash cannot move: each is a function of what it is for, never of a stream's position."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from numbers and words; other parts give an independent seed."""
    numbers = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in parts]
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1


class BatchSeed(Callback):
    """Seeds dropout and everything else that draws from torch's global stream at every training batch.

    A resumed epoch then draws what an undisturbed one draws, whatever else has used the stream before.

    Args:
        seed: seed of the run.
        cycle: number of the cycle.
    """

    def __init__(self, seed: int, cycle: int) -> None:
        self.seed, self.cycle = seed, cycle

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed by (seed, cycle, epoch, batch, rank)."""
        moment = (self.cycle, trainer.current_epoch, batch_idx, trainer.global_rank)
        torch.manual_seed(derive_seed("batch", self.seed, *moment))
