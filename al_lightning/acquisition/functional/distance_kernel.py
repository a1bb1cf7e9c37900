"""Compiled loops of the distance to the nearest center.

Shape letters: N candidates, P some of them, M centers, D size of an embedding.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from al_lightning.acquisition.compiled import compiled

Doubles: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]
Floats: TypeAlias = NDArray[np.float32] | NDArray[np.float64]


# Centers looked at together, so that a candidate is read once for all of them.
TOGETHER = 4


@compiled()
def distances(a: Floats, b: Floats) -> Doubles:
    """Euclidean distances (N, M) of (N, D) to (M, D), from differences in float64."""
    result = np.empty((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            result[i, j] = _distance(a, i, b, j)
    return result


@compiled()
def lower_nearest(
    rows: NDArray[np.int64],
    nearest: Doubles,
    seen: NDArray[np.int64],
    pool: Floats,
    scaled: Singles,
    square: Doubles,
    centers: Floats,
    scaled_centers: Singles,
    square_centers: Doubles,
    which: NDArray[np.int64],
    scale: float,
    slack: float,
    relative: float,
) -> int:
    """Lower each row's distance to its nearest center by the centers it has not seen; see `nearest_center`.

    Args:
        rows: (P,) positions of candidates.
        nearest: (N,) distance to the nearest of the centers seen, lowered in place.
        seen: (N,) how many of the first centers were seen, updated in place.
        pool: (N, D) embeddings.
        scaled: (N, D) embeddings, shifted and scaled.
        square: (N,) their squared lengths.
        centers: (M, D).
        scaled_centers: (M, D).
        square_centers: (M,).
        which: rows of those that are centers, in order.
        scale: length of 1 of the scaled embeddings.
        slack: what rounding of the scaled embeddings may add to a distance between them.
        relative: share of the squared lengths by which rounding may change an inner product.

    Returns:
        Distances computed.
    """
    computed = 0
    products = np.empty(TOGETHER, np.float32)
    for i in rows:
        limit = _limit(nearest[i], square[i], scale, slack, relative)
        for first in range(seen[i], len(which), TOGETHER):
            together = min(TOGETHER, len(which) - first)
            _inner(scaled, i, scaled_centers, which, first, together, products)
            for k in range(together):
                j = which[first + k]
                if products[k] >= limit + (1 - relative) * square_centers[j] / 2:
                    computed += 1
                    value = _distance(pool, i, centers, j)
                    if value < nearest[i]:
                        nearest[i] = value
                        limit = _limit(value, square[i], scale, slack, relative)
        seen[i] = len(which)
    return computed


@compiled()
def _limit(nearest: float, square: float, scale: float, slack: float, relative: float) -> float:
    reach = nearest / scale * (1 + relative) + slack
    return ((1 - relative) * square - reach * reach) / 2


# The following take arrays with row numbers: to take rows out of an array costs more than the loops over them.


@compiled()
def _distance(a: Floats, i: int, b: Floats, j: int) -> float:
    """Euclidean distance of row i of (N, D) to row j of (M, D)."""
    total = 0.0
    for d in range(a.shape[1]):
        difference = np.float64(a[i, d]) - np.float64(b[j, d])
        total += float(difference * difference)
    return float(np.sqrt(total))


@compiled("reassoc", "contract")
def _inner(a: Singles, i: int, b: Singles, which: NDArray[np.int64], first: int, count: int, products: Singles) -> None:
    """Inner products of row i of (N, D) with rows ``which[first : first + count]`` of (M, D), at most 4.

    They are summed in whatever order is fast: they only bound.
    """
    if count == TOGETHER:
        j0, j1, j2, j3 = which[first], which[first + 1], which[first + 2], which[first + 3]
        s0 = s1 = s2 = s3 = np.float32(0)
        for d in range(a.shape[1]):
            s0 += a[i, d] * b[j0, d]
            s1 += a[i, d] * b[j1, d]
            s2 += a[i, d] * b[j2, d]
            s3 += a[i, d] * b[j3, d]
        products[0], products[1], products[2], products[3] = s0, s1, s2, s3
        return
    for k in range(count):
        j0, s0 = which[first + k], np.float32(0)
        for d in range(a.shape[1]):
            s0 += a[i, d] * b[j0, d]
        products[k] = s0
