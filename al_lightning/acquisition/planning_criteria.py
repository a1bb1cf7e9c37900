"""Criteria of the planning paper, on embeddings of scenes: close to hazards (S), rare (R), uncertain (U).

Shape letters: N candidates of the pool, M labeled scenes, H steps, D size of an embedding.

They read the summary fields that `representation.SceneRepresentation` adds. All are static within a cycle.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from al_lightning.acquisition.criteria import SummaryField
from al_lightning.acquisition.functional import (
    divide_by_deviation,
    hazardous_scenes,
    rarity,
    safety_criticality,
)
from al_lightning.acquisition.functional.neighbor_index import Device, check_index_device
from al_lightning.acquisition.functional.neighbors import EXACT_UP_TO
from al_lightning.types import Summary

Population = Literal["pool", "pool_and_labeled"]


class SafetyCriticality:
    """Closeness to the nearest hazardous labeled scene, S (`functional.safety_criticality`).

    Args:
        temperature: tau_s.
        hazard_fraction: share of the labeled scenes that are hazards (`functional.hazardous_scenes`).
        field: name of the summary field (N, D) with embeddings.
        safety_field: name of the summary field (M, H) with safety states, of labeled scenes only.
    """

    def __init__(
        self,
        temperature: float = 0.5,
        hazard_fraction: float = 0.1,
        field: str = "embedding",
        safety_field: str = "safety",
    ) -> None:
        self.temperature, self.hazard_fraction = temperature, hazard_fraction
        self.field, self.safety_field = field, safety_field

    def score(self, pool: Summary, labeled: Summary, generator: torch.Generator) -> Tensor:
        """S (N,).

        Raises:
            ValueError: there is no labeled scene, or the temperature or the fraction is out of range.
        """
        hazards = labeled[self.field][hazardous_scenes(labeled[self.safety_field], self.hazard_fraction)]
        return safety_criticality(pool[self.field], hazards, self.temperature)

    def update(self, position: int) -> None:
        """Static: the hazards are labeled scenes."""


class Rarity:
    """Negative logarithm of the density around a candidate, R (`functional.rarity`).

    Args:
        neighbors: K_nn.
        bandwidth: sigma_r; None for the median distance to the K-th neighbour.
        population: whose density. "pool": of the candidates, as in the paper's experiments; "pool_and_labeled": of
            both, so that a candidate beside labeled scenes is not rare.
        field: name of the summary field (N, D) with embeddings.
        exact_up_to: number of embeddings up to which the neighbours are exact; above it an index finds at least 0.95 of
            them, which the log says.
        index_device: "cpu" or "gpu" (with faiss-gpu), where that index stands.

    Raises:
        ValueError: the population is unknown, or the device is unknown or not there.
    """

    def __init__(
        self,
        neighbors: int = 20,
        bandwidth: float | None = None,
        population: Population = "pool",
        field: str = "embedding",
        exact_up_to: int = EXACT_UP_TO,
        index_device: Device = "cpu",
    ) -> None:
        check_index_device(index_device)
        if population not in get_args(Population):
            raise ValueError(f"population must be one of {', '.join(get_args(Population))}, got {population!r}")
        self.neighbors, self.bandwidth, self.population, self.field = neighbors, bandwidth, population, field
        self.exact_up_to, self.index_device = exact_up_to, index_device

    def score(self, pool: Summary, labeled: Summary, generator: torch.Generator) -> Tensor:
        """R (N,).

        Raises:
            ValueError: the number of neighbours or the bandwidth is out of range.
        """
        embeddings = pool[self.field]
        if self.population == "pool_and_labeled":
            embeddings = torch.cat([embeddings, labeled[self.field]])
        return rarity(embeddings, self.neighbors, self.bandwidth, self.exact_up_to, self.index_device)[: len(pool)]

    def update(self, position: int) -> None:
        """Static: a picked candidate stays a part of the density."""


class Uncertainty(SummaryField):
    """Scatter of a candidate's stochastic embeddings, U (`functional.dispersion`).

    Args:
        field: name of the summary field (N,).
    """

    def __init__(self, field: str = "dispersion") -> None:
        super().__init__(field)

    def score(self, pool: Summary, labeled: Summary, generator: torch.Generator) -> Tensor:
        """U (N,).

        Raises:
            ValueError: there is no such field: the scenes were planned with fewer than two stochastic passes.
        """
        if self.field not in pool.fields:
            raise ValueError(f"there is no {self.field} to score: it takes two stochastic passes or more (task.passes)")
        return super().score(pool, labeled, generator)


class DivideByDeviation:
    """Scores over their standard deviation, 0 where all are equal: a normalizer (`functional.divide_by_deviation`)."""

    def __call__(self, scores: Tensor) -> Tensor:
        """Raw scores (N,) to scores of standard deviation 1."""
        return divide_by_deviation(scores)
