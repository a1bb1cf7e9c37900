"""Distance to the nearest center, exact, of those candidates of which it is asked, with most pairs never computed.

Shape letters: N candidates, P some of them, M centers, D size of an embedding.

Let y = (x - mean) / scale in float32. The distance of two embeddings over the scale is at least |y - y'| less what the
rounding to float32 moves the two, and |y - y'|^2 = |y|^2 + |y'|^2 - 2 y.y'. So an inner product in float32, whose
rounding error is at most about D 2^-24 |y| |y'| in any order of summation, tells that a center cannot be nearer than
the nearest one known; only the others cost a distance in float64.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.acquisition.functional.distance_kernel import (
    Doubles,
    Floats,
    Singles,
    distances,
    inner_products,
    lower_nearest,
)

# Embeddings converted together.
BLOCK = 2**14
# Candidates and centers whose inner products are found together: 4 MiB.
ROWS, CENTERS = 2**10, 2**10
# Candidates up to which it is faster to find only the products with centers that they have not seen.
FEW = 2**8


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
        self._pool, centers = _prepare(pool, labeled)
        self.distance = torch.from_numpy(np.minimum.reduce(distances(self._pool, centers), axis=1))

    def add(self, position: int) -> Tensor:
        """Make the candidate at this position a center.

        Returns:
            (N,) the new distances; 0 for what is a center.
        """
        new = distances(self._pool, self._pool[position : position + 1])[:, 0]
        self.distance = torch.minimum(self.distance, torch.from_numpy(new))
        return self.distance


class LazyCenterDistance:
    """Euclidean distance of candidates to their nearest center, brought up to date where it is asked for.

    Bit for bit the distances of `NearestCenterDistance`.

    Args:
        pool: (N, D) embeddings of the candidates.
        labeled: (M, D) embeddings of the first centers, M > 0.

    Attributes:
        distance: (N,) float64 to the nearest of the centers known when each candidate was last asked for; first, of
            the labeled ones. It only falls.

    Raises:
        ValueError: shapes do not fit, the labeled set is empty, or values are not finite.
    """

    def __init__(self, pool: Tensor, labeled: Tensor) -> None:
        self._pool, centers = _prepare(pool, labeled)
        mean = self._pool.mean(axis=0, dtype=np.float64)
        largest = max(_largest(self._pool, mean), _largest(centers, mean))
        self._scale = 2.0 ** np.ceil(np.log2(largest)) if largest > 0 else 1.0  # a power of 2 does not round
        self._scaled, self._square, moved = _rescale(self._pool, mean, self._scale)
        scaled_centers, square_centers, moved_centers = _rescale(centers, mean, self._scale)
        size = self._pool.shape[1]
        # Both twice what rounding can do, which leaves room for the rounding of the bounds themselves.
        self._slack = 2 * (moved + moved_centers) + 2.0**-50 * size
        self._relative = 2.0**-23 * (size + 4)
        self._nearest = np.full(len(self._pool), np.inf)
        self.distance = torch.from_numpy(self._nearest)
        self._seen = np.zeros(len(self._pool), np.int64)
        self._all = np.arange(len(self._pool))
        self._lower(self._all, centers, scaled_centers, square_centers, np.arange(len(centers)))
        self._seen[:] = 0  # from now on, of the picks
        self._picks, self._count = np.empty(len(self._pool), np.int64), 0

    def notice(self, position: int) -> None:
        """Make the candidate at this position a center."""
        self._picks[self._count] = position
        self._count += 1

    def refresh(self, positions: NDArray[np.int64]) -> Doubles:
        """Distances (P,) to the nearest center now, of the candidates at these positions (P,)."""
        self._lower(positions, self._pool, self._scaled, self._square, self._picks[: self._count])
        return self._nearest[positions]

    def add(self, position: int) -> Tensor:
        """Make the candidate at this position a center.

        Returns:
            (N,) the new distances; 0 for what is a center. The next call changes it in place.
        """
        self.notice(position)
        self.refresh(self._all)
        return self.distance

    def _lower(
        self, positions: NDArray[np.int64], centers: Floats, scaled: Singles, square: Doubles, which: NDArray[np.int64]
    ) -> None:
        for first in range(int(self._seen[positions].min(initial=len(which))), len(which), CENTERS):
            some = which[first : first + CENTERS]
            halves = (1 - self._relative) * square[some] / 2
            for start in range(0, len(positions), ROWS):
                rows = positions[start : start + ROWS]
                if len(rows) <= FEW:
                    products = inner_products(rows, self._seen, self._scaled, scaled, some, first)
                else:
                    products = self._scaled[rows] @ scaled[some].T
                lower_nearest(
                    rows, self._nearest, self._seen, self._pool, self._square, centers, some, halves, products, first,
                    self._scale, self._slack, self._relative,
                )  # fmt: skip


def _prepare(pool: Tensor, labeled: Tensor) -> tuple[Floats, Floats]:
    """Embeddings (N, D) and (M, D) as arrays of one type, float32 or float64."""
    if pool.dim() != 2 or labeled.dim() != 2 or pool.shape[1] != labeled.shape[1]:
        raise ValueError(
            f"pool and labeled must be (N, D) and (M, D), got {tuple(pool.shape)} and {tuple(labeled.shape)}"
        )
    if len(labeled) == 0:
        raise ValueError("there is no labeled embedding to measure the distance to")
    if not (bool(torch.isfinite(pool).all()) and bool(torch.isfinite(labeled).all())):
        raise ValueError("embeddings must be finite")
    kind = torch.float32 if pool.dtype == labeled.dtype == torch.float32 else torch.float64
    first, second = (values.detach().to("cpu", kind).contiguous().numpy() for values in (pool, labeled))
    return first, second


def _largest(embeddings: Floats, mean: Doubles) -> float:
    """Largest coordinate of embeddings (N, D) about their mean (D,), its sign aside."""
    return float(max(np.abs(embeddings.max(axis=0) - mean).max(), np.abs(embeddings.min(axis=0) - mean).max()))


def _rescale(embeddings: Floats, mean: Doubles, scale: float) -> tuple[Singles, Doubles, float]:
    """Embeddings about the mean over the scale (N, D), their squared lengths (N,), and the farthest that one moved."""
    scaled, square, moved = np.empty(embeddings.shape, np.float32), np.empty(len(embeddings)), 0.0
    for start in range(0, len(embeddings), BLOCK):
        rows = slice(start, start + BLOCK)
        exact = (embeddings[rows] - mean) / scale
        scaled[rows] = exact
        rounded = scaled[rows].astype(np.float64)
        square[rows] = np.einsum("nd,nd->n", rounded, rounded)
        moved = max(moved, float(np.sqrt(np.square(exact - rounded).sum(axis=1).max())))
    return scaled, square, moved
