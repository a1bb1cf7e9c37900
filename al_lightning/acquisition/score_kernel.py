"""Compiled passes over the scores of all candidates.

Shape letters: N candidates, C terms.

Where a loop only looks for what is rare, a first loop without branches tells whether it is there: it becomes vector
instructions.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from al_lightning.acquisition.compiled import compiled

Doubles: TypeAlias = NDArray[np.float64]
Booleans: TypeAlias = NDArray[np.bool_]

# Candidates looked at together: 4 KiB of scores, which stay in the processor's nearest cache.
WIDTH = 512


@compiled()
def all_finite(values: Doubles) -> bool:
    """Whether all values (N,) are finite."""
    finite = True
    for i in range(len(values)):
        finite &= abs(values[i]) < np.inf
    return finite


@compiled()
def extremes(values: Doubles, remaining: Booleans) -> tuple[float, float]:
    """Smallest and largest of the values (N,), all finite, that remain."""
    low, high = np.full(WIDTH, np.inf), np.full(WIDTH, -np.inf)  # of every WIDTH-th value: vector instructions
    for start in range(0, len(values), WIDTH):
        here, some = remaining[start : start + WIDTH], values[start : start + WIDTH]
        for j in range(len(some)):
            value = some[j] if here[j] else np.inf
            low[j] = value if value < low[j] else low[j]
            value = some[j] if here[j] else -np.inf
            high[j] = value if value > high[j] else high[j]
    return low.min(), high.max()


@compiled()
def contribute(raw: Doubles, shift: float, spread: float, weight: float, power: int, contribution: Doubles) -> None:
    """What a term adds to the combined score: weight * normalized (N,), squared for power 2.

    Rounded as `functional.weighted_sum` and `functional.l2_norm` round it.
    """
    if power == 1:
        for i in range(len(raw)):
            contribution[i] = weight * ((raw[i] - shift) / spread)
    else:
        for i in range(len(raw)):
            normalized = (raw[i] - shift) / spread
            contribution[i] = weight * weight * (normalized * normalized)


@compiled()
def best(contributions: Doubles, remaining: Booleans, power: int) -> tuple[int, bool]:
    """First candidate with the largest combined score.

    Args:
        contributions: (C, N) what each term adds, see `contribute`.
        remaining: (N,) which candidates there are.
        power: 1, the score is the sum; 2, the root of the sum.

    Returns:
        Position, and whether the scores of all that remain are finite.
    """
    position, largest, largest_score, finite = -1, -np.inf, -np.inf, True
    total = np.empty(WIDTH)
    for start in range(0, len(remaining), WIDTH):
        here = remaining[start : start + WIDTH]
        total[:] = 0.0
        for c in range(len(contributions)):
            row = contributions[c, start : start + WIDTH]
            for j in range(len(row)):
                total[j] += row[j]
        larger = False
        for j in range(len(here)):
            larger |= here[j] & (total[j] > largest)
            finite &= (not here[j]) | (abs(total[j]) < np.inf)
        if larger:
            for j in range(len(here)):
                if here[j] and total[j] > largest:
                    largest = total[j]
                    score = np.sqrt(largest) if power == 2 else largest
                    if score > largest_score:  # roots of different sums may be equal
                        position, largest_score = start + j, score
    return position, finite
