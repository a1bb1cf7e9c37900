"""Learning rates: what is refused, how they rise in the warm-up and fall after it, and the optimizer that has them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from pytorch_lightning import Trainer

log = logging.getLogger(__name__)

WARMUP_SHARE = 0.5
"""Most of all steps of a training that a warm-up may take."""

SCHEDULES = ("constant", "cosine", "steps")
"""What `decay_factor` knows."""


def check_rates(lr: float, weight_decay: float, warmup_steps: int, schedule: str) -> None:
    """Refuse what no training can use.

    Raises:
        ValueError: a rate, decay or number of steps is out of range, or the schedule none of `SCHEDULES`.
    """
    check_schedule(schedule, SCHEDULES)
    if not (0 < lr < math.inf and 0 <= weight_decay < math.inf and warmup_steps >= 0):
        raise ValueError(
            "lr must be positive, weight_decay and warmup_steps not negative, "
            f"got {lr}, {weight_decay} and {warmup_steps}"
        )


def check_schedule(schedule: str, known: Sequence[str]) -> None:
    """Refuse a schedule that nobody knows.

    Raises:
        ValueError: it is not a known one.
    """
    if schedule not in known:
        raise ValueError(f"schedule must be one of {', '.join(known)}, got {schedule!r}")


def warmup_length(wanted: int, total: int, share: float = WARMUP_SHARE) -> int:
    """Steps of a warm-up: as many as wanted, but at most a share of all steps, so that time to learn is left."""
    return min(wanted, int(share * total))


def warmed_factor(step: int, total: int, warmup_steps: int, schedule: str) -> float:
    """Share of the full learning rate at a step: linear warm-up from a thousandth, then `decay_factor`.

    Args:
        step: from 0 to ``total``.
        total: steps of the whole training.
        warmup_steps: wanted steps of the warm-up (`warmup_length`).
        schedule: one of `SCHEDULES`.
    """
    warmup = warmup_length(warmup_steps, total)
    return max(1e-3, step / warmup) if step < warmup else decay_factor(step, total, warmup, schedule)


def adamw(
    trainer: Trainer,
    parameters: Iterable[Any],
    lr: float,
    weight_decay: float,
    factor: Callable[[int, int], float],
    warmup_steps: int,
    warmup_share: float = WARMUP_SHARE,
) -> dict[str, Any]:
    """AdamW whose learning rates follow a schedule by steps, as Lightning's ``configure_optimizers`` returns it.

    Args:
        trainer: of the training; it knows how many steps there will be.
        parameters: parameters, or groups of them.
        lr: full learning rate of the groups that have none of their own.
        weight_decay: that of the groups that have none of their own.
        factor: (step, steps of the whole training) -> share of the full learning rate.
        warmup_steps: wanted steps of the warm-up in ``factor``; that it is shortened is logged.
        warmup_share: most of all steps that it may take.
    """
    # Fused takes an eighth of the time on a CPU; it cannot clip gradients under a gradient scaler.
    fused = trainer.precision != "16-mixed"
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=fused)
    total = int(trainer.estimated_stepping_batches)
    warmup = warmup_length(warmup_steps, total, warmup_share)
    if warmup < warmup_steps:
        log.info("a warm-up of %d steps is shortened to %d of %d", warmup_steps, warmup, total)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(step, total))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def decay_factor(step: int, total: int, warmup_steps: int, schedule: str) -> float:
    """Share of the full learning rate at a step after the warm-up.

    Args:
        step: from ``warmup_steps`` to ``total``.
        total: steps of the whole training.
        warmup_steps: steps before.
        schedule: "constant"; "cosine", half a cosine down to zero at ``total``; "steps", a tenth after two thirds of
            the whole training and a hundredth after five sixths.

    Raises:
        ValueError: the schedule is not a known one.
    """
    check_schedule(schedule, SCHEDULES)
    if schedule == "constant":
        return 1.0
    if schedule == "steps":
        return 0.1 ** ((step >= total * 2 / 3) + (step >= total * 5 / 6))
    progress = (step - warmup_steps) / max(1, total - warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def epoch_cosine_factor(step: int, total: int, epochs: int, lowest: float) -> float:
    """Share of the full learning rate at a step, the same all through an epoch (mmcv's ``CosineAnnealing``).

    Half a cosine from 1 towards ``lowest``, which the end of the last epoch would reach: 2 epochs have 1 and a half.

    Args:
        step: from 0 to ``total``.
        total: steps of the whole training.
        epochs: of the whole training.
        lowest: share at the end.

    Raises:
        ValueError: there is no step, or the number of epochs is not known.
    """
    if min(total, epochs) < 1:
        raise ValueError(f"a schedule by epochs needs numbers of steps and epochs, got {total} and {epochs}")
    epoch = step * epochs // total
    return lowest + (1.0 - lowest) * 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))
