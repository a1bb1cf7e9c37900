"""Distance to the nearest center, exact, of those candidates of which it is asked, with most pairs never computed.

Shape letters: N candidates, P some of them, M centers, D size of an embedding.

Let y = (x - mean) / scale in float32. The distance of two embeddings over the scale is at least |y - y'| less what the
rounding to float32 moves the two, and |y - y'|^2 = |y|^2 + |y'|^2 - 2 y.y'. An inner product in float32, whose rounding
error is at most about D 2^-24 |y| |y'| in any order of summation, tells that a center cannot be nearer than the nearest
one known. So does one of y rounded to bfloat16, with an error of at most about 3 * 2^-8 |y| |y'|, and processors that
multiply bfloat16 do it several times as fast; where many centers are too near for it, float32 takes over. Of the
centers that remain, |y - y'|^2 from differences in float32 leaves few that cost a distance in float64.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

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
    rescale,
    sums_and_extremes,
)
from al_lightning.acquisition.threads import one_thread

# Candidates and centers whose inner products are found together: 2 MiB in float32.
ROWS, CENTERS = 2**10, 2**9
# Centers up to which inner products are found one by one.
FEW = 4
# Pairs of a candidate and a center for which another thread pays.
SHARED = 2**16
# Whether bfloat16 is faster than float32 (torch 2.4 cannot tell), and its error as a share of the mean squared length.
COARSE = hasattr(torch.cpu, "get_capabilities") and bool(torch.cpu.get_capabilities().get("avx512_bf16"))
COARSE_ERROR = 2.0**-6
# Share of the inner products in doubt from which on bfloat16 does not pay.
DOUBTFUL = 1 / 16


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
        self._threads = torch.get_num_threads()  # those of the caller: `selection.greedy` runs torch on one
        mean, largest = _mean_and_largest(self._pool, centers)
        self._scale = 2.0 ** np.ceil(np.log2(largest)) if largest > 0 else 1.0  # a power of 2 does not round
        self._scaled, self._square, moved = rescale(self._pool, mean, self._scale)
        scaled_centers, square_centers, moved_centers = rescale(centers, mean, self._scale)
        size = self._pool.shape[1]
        # Both twice what rounding can do, which leaves room for the rounding of the bounds themselves.
        self._slack = 2 * (moved + moved_centers) + 2.0**-50 * size
        self._error = 2.0**-23 * (size + 4)
        self._nearest = np.full(len(self._pool), np.inf)
        self.distance = torch.from_numpy(self._nearest)
        self._seen = np.zeros(len(self._pool), np.int64)
        self._all = np.arange(len(self._pool))
        self._lower(self._all, centers, scaled_centers, square_centers)
        self._seen[:] = 0  # from now on, of the picks
        self._picks, self._count = np.empty(len(self._pool), np.int64), 0

    def notice(self, position: int) -> None:
        """Make the candidate at this position a center."""
        self._picks[self._count] = position
        self._count += 1

    def refresh(self, positions: NDArray[np.int64]) -> Doubles:
        """Distances (P,) to the nearest center now, of the candidates at these positions (P,)."""
        first = int(self._seen[positions].min(initial=self._count))
        which = self._picks[first : self._count]
        self._lower(positions, self._pool[which], self._scaled[which], self._square[which], first)
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
        self, positions: NDArray[np.int64], centers: Floats, scaled: Singles, square: Doubles, before: int = 0
    ) -> None:
        """Lower distances by some centers (M, D), which so many others come before."""
        lower = partial(self._lower_rows, centers, scaled, square, before)
        threads = min(self._threads, len(positions) * len(centers) // SHARED)
        if threads <= 1:
            lower(positions)
            return
        with one_thread(), ThreadPoolExecutor(threads) as pool:  # candidates do not depend on each other
            for _ in pool.map(lower, np.array_split(positions, threads)):
                pass

    def _lower_rows(
        self, centers: Floats, scaled: Singles, square: Doubles, before: int, positions: NDArray[np.int64]
    ) -> None:
        coarse = COARSE and len(centers) > FEW
        for first in range(0, len(centers), CENTERS):
            some = slice(first, first + CENTERS)
            for start in range(0, len(positions), ROWS):
                rows = positions[start : start + ROWS]
                if len(centers) <= FEW:
                    products = inner_products(rows, self._scaled, scaled[some])
                else:
                    products = self._products(rows, scaled[some], coarse)
                _, doubtful = lower_nearest(
                    rows, self._nearest, self._seen, self._pool, self._scaled, self._square,
                    centers[some], scaled[some], square[some], products, self._error + coarse * COARSE_ERROR,
                    before + first, self._scale, self._slack,
                )  # fmt: skip
                coarse = coarse and doubtful < DOUBTFUL * products.size

    def _products(self, rows: NDArray[np.int64], centers: Singles, coarse: bool) -> Singles:
        """Inner products (P, M) of candidates (P,) and centers (M, D), both scaled."""
        a, b = torch.from_numpy(self._scaled).index_select(0, torch.from_numpy(rows)), torch.from_numpy(centers)
        result = torch.mm(a.bfloat16(), b.bfloat16().T).float() if coarse else torch.mm(a, b.T)
        return result.numpy()


def _prepare(pool: Tensor, labeled: Tensor) -> tuple[Floats, Floats]:
    """Embeddings (N, D) and (M, D) as arrays of one type, float32 or float64."""
    if pool.dim() != 2 or labeled.dim() != 2 or pool.shape[1] != labeled.shape[1]:
        raise ValueError(
            f"pool and labeled must be (N, D) and (M, D), got {tuple(pool.shape)} and {tuple(labeled.shape)}"
        )
    if len(labeled) == 0:
        raise ValueError("there is no labeled embedding to measure the distance to")
    if not all(bool(torch.isfinite(torch.stack(torch.aminmax(values))).all()) for values in (pool, labeled)):
        raise ValueError("embeddings must be finite")
    kind = torch.float32 if pool.dtype == labeled.dtype == torch.float32 else torch.float64
    first, second = (values.detach().to("cpu", kind).contiguous().numpy() for values in (pool, labeled))
    return first, second


def _mean_and_largest(pool: Floats, centers: Floats) -> tuple[Doubles, float]:
    """Mean (D,) of the candidates, and the largest coordinate of all embeddings about it, its sign aside."""
    total, low, high = sums_and_extremes(pool)
    mean = total / max(len(pool), 1)
    _, other_low, other_high = sums_and_extremes(centers)
    return mean, float(max((np.maximum(high, other_high) - mean).max(), (mean - np.minimum(low, other_low)).max()))
