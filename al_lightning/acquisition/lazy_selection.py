"""The greedy core of a single term whose scores only fall: those that cannot win wait, for many picks at once.

Shape letters: N candidates, P some of them.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Positions = NDArray[np.int64]

# Candidates kept in view, which are brought up to date at every pick.
FRONT = 1024
# Where the front is left behind, all candidates are brought up to date if these may win, as a share of all, or if these
# are the picks since it was last done: for many at once a pair of a candidate and a pick costs least.
MANY, TOGETHER = 1 / 8, 256


class Falling(Protocol):
    """A term whose raw scores only fall as picks are made, and which can tell some of them without the others."""

    def notice(self, position: int) -> None:
        """The candidate at this position was picked."""
        ...

    def refresh(self, positions: Positions) -> Doubles:
        """Raw scores (P,) after all picks, of the candidates at these positions (P,)."""
        ...


class LazyScores:
    """Scores of the candidates, none below its true one.

    Old scores of a falling term are upper bounds: a candidate whose score is up to date and not below any other is the
    best, whatever the others' true scores are. So picks come out of a front of the largest scores, kept up to date, as
    long as none outside, up to date or not, is larger.

    Args:
        raw: (N,) scores before the first pick.
        term: the term that makes them.
        weight: factor of the scores, not negative.
        power: the combined score is weight * raw for 1; for 2 the root of its square, of raw scores not negative.

    Attributes:
        picks: positions picked so far, in order.
    """

    def __init__(self, raw: Doubles, term: Falling, weight: float, power: int) -> None:
        self._raw, self._term, self._weight, self._power = raw.copy(), term, weight, power
        self._scores = self._combined(raw)
        self.picks: list[int] = []
        self._complete_at = 0  # picks of which all candidates know
        self._front, self._behind = self._look()

    def pick(self) -> None:
        """Take the first candidate with the largest score out of those that remain."""
        if self.picks:
            self._scores[self.picks[-1]] = -np.inf
            self._front = self._front[self._front != self.picks[-1]]
            self._term.notice(self.picks[-1])
            self._refresh(self._front)
        self._advance()
        self.picks.append(int(self._front[self._scores[self._front].argmax()]))

    def result(self) -> Doubles:
        """Raw scores (N,): of the picked candidates those at their picks, of the others those at the last pick."""
        self._refresh(np.flatnonzero(self._scores > -np.inf))
        return self._raw

    def _advance(self) -> None:
        """Move the front where a candidate outside may be the best; the best of the new one is up to date."""
        scores = self._scores[self._front]
        largest, behind = scores.max(initial=-np.inf), self._scores[self._behind]
        if largest > behind or (largest == behind and self._front[scores.argmax()] < self._behind):
            return
        remaining = np.flatnonzero(self._scores > -np.inf)
        may_win = remaining[self._scores[remaining] >= largest]
        if len(may_win) > MANY * len(remaining) or len(self.picks) - self._complete_at >= TOGETHER:
            may_win, self._complete_at = remaining, len(self.picks)
        self._refresh(may_win)
        self._front, self._behind = self._look()

    def _look(self) -> tuple[Positions, int]:
        """The candidates that remain with the largest scores, and which comes after them."""
        front = _first(self._scores, FRONT)
        outside = self._scores.copy()
        outside[front] = -np.inf
        return front[self._scores[front] > -np.inf], int(outside.argmax())

    def _refresh(self, positions: Positions) -> None:
        """Bring candidates that remain up to date."""
        self._raw[positions] = self._term.refresh(positions)
        self._scores[positions] = self._combined(self._raw[positions])

    def _combined(self, raw: Doubles) -> Doubles:
        """Rounded as `functional.weighted_sum` and `functional.l2_norm` round it."""
        combined: Doubles = self._weight * raw
        if self._power == 2:
            combined = np.sqrt(self._weight * self._weight * (raw * raw))
        return combined


def _first(scores: Doubles, count: int) -> Positions:
    """Positions of the largest scores, ascending; of equal ones those of the first, which will be picked first."""
    if len(scores) <= count:
        return np.arange(len(scores))
    least = np.partition(scores, -count)[-count]
    inside = scores > least
    inside[np.flatnonzero(scores == least)[: count - np.count_nonzero(inside)]] = True
    return np.flatnonzero(inside)
