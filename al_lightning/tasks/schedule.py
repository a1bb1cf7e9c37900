"""Learning rates: what is refused, and how they fall after the warm-up."""

from __future__ import annotations

import math


def check_rates(lr: float, weight_decay: float, warmup_steps: int) -> None:
    """Refuse numbers that no training can use.

    Raises:
        ValueError: a rate, decay or number of steps is out of range.
    """
    if not (0 < lr < math.inf and 0 <= weight_decay < math.inf and warmup_steps >= 0):
        raise ValueError(
            "lr must be positive, weight_decay and warmup_steps not negative, "
            f"got {lr}, {weight_decay} and {warmup_steps}"
        )


def decay_factor(step: int, total: int, warmup_steps: int, schedule: str) -> float:
    """Share of the full learning rate at a step after the warm-up.

    Args:
        step: from ``warmup_steps`` to ``total``.
        total: steps of the whole training.
        warmup_steps: steps before.
        schedule: "constant"; "cosine", half a cosine down to zero at ``total``; "steps", a tenth after two thirds of
            the whole training and a hundredth after five sixths.
    """
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
