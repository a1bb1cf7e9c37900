"""Compiled loops of the distance to the nearest center.

Shape letters: N candidates, P some of them, L centers, M some of them, D size of an embedding.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from al_lightning.compiled import compiled

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


@compiled()
def sums_and_extremes(values: Floats) -> tuple[Doubles, Doubles, Doubles]:
    """Sum (D,), smallest (D,) and largest (D,) of the coordinates of embeddings (N, D)."""
    total, low, high = np.zeros(values.shape[1]), np.full(values.shape[1], np.inf), np.full(values.shape[1], -np.inf)
    for i in range(len(values)):
        for d in range(values.shape[1]):
            value = np.float64(values[i, d])
            total[d] += value
            low[d] = value if value < low[d] else low[d]
            high[d] = value if value > high[d] else high[d]
    return total, low, high


@compiled("reassoc", "contract")
def rescale(values: Floats, mean: Doubles, scale: float) -> tuple[Singles, Doubles, float]:
    """Embeddings about the mean over the scale (N, D), their squared lengths (N,), and the farthest that one moved."""
    scaled, square, moved = np.empty(values.shape, np.float32), np.empty(len(values)), 0.0
    for i in range(len(values)):
        length, change = 0.0, 0.0
        for d in range(values.shape[1]):
            exact = (float(values[i, d]) - float(mean[d])) / scale
            scaled[i, d] = exact
            rounded = float(np.float32(exact))
            length += rounded * rounded
            change += (exact - rounded) * (exact - rounded)
        square[i] = length
        moved = max(moved, change)
    return scaled, square, np.sqrt(moved)


@compiled("reassoc", "contract")
def inner_products(rows: NDArray[np.int64], a: Singles, b: Singles) -> Singles:
    """Inner products (P, M) of rows of (N, D) with (M, D), summed in whatever order is fast: they only bound."""
    products = np.empty((len(rows), len(b)), np.float32)
    for p in range(len(rows)):
        i = rows[p]
        for j in range(len(b)):
            total = np.float32(0)
            for d in range(a.shape[1]):
                total += a[i, d] * b[j, d]
            products[p, j] = total
    return products


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
    products: Singles,
    error: float,
    first: int,
    scale: float,
    slack: float,
) -> tuple[int, int]:
    """Lower each row's distance to its nearest center by the centers it has not seen; see `nearest_center`.

    Args:
        rows: (P,) positions of candidates.
        nearest: (N,) distance to the nearest of the centers seen, lowered in place.
        seen: (N,) how many of the first centers were seen, updated in place.
        pool: (N, D) embeddings.
        scaled: (N, D) they, shifted and scaled.
        square: (N,) squared lengths of these.
        centers: (M, D).
        scaled_centers: (M, D) they, shifted and scaled.
        square_centers: (M,) squared lengths of these.
        products: (P, M) inner products of the rows with them, shifted and scaled.
        error: share of the mean squared length of two by which rounding may change their inner product.
        first: how many centers come before these.
        scale: length of 1 of the scaled embeddings.
        slack: what rounding of the scaled embeddings may add to a distance between them.

    Returns:
        Distances computed, and how many the products alone would have let compute.
    """
    computed, doubtful = 0, 0
    relative = 2.0**-23 * (scaled.shape[1] + 4)  # twice what rounding to float32 can change of a squared difference
    # `error` is at least a quarter more than products need: room for halves and limit in float32.
    halves = ((1 - error) * square_centers / 2).astype(np.float32)
    for p in range(len(rows)):
        i = rows[p]
        reach = nearest[i] / scale * (1 + relative) + slack
        limit = np.float32(((1 - error) * square[i] - reach * reach) / 2)
        for start in range(max(seen[i] - first, 0), len(centers), WIDTH):
            some, half = products[p, start : start + WIDTH], halves[start : start + WIDTH]
            near = False
            for j in range(len(some)):
                near |= some[j] - half[j] >= limit
            if not near or nearest[i] == 0:
                continue
            likely = 0  # the nearest by the products comes first: after it, others are seldom near enough
            for j in range(len(some)):
                if some[j] - half[j] > some[likely] - half[likely]:
                    likely = j
            for k in range(-1, len(some)):
                j = likely if k == -1 else k
                if some[j] - half[j] < limit or k == likely:
                    continue
                doubtful += 1
                if (1 - relative) * _squared_difference(scaled, i, scaled_centers, start + j) > reach * reach:
                    continue
                computed += 1
                value = _distance(pool, i, centers, start + j)
                if value < nearest[i]:
                    nearest[i] = value
                    reach = value / scale * (1 + relative) + slack
                    limit = np.float32(((1 - error) * square[i] - reach * reach) / 2)
        seen[i] = max(seen[i], first + len(centers))
    return computed, doubtful


@compiled("reassoc", "contract")
def _squared_difference(a: Singles, i: int, b: Singles, j: int) -> float:
    """Squared distance of row i of (N, D) to row j of (L, D), summed in whatever order is fast."""
    total = np.float32(0)
    for d in range(a.shape[1]):
        difference = a[i, d] - b[j, d]
        total += difference * difference
    return float(total)


@compiled()
def _distance(a: Floats, i: int, b: Floats, j: int) -> float:
    """Euclidean distance of row i of (N, D) to row j of (L, D); to take the rows out would cost more than the loop."""
    total = 0.0
    for d in range(a.shape[1]):
        difference = np.float64(a[i, d]) - np.float64(b[j, d])
        total += float(difference * difference)
    return float(np.sqrt(total))
