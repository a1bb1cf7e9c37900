"""The greedy core where compiled passes over the candidates normalize, combine and find the best.

Shape letters: N candidates of the pool, C terms of the score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.acquisition.score_kernel import WIDTH, all_finite, best, contribute, extremes

Doubles = NDArray[np.float64]


class Fusion(NamedTuple):
    """A normalizer and a combiner by what they compute.

    Attributes:
        affine: smallest and largest raw score of the candidates -> shift and spread (above 0, may be infinite); the
            normalized score is (raw - shift) / spread. None: it is the raw score.
        power: the combined score is the sum of weight * normalized for 1, the root of the sum of their squares for 2.
    """

    affine: Callable[[float, float], tuple[float, float]] | None
    power: int


class FusedScores:
    """Raw scores of the candidates that remain with what normalizes them, and of each picked one those at its pick.

    Args:
        raw: name -> (N,) raw scores, finite.
        weights: (C,) float64.
        fusion: how to normalize and combine.
    """

    def __init__(self, raw: Mapping[str, Doubles], weights: Doubles, fusion: Fusion) -> None:
        self._names, self._raw, self._weights, self._fusion = list(raw), list(raw.values()), weights, fusion
        self._contributions = np.full((len(raw), len(self._raw[0])), -np.inf)
        self._bound = np.full(-(-len(self._raw[0]) // WIDTH), np.inf)  # see `score_kernel.best`
        self._remaining = np.ones(len(self._raw[0]), dtype=bool)
        # Of each term, the smallest and largest raw score, and the shift and spread that they make.
        self._low, self._high, self._shift, self._spread = np.empty((4, len(raw)))
        self._picked: list[tuple[int, Doubles, Doubles, Doubles]] = []
        for i in range(len(raw)):
            self._normalize(i)

    def pick(self) -> int:
        """Take the first candidate with the largest combined score out of those that remain."""
        position, finite = best(self._contributions, self._remaining, self._fusion.power, self._bound)
        if not finite:
            raise ValueError("scores of 'combined' are not finite")
        self._remaining[position] = False
        self._picked.append((position, self._at(position), self._shift.copy(), self._spread.copy()))
        return position

    def change(self, i: int, scores: Tensor) -> None:
        """Term i has new raw scores (N,)."""
        values = scores.detach().double().numpy()
        if values.shape != self._raw[i].shape:
            shape, candidates = values.shape, len(self._raw[i])
            raise ValueError(f"scores of '{self._names[i]}' have shape {shape} for {candidates} candidates")
        if not all_finite(values):
            raise ValueError(f"scores of '{self._names[i]}' are not finite")
        self._raw[i] = values
        self._normalize(i)

    def normalize_again(self, i: int) -> None:
        """Normalize term i over the candidates that remain now; ask after every pick."""
        if self._raw[i][self._picked[-1][0]] in (self._low[i], self._high[i]):  # else they have the same extremes
            self._normalize(i)

    def result(self) -> tuple[Doubles, Doubles]:
        """Raw (C, N) and normalized (C, N) scores; of the picked candidates those at their picks."""
        scores = np.stack(self._raw)
        normalized = (scores - self._shift[:, None]) / self._spread[:, None]
        for position, raw, shift, spread in self._picked:
            scores[:, position] = raw
            normalized[:, position] = (raw - shift) / spread
        return scores, normalized

    def _at(self, position: int) -> Doubles:
        return np.array([raw[position] for raw in self._raw])

    def _normalize(self, i: int) -> None:
        raw, affine, power = self._raw[i], self._fusion.affine, self._fusion.power
        self._low[i], self._high[i] = extremes(raw, self._remaining)
        self._shift[i], self._spread[i] = affine(float(self._low[i]), float(self._high[i])) if affine else (0.0, 1.0)
        contribute(raw, self._shift[i], self._spread[i], self._weights[i], power, self._contributions[i], self._bound)
