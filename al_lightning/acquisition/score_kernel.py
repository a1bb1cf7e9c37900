"""Compiled passes over the scores of all candidates.

Shape letters: N candidates, B blocks of WIDTH of them, C terms.

As most scores fall from pick to pick, what was the largest of a block of candidates bounds what is: few blocks have to
be looked at for the best.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from al_lightning.compiled import compiled

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
def contribute(
    raw: Doubles, shift: float, spread: float, weight: float, power: int, contribution: Doubles, bound: Doubles
) -> None:
    """What a term adds to the combined score: weight * normalized (N,), squared for power 2.

    Rounded as `functional.weighted_sum` and `functional.l2_norm` round it. Bounds (B,), see `best`, become infinite
    where a contribution does not fall.
    """
    for block in range(len(bound)):
        some, own = raw[block * WIDTH : (block + 1) * WIDTH], contribution[block * WIDTH : (block + 1) * WIDTH]
        risen = False
        for j in range(len(some)):
            normalized = (some[j] - shift) / spread
            value = weight * normalized if power == 1 else weight * weight * (normalized * normalized)
            risen |= not value <= own[j]
            own[j] = value
        if risen:
            bound[block] = np.inf


@compiled()
def best(contributions: Doubles, remaining: Booleans, power: int, bound: Doubles) -> tuple[int, bool]:
    """First candidate with the largest combined score.

    Args:
        contributions: (C, N) what each term adds, see `contribute`.
        remaining: (N,) which candidates there are.
        power: 1, the score is the sum; 2, the root of the sum.
        bound: (B,) no sum of a candidate that remains in this block is larger; lowered to the largest one where it is
            looked at: where a larger score may be.

    Returns:
        Position, and whether the scores that were looked at are finite.
    """
    position, top, finite = -1, -np.inf, True
    likely = int(np.argmax(bound))  # first, as the larger the score at hand, the fewer blocks may have a larger one
    for step in range(-1, len(bound)):
        block = likely if step < 0 else step
        if step == likely or not _score(bound[block], power) >= top:
            continue
        start = block * WIDTH
        here, total = remaining[start : start + WIDTH], np.zeros(WIDTH)
        for c in range(len(contributions)):
            row = contributions[c, start : start + WIDTH]
            for j in range(len(row)):
                total[j] += row[j]
        bound[block] = -np.inf
        for j in range(len(here)):
            if here[j]:
                finite &= abs(total[j]) < np.inf
                if total[j] > bound[block]:
                    bound[block] = total[j]
                    score = _score(total[j], power)  # roots of different sums may be equal
                    if score > top or (score == top and start + j < position):
                        position, top = start + j, score
    return position, finite


@compiled()
def _score(total: float, power: int) -> float:
    return float(np.sqrt(total)) if power == 2 else total
