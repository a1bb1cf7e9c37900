"""Criteria: how much a candidate is worth labeling. The larger the score, the better.

Shape letters: N candidates of the pool.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from al_lightning.acquisition.functional import (
    ApproximatePickedDivergence,
    LazyCenterDistance,
    PickedDivergence,
    approximate_nearest_divergence,
    nearest_divergence,
)
from al_lightning.types import Summary


class Criterion(Protocol):
    """Scores the candidates of one cycle: a shallow copy of the criterion does, whose state ends with the selection.

    One whose scores only fall as candidates are picked may set, in `score`, a ``falling`` (`lazy_selection.Falling`),
    which tells the scores of some candidates alone: where it is the only criterion, and its scores are not normalized,
    the others wait, for many picks at once.
    """

    def score(self, pool: Summary, labeled: Summary, generator: torch.Generator) -> Tensor:
        """Raw scores (N,) before the first pick of a cycle.

        Args:
            pool: summaries of the candidates.
            labeled: summaries of the labeled set.
            generator: source of randomness on the CPU, seeded by the caller for the cycle.
        """
        ...

    def update(self, position: int) -> Tensor | None:
        """Raw scores (N,) after the candidate at this position of the pool was picked; None if they never change."""
        ...


class Random:
    """A random score: random sampling."""

    def score(self, pool: Summary, labeled: Summary, generator: torch.Generator) -> Tensor:
        """Uniform numbers (N,) from the generator and nothing else."""
        return torch.rand(len(pool), dtype=torch.float64, generator=generator)

    def update(self, position: int) -> None:
        """Static."""


class SummaryField:
    """A number of the summary is the score."""

    def __init__(self, field: str) -> None:
        self.field = field

    def score(self, pool: Summary, labeled: Summary, generator: torch.Generator) -> Tensor:
        """The field of the candidates (N,)."""
        return pool[self.field].to(torch.float64)

    def update(self, position: int) -> None:
        """Static."""


class MeanEntropy(SummaryField):
    """Mean voxel entropy: the entropy baseline.

    Args:
        field: name of the summary field (N,).
    """

    def __init__(self, field: str = "entropy") -> None:
        super().__init__(field)


class FrequencyWeightedUncertainty(SummaryField):
    """Entropy weighted by inverse class prevalence, U_fw (occupancy paper, Eq. 7).

    Args:
        field: name of the summary field (N,).
    """

    def __init__(self, field: str = "frequency_weighted_entropy") -> None:
        super().__init__(field)


class InterSampleDiversity:
    """Jensen-Shannon divergence to the nearest labeled class histogram, D_inter (occupancy paper, Eq. 2).

    Args:
        field: name of the summary field (N, K).
        neighbors: None for the exact value; a number, as the paper does for large pools, for the smallest divergence to
            so many labeled histograms, retrieved by an approximate index (`functional.approximate_nearest_divergence`).
    """

    def __init__(self, field: str = "class_histogram", neighbors: int | None = None) -> None:
        self.field, self.neighbors = field, neighbors

    def score(self, pool: Summary, labeled: Summary, generator: torch.Generator) -> Tensor:
        """D_inter (N,) in bits.

        Raises:
            ValueError: the labeled set is empty, a histogram is negative or does not sum to 1, or ``neighbors`` is less
                than 1.
        """
        if self.neighbors is None:
            return nearest_divergence(pool[self.field], labeled[self.field])
        return approximate_nearest_divergence(pool[self.field], labeled[self.field], self.neighbors)

    def update(self, position: int) -> None:
        """Static: the labeled set does not grow within a cycle."""


class IntraSetDiversity:
    """Jensen-Shannon divergence to the nearest class histogram picked in this cycle, D_intra (occupancy paper, Eq. 3).

    Args:
        field: name of the summary field (N, K).
        neighbors: None for the exact value; a number, as the paper does for large pools, to compare each pick with so
            many candidates, retrieved by an approximate index (`functional.ApproximatePickedDivergence`).
    """

    def __init__(self, field: str = "class_histogram", neighbors: int | None = None) -> None:
        self.field, self.neighbors = field, neighbors

    def score(self, pool: Summary, labeled: Summary, generator: torch.Generator) -> Tensor:
        """Zeros (N,): before the first pick D_intra is 0 by the paper's convention.

        Raises:
            ValueError: a histogram is negative or does not sum to 1, or ``neighbors`` is less than 1.
        """
        histogram = pool[self.field]
        self._nearest = (
            PickedDivergence(histogram)
            if self.neighbors is None
            else ApproximatePickedDivergence(histogram, self.neighbors)
        )
        return torch.zeros(len(pool), dtype=torch.float64)

    def update(self, position: int) -> Tensor:
        """D_intra (N,) in bits."""
        return self._nearest.add(position)


class KCenter:
    """Distance to the nearest embedding that is labeled or picked in this cycle: greedy core-set selection.

    Args:
        field: name of the summary field (N, D).
    """

    def __init__(self, field: str = "embedding") -> None:
        self.field = field

    def score(self, pool: Summary, labeled: Summary, generator: torch.Generator) -> Tensor:
        """Euclidean distance (N,) to the nearest labeled embedding.

        Raises:
            ValueError: the labeled set is empty, or an embedding is not finite.
        """
        self.falling = LazyCenterDistance(pool[self.field], labeled[self.field])
        return self.falling.distance

    def update(self, position: int) -> Tensor:
        """Euclidean distance (N,) to the nearest labeled or picked embedding."""
        return self.falling.add(position)
