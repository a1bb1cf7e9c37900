"""Greedy k-center, the core-set selection of Sener and Savarese ("Active Learning for Convolutional Neural Networks").

Shape letters: N candidates, M labeled, D size of an embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from al_lightning.acquisition.functional.nearest_center import LazyCenterDistance
from al_lightning.acquisition.lazy_selection import LazyScores
from al_lightning.acquisition.selection import check_budget
from al_lightning.acquisition.threads import one_thread


def k_center(pool: Tensor, labeled: Tensor, budget: int) -> Tensor:
    """Pick, one after the other, the candidate farthest from its nearest center; labeled and picked are centers.

    Distances are Euclidean, from differences in float64: the expanded form |a|^2 + |b|^2 - 2ab would cancel for close
    points. Ties go to the lowest row; no row is picked twice. Most distances are never computed (`LazyCenterDistance`,
    `LazyScores`), those that decide are.

    Args:
        pool: (N, D) embeddings of the candidates.
        labeled: (M, D) embeddings of the labeled set, M > 0.
        budget: number of picks, 1 to N.

    Returns:
        (budget,) int64 rows of the pool in pick order.

    Raises:
        ValueError: shapes do not fit, the labeled set is empty, values are not finite, or the budget is out of range.
    """
    check_budget(budget, len(pool))
    nearest = LazyCenterDistance(pool, labeled)
    scores = LazyScores(nearest.distance.numpy(), nearest, lambda distance: distance)
    with one_thread():
        for _ in range(budget):
            scores.pick()
    return torch.tensor(scores.picks)
