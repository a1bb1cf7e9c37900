"""Why a unit was selected or not, in words and numbers: one sentence or two a criterion.

A criterion is explained by the function registered for its class; one without such a function stands with its score
alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from al_lightning.acquisition import (
    Acquisition,
    FrequencyWeightedUncertainty,
    InterSampleDiversity,
    IntraSetDiversity,
    KCenter,
    MeanEntropy,
    Random,
    Rarity,
    SafetyCriticality,
    Uncertainty,
)
from al_lightning.acquisition.functional import hazardous_scenes, jensen_shannon
from al_lightning.config import ConfigError, instantiate
from al_lightning.report.evidence import Cycle, Exhibit
from al_lightning.report.html_elements import significant

NAMED = 3
"""Classes that a sentence names."""


@dataclass(frozen=True)
class Case:
    """A unit of a cycle, to be explained.

    Attributes:
        cycle: that selected.
        exhibit: the unit.
        units: ids of all units.
        class_names: of the classes.
        score: its raw score under the criterion.
        scores: (N,) of all candidates.
    """

    cycle: Cycle
    exhibit: Exhibit
    units: Sequence[str]
    class_names: Sequence[str]
    score: float
    scores: NDArray[np.float64]

    def vectors(self, field: str) -> NDArray[np.float64] | None:
        """(U, D) of all units: learned, or from their summaries; None where neither was kept."""
        if field == "embedding" and self.cycle.embedding is not None:
            return self.cycle.embedding
        return self.cycle.fields.get(field)

    def called(self, unit: int) -> str:
        """Id of a unit, a long one by its beginning."""
        name = self.units[unit]
        return name if len(name) <= 20 else f"{name[:8]}…"

    @property
    def usual(self) -> str:
        """The median of the candidates, to compare with."""
        return f"median of the candidates: {significant(float(np.median(self.scores)))}"


def criteria_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The criteria of a configuration; none where they cannot be built here."""
    try:
        acquisition = instantiate(config["acquisition"], "acquisition")
    except ConfigError:
        return {}
    return dict(acquisition.criteria) if isinstance(acquisition, Acquisition) else {}


@singledispatch
def reason(_criterion: Any, _case: Case) -> str:
    """What a criterion found in a unit, in words; nothing of a criterion that is not known here."""
    return ""


@reason.register
def _chance(_: Random, __: Case) -> str:
    return "A random number, which says nothing about the unit."


@reason.register
def _entropy(_: MeanEntropy, case: Case) -> str:
    return f"A voxel is uncertain by {significant(case.score)} nats on average ({case.usual})."


@reason.register
def _weighted(_: FrequencyWeightedUncertainty, case: Case) -> str:
    words = f"Uncertainty with rare classes weighted up: {significant(case.score)} nats ({case.usual})."
    shares = case.exhibit.arrays.get("uncertainty_by_class")
    if shares is None:
        return words
    order = np.argsort(-shares, kind="stable")[:NAMED]
    carried = ", ".join(f"{case.class_names[k]} {shares[k] / shares.sum():.0%}" for k in order)
    return f"{words} The classes that carry it: {carried}."


@reason.register
def _inter(criterion: InterSampleDiversity, case: Case) -> str:
    return _nearest_histogram(criterion.field, case, case.cycle.labeled.tolist(), "labeled")


@reason.register
def _intra(criterion: IntraSetDiversity, case: Case) -> str:
    unit, picks = case.exhibit.unit, list(case.cycle.picks)
    earlier = picks[: picks.index(unit)] if unit in picks else picks
    if not earlier:
        return "The first pick of its cycle: there was none to differ from."
    return _nearest_histogram(criterion.field, case, earlier, "picked before it" if unit in picks else "picked")


def _nearest_histogram(field: str, case: Case, others: Sequence[int], what: str) -> str:
    histograms = case.cycle.fields[field].astype(np.float64)
    own = torch.from_numpy(histograms[case.exhibit.unit])
    divergence = jensen_shannon(own[None], torch.from_numpy(histograms[list(others)]))
    nearest = others[int(divergence.argmin())]
    terms = divergence_terms(own.numpy(), histograms[nearest])
    order = np.argsort(-terms, kind="stable")[:NAMED]
    pairs = zip(own.numpy()[order], histograms[nearest][order], order, strict=True)
    classes = ", ".join(f"{case.class_names[k]} ({_percent(a)} here, {_percent(b)} there)" for a, b, k in pairs)
    return (
        f"The nearest class histogram among those {what} is that of {case.called(nearest)}, "
        f"{significant(float(divergence.min()))} bits away. The classes that differ most: {classes}."
    )


def divergence_terms(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each class adds to the Jensen-Shannon divergence (bits) of two histograms (K,): (K,), not negative."""
    total = p + q
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(h > 0, h * np.log2(2 * (h / total)), 0.0) / 2 for h in (p, q)]
    return np.maximum(terms[0] + terms[1], 0)


def _percent(share: float) -> str:
    return f"{significant(100 * float(share), 2)} %"


@reason.register
def _center(criterion: KCenter, case: Case) -> str:
    return _nearest_vector(criterion.field, case, case.cycle.labeled, "labeled unit")


@reason.register
def _safety(criterion: SafetyCriticality, case: Case) -> str:
    vectors, safety = case.vectors(criterion.field), case.cycle.safety
    if vectors is None or safety is None:
        return f"Closeness to the nearest hazard: {significant(case.score)} ({case.usual})."
    hazards = hazardous_scenes(torch.from_numpy(safety), criterion.hazard_fraction).numpy()
    units = case.cycle.labeled[hazards]
    distance = np.linalg.norm(vectors[units] - vectors[case.exhibit.unit], axis=1)
    nearest = int(distance.argmin())
    cost = float(safety[hazards[nearest]].max())
    return (
        f"The nearest hazard is {case.called(units[nearest])} (largest soft collision cost {significant(cost)}), "
        f"{significant(float(distance[nearest]))} away in the learned space; {len(units)} of {len(safety)} labeled "
        "scenes count as hazards."
    )


@reason.register
def _rarity(criterion: Rarity, case: Case) -> str:
    vectors = case.vectors(criterion.field)
    if vectors is None:
        return f"Few candidates are like it: {significant(case.score)} ({case.usual})."
    distance = np.sort(np.linalg.norm(vectors[case.cycle.candidates] - vectors[case.exhibit.unit], axis=1))[1:]
    count = min(criterion.neighbors, len(distance))
    mean = float(distance[:count].mean()) if count else 0.0
    return (
        f"Its {count} nearest candidates are {significant(mean)} away on average; "
        f"rarity {significant(case.score)} ({case.usual})."
    )


@reason.register
def _scatter(_: Uncertainty, case: Case) -> str:
    return f"The stochastic passes put it {significant(case.score)} apart in the learned space ({case.usual})."


def _nearest_vector(field: str, case: Case, others: NDArray[np.int64], what: str) -> str:
    vectors = case.vectors(field)
    if vectors is None:
        return ""
    distance = np.linalg.norm(vectors[others].astype(np.float64) - vectors[case.exhibit.unit], axis=1)
    nearest = others[int(distance.argmin())]
    return f"The nearest {what} in feature space is {case.called(nearest)}, {significant(float(distance.min()))} away."
