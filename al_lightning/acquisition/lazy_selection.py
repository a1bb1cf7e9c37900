"""The greedy core of a single term whose scores only fall: those that cannot win are not computed.

Shape letters: N candidates, P some of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Positions = NDArray[np.int64]

# Candidates kept in view, and how many of them are brought up to date together.
FRONT, BATCH = 1024, 64


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
    best, whatever the others' true scores are.

    Args:
        scores: (N,) combined scores before the first pick.
        term: the term that makes them.
        combine: raw scores (P,) -> combined scores (P,); never falls where raw scores rise.
    """

    def __init__(self, scores: Doubles, term: Falling, combine: Callable[[Doubles], Doubles]) -> None:
        self._scores, self._term, self._combine = scores.copy(), term, combine
        self._made_at = np.zeros(len(scores), np.int64)
        self.picks: list[int] = []
        self._look()

    def pick(self) -> None:
        """Take the first candidate with the largest score out of those that remain."""
        if self.picks:
            self._scores[self.picks[-1]] = -np.inf
            self._made_at[self.picks[-1]] = len(self._scores)  # never old again
            self._term.notice(self.picks[-1])
        best = self._best()
        while self._made_at[best] < len(self.picks):
            self._refresh()
            best = self._best()
        self.picks.append(best)

    def _best(self) -> int:
        """First candidate with the largest of the scores at hand."""
        best = int(self._front[self._scores[self._front].argmax()])
        if (-self._scores[best], best) > (-self._scores[self._behind], self._behind):
            self._look()
            best = int(self._front[self._scores[self._front].argmax()])
        return best

    def _look(self) -> None:
        """Take the first candidates into view, and find out which comes next."""
        self._front = _first(self._scores, FRONT)
        outside = self._scores.copy()
        outside[self._front] = -np.inf
        self._behind = int(outside.argmax())

    def _refresh(self) -> None:
        """Bring the first of the candidates in view with an old score up to date."""
        old = self._front[self._made_at[self._front] < len(self.picks)]
        old = old[_first(self._scores[old], BATCH)]
        self._scores[old] = self._combine(self._term.refresh(old))
        self._made_at[old] = len(self.picks)


def _first(scores: Doubles, count: int) -> Positions:
    """Positions of the largest scores, ascending; of equal ones those of the first, which will be picked first."""
    if len(scores) <= count:
        return np.arange(len(scores))
    least = np.partition(scores, -count)[-count]
    inside = scores > least
    inside[np.flatnonzero(scores == least)[: count - np.count_nonzero(inside)]] = True
    return np.flatnonzero(inside)
