"""Compiled loops of the distance to the nearest center.

Shape letters: N candidates, P some of them, L centers, M some of them, D size of an embedding.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from al_lightning.acquisition.compiled import compiled

Doubles: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]
Floats: TypeAlias = NDArray[np.float32] | NDArray[np.float64]

# Centers of which it is first asked whether any may be nearer: a loop without a branch becomes vector instructions.
WIDTH = 256


@compiled()
def distances(a: Floats, b: Floats) -> Doubles:
    """Euclidean distances (N, L) of (N, D) to (L, D), from differences in float64."""
    result = np.empty((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            result[i, j] = _distance(a, i, b, j)
    return result


@compiled("reassoc", "contract")
def inner_products(
    rows: NDArray[np.int64], seen: NDArray[np.int64], a: Singles, b: Singles, which: NDArray[np.int64], first: int
) -> Singles:
    """Inner products (P, M) of rows of (N, D) with rows ``which`` (M,) of (L, D), from the first one not seen on.

    They are summed in whatever order is fast: they only bound. Rows are `lower_nearest`'s, as is ``first``.
    """
    products = np.empty((len(rows), len(which)), np.float32)
    for p in range(len(rows)):
        i = rows[p]
        for k in range(max(seen[i] - first, 0), len(which)):
            j, total = which[k], np.float32(0)
            for d in range(a.shape[1]):
                total += a[i, d] * b[j, d]
            products[p, k] = total
    return products


@compiled()
def lower_nearest(
    rows: NDArray[np.int64],
    nearest: Doubles,
    seen: NDArray[np.int64],
    pool: Floats,
    square: Doubles,
    centers: Floats,
    which: NDArray[np.int64],
    halves: Doubles,
    products: Singles,
    first: int,
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
        square: (N,) their squared lengths, shifted and scaled.
        centers: (L, D).
        which: (M,) rows of those that are looked at, in order.
        halves: (M,) half of their squared lengths, shifted and scaled, less what rounding may change.
        products: (P, M) inner products of the rows with them, shifted and scaled; any where they were seen.
        first: how many centers come before these.
        scale: length of 1 of the scaled embeddings.
        slack: what rounding of the scaled embeddings may add to a distance between them.
        relative: share of the squared lengths by which rounding may change an inner product.

    Returns:
        Distances computed.
    """
    computed = 0
    for p in range(len(rows)):
        i = rows[p]
        limit = _limit(nearest[i], square[i], scale, slack, relative)
        for start in range(max(seen[i] - first, 0), len(which), WIDTH):
            some, half = products[p, start : start + WIDTH], halves[start : start + WIDTH]
            near = False
            for j in range(len(some)):
                near |= some[j] - half[j] >= limit
            if not near:
                continue
            for j in range(len(some)):
                if some[j] - half[j] >= limit:
                    computed += 1
                    value = _distance(pool, i, centers, which[start + j])
                    if value < nearest[i]:
                        nearest[i] = value
                        limit = _limit(value, square[i], scale, slack, relative)
        seen[i] = max(seen[i], first + len(which))
    return computed


@compiled()
def _limit(nearest: float, square: float, scale: float, slack: float, relative: float) -> float:
    if nearest == 0:
        return np.inf  # nothing is nearer: equal embeddings cost nothing
    reach = nearest / scale * (1 + relative) + slack
    return ((1 - relative) * square - reach * reach) / 2


@compiled()
def _distance(a: Floats, i: int, b: Floats, j: int) -> float:
    """Euclidean distance of row i of (N, D) to row j of (L, D); to take the rows out would cost more than the loop."""
    total = 0.0
    for d in range(a.shape[1]):
        difference = np.float64(a[i, d]) - np.float64(b[j, d])
        total += float(difference * difference)
    return float(np.sqrt(total))
