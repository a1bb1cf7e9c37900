"""Normalizers and combiners: how an `Acquisition` puts its criteria on one scale and makes one score of them.

Shape letters: N candidates, C criteria.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from al_lightning.acquisition.functional import l2_norm, min_max_affine, robust_min_max, weighted_sum
from al_lightning.acquisition.fused_selection import Fusion


class Normalizer(Protocol):
    """Puts the raw scores of one criterion on a common scale.

    One that is an increasing affine map set by the extremes of the scores may say so with a function ``affine``, see
    `fused_selection.Fusion`: selections are faster then.
    """

    def __call__(self, scores: Tensor) -> Tensor:
        """Raw scores (N,) float64 to normalized scores (N,)."""
        ...


class RobustMinMax:
    """To [0, 1], see `functional.robust_min_max`."""

    affine = staticmethod(min_max_affine)

    def __call__(self, scores: Tensor) -> Tensor:
        """Raw scores (N,) to [0, 1]."""
        return robust_min_max(scores)


class Identity:
    """Scores as they are: for a criterion that stands alone."""

    affine = None

    def __call__(self, scores: Tensor) -> Tensor:
        """The scores (N,) unchanged."""
        return scores


class Combiner(Protocol):
    """Makes one score of several.

    One that is a sum or an L2 norm may say so with a number ``power``, see `fused_selection.Fusion`: selections are
    faster then.
    """

    def __call__(self, terms: Tensor, weights: Tensor) -> Tensor:
        """Normalized terms (C, N), weights (C,) that multiply them -> (N,)."""
        ...


class L2Norm:
    """Length of the vector of weighted terms (occupancy paper, Eq. 8)."""

    power = 2

    def __call__(self, terms: Tensor, weights: Tensor) -> Tensor:
        """Normalized terms (C, N) and weights (C,) to (N,)."""
        return l2_norm(terms, weights)


class WeightedSum:
    """Sum of the weighted terms."""

    power = 1

    def __call__(self, terms: Tensor, weights: Tensor) -> Tensor:
        """Normalized terms (C, N) and weights (C,) to (N,)."""
        return weighted_sum(terms, weights)


def fusion(normalizer: Normalizer, combiner: Combiner) -> Fusion | None:
    """What both declare of themselves; None unless both do."""
    if not (hasattr(normalizer, "affine") and hasattr(combiner, "power")):
        return None
    return Fusion(normalizer.affine, combiner.power)
