"""How learning rates fall after the warm-up."""

from __future__ import annotations

import math


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
