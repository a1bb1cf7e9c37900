"""Distances and nearest neighbours, exact and in float64.

Shape letters: N points, M others, K neighbours, D size of an embedding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Distances computed together (32 MiB of float64).
BLOCK = 2**22


class Neighbors(NamedTuple):
    """The nearest other points, nearest first.

    Attributes:
        distance: (N, K) float64.
        rows: (N, K) int64; equal distances in ascending order of rows.
    """

    distance: Tensor
    rows: Tensor


def euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (N, M) float64 between (N, D) and (M, D), from differences: exact for close points.

    Raises:
        ValueError: shapes do not fit, or values are not finite.
    """
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"embeddings must be (N, D) and (M, D), got {tuple(a.shape)} and {tuple(b.shape)}")
    if not (bool(a.isfinite().all()) and bool(b.isfinite().all())):
        raise ValueError("embeddings must be finite")
    a, b = a.detach().double(), b.detach().double()
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def nearest_neighbors(z: Tensor, neighbors: int) -> Neighbors:
    """The K nearest other rows of every row; a point is no neighbour of itself, an equal point in another row is.

    Args:
        z: (N, D) embeddings.
        neighbors: K; where there are fewer other rows, all of them are taken.

    Raises:
        ValueError: K is less than 1, there is no point, or embeddings are not (N, D) and finite.
    """
    if neighbors < 1 or len(z) == 0:
        raise ValueError(f"one or more neighbors and points needed, got {neighbors} and {len(z)}")
    count = min(neighbors, len(z) - 1)
    block = max(1, BLOCK // len(z))
    parts = []
    for start in range(0, len(z), block):
        distance = euclidean(z[start : start + block], z)
        distance.diagonal(start).fill_(torch.inf)
        parts.append([values[:, :count] for values in distance.sort(dim=1, stable=True)])
    return Neighbors(*(torch.cat(values) for values in zip(*parts, strict=True)))
