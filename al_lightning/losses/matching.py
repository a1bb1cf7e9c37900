"""One-to-one matching of queries to truths, and the focal loss that goes with it.

Shape letters: Q queries, G truths, K classes.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

ALPHA, GAMMA = 0.25, 2
_EPS = 1e-12

Match = tuple[Tensor, Tensor]
"""Numbers of the matched queries and of their truths, both (min(Q, G),) int64."""


def sigmoid_focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of the focal losses of independent classes (alpha 0.25, gamma 2).

    Args:
        logits: (..., K).
        targets: (..., K) 0 or 1; all 0 for background.

    Returns:
        A scalar.
    """
    p = logits.sigmoid()
    miss = (1 - p) * targets + p * (1 - targets)
    weight = (ALPHA * targets + (1 - ALPHA) * (1 - targets)) * miss**GAMMA
    return (F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * weight).sum()


def focal_cost(logits: Tensor, labels: Tensor) -> Tensor:
    """What it costs to give each query (Q, K) each label (G,): (Q, G)."""
    p = logits.sigmoid()
    background = -(1 - p + _EPS).log() * (1 - ALPHA) * p**GAMMA
    foreground = -(p + _EPS).log() * ALPHA * (1 - p) ** GAMMA
    return foreground[:, labels] - background[:, labels]


def match(cost: Tensor) -> Match:
    """The cheapest one-to-one matching.

    Args:
        cost: (Q, G).

    Raises:
        ValueError: a cost is not finite.
    """
    if not bool(torch.isfinite(cost).all()):
        raise ValueError("a prediction is not finite, so it cannot be matched")
    queries, truths = linear_sum_assignment(cost.detach().cpu().numpy())
    return torch.from_numpy(queries).to(cost.device), torch.from_numpy(truths).to(cost.device)


def one_hot_targets(shape: tuple[int, ...], queries: Tensor, labels: Tensor) -> Tensor:
    """Targets (Q, K) of `sigmoid_focal`: the labels of the matched queries, zeros elsewhere."""
    targets = torch.zeros(shape, device=labels.device)
    targets[queries, labels] = 1.0
    return targets


def average_total(total: Tensor) -> Tensor:
    """The mean of a scalar over all processes."""
    if dist.is_available() and dist.is_initialized():
        total = total.clone()
        dist.all_reduce(total)
        total /= dist.get_world_size()
    return total


def average_count(count: int, device: torch.device) -> float:
    """How many truths a process has on average, at least 1: what losses of matched queries are divided by."""
    return max(float(average_total(torch.tensor(float(count), device=device))), 1.0)
