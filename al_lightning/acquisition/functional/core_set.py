"""Greedy k-center, the core-set selection of Sener and Savarese ("Active Learning for Convolutional Neural Networks").

Shape letters: N candidates, M labeled, D size of an embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from al_lightning.acquisition.functional.normalization import weighted_sum
from al_lightning.acquisition.selection import Term, greedy

# Distances computed together against the labeled set (32 MiB of float64).
BLOCK = 2**22


def k_center(pool: Tensor, labeled: Tensor, budget: int) -> Tensor:
    """Pick, one after the other, the candidate farthest from its nearest center; labeled and picked are centers.

    Distances are Euclidean, from differences in float64: the expanded form |a|^2 + |b|^2 - 2ab would cancel for close
    points. Ties go to the lowest row; no row is picked twice.

    Args:
        pool: (N, D) embeddings of the candidates.
        labeled: (M, D) embeddings of the labeled set, M > 0.
        budget: number of picks, 1 to N.

    Returns:
        (budget,) int64 rows of the pool in pick order.

    Raises:
        ValueError: shapes do not fit, the labeled set is empty, values are not finite, or the budget is out of range.
    """
    nearest = NearestCenterDistance(pool, labeled)
    term = Term(nearest.distance, nearest.add)
    return greedy({"distance": term}, budget, normalize=lambda scores: scores, combine=weighted_sum).picks


class NearestCenterDistance:
    """Euclidean distance of every candidate to its nearest center, kept up to date as centers are added.

    Args:
        pool: (N, D) embeddings of the candidates.
        labeled: (M, D) embeddings of the first centers, M > 0.

    Attributes:
        distance: (N,) float64.

    Raises:
        ValueError: shapes do not fit, the labeled set is empty, or values are not finite.
    """

    def __init__(self, pool: Tensor, labeled: Tensor) -> None:
        if pool.dim() != 2 or labeled.dim() != 2 or pool.shape[1] != labeled.shape[1]:
            raise ValueError(
                f"pool and labeled must be (N, D) and (M, D), got {tuple(pool.shape)} and {tuple(labeled.shape)}"
            )
        if len(labeled) == 0:
            raise ValueError("there is no labeled embedding to measure the distance to")
        if not (bool(torch.isfinite(pool).all()) and bool(torch.isfinite(labeled).all())):
            raise ValueError("embeddings must be finite")
        self._pool = pool.detach().to(torch.float64)
        centers = labeled.detach().to(torch.float64)
        self.distance = self._pool.new_empty(len(pool))
        rows = max(1, BLOCK // len(labeled))
        for i in range(0, len(pool), rows):
            self.distance[i : i + rows] = _distances(self._pool[i : i + rows], centers).amin(1)

    def add(self, position: int) -> Tensor:
        """Make the candidate at this position a center.

        Returns:
            (N,) the new distances; 0 for what is a center.
        """
        self.distance = torch.minimum(self.distance, _distances(self._pool, self._pool[position, None])[:, 0])
        return self.distance


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
