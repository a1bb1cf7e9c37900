"""The space in which the criteria measure, as a t-SNE of the last selection's embeddings."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from al_lightning.report.evidence import Cycle, RunEvidence, selection_name
from al_lightning.report.html_elements import Section, element, figure
from al_lightning.report.html_marks import Cloud, scatter
from al_lightning.report.projection import project

LARGEST = 1000
"""Units of a picture: t-SNE takes seconds for them."""

SMALLEST = 8
PERPLEXITY = 30.0


def space_section(evidence: RunEvidence) -> list[Section]:
    """One section, or none without embeddings."""
    cycle = next((cycle for cycle in reversed(evidence.cycles) if vectors(cycle) is not None), None)
    if cycle is None:
        return []
    return [Section("space", "Embeddings", _cloud(evidence, cycle))]


def vectors(cycle: Cycle) -> NDArray[np.float64] | None:
    """(U, D): the learned space, or else the summaries' ``embedding``."""
    return cycle.embedding if cycle.embedding is not None else cycle.fields.get("embedding")


def _cloud(evidence: RunEvidence, cycle: Cycle) -> str:
    found = vectors(cycle)
    assert found is not None
    units = _sample(len(found), cycle)
    if len(units) < SMALLEST:
        return element("p", f"There are too few units for a picture: {len(units)}.", class_="absent")
    perplexity = min(PERPLEXITY, (len(units) - 1) / 3)
    places = project(torch.from_numpy(found[units].astype(np.float32)), perplexity).astype(np.float64)
    since = np.full(len(evidence.units), -1)
    position = {name: unit for unit, name in enumerate(evidence.units)}
    for number, names in evidence.run.acquired.items():
        since[[position[name] for name in names]] = number
    since[since > cycle.number + 1] = -1
    clouds = []
    for number in range(-1, cycle.number + 2):
        members = since[units] == number
        if members.any():
            name = "pool" if number < 0 else "seed set" if number == 0 else selection_name(number - 1)
            kind = "rest" if number < 0 else f"series-{number} hue-{number % 8}"
            tips = [f"{evidence.units[unit]}: {name}{_cost(cycle, unit)}" for unit in units[members]]
            clouds.append(Cloud(name, kind, places[members], tips))
    learned = "the space learned for it" if cycle.embedding is not None else "the network's features"
    note = f"t-SNE (perplexity {perplexity:.0f}) of {learned}, selection {selection_name(cycle.number)}" + (
        f"; {len(units)} of {len(found)} units, evenly drawn." if len(units) < len(found) else "."
    )
    return figure("tsne", "Units by likeness", scatter("tsne", clouds, note), note=note)


def _cost(cycle: Cycle, unit: int) -> str:
    """What only its labels tell of a labeled scene; nothing of others."""
    place = np.searchsorted(cycle.labeled, unit)
    if cycle.safety is None or place == len(cycle.labeled) or cycle.labeled[place] != unit:
        return ""
    return f", largest soft collision cost {cycle.safety[place].max():.2f}"


def _sample(count: int, cycle: Cycle) -> NDArray[np.int64]:
    """Numbers of all units, or of as many as fit: those selected, and others at even distances."""
    if count <= LARGEST:
        return np.arange(count)
    picks = np.array(cycle.picks[: LARGEST // 2], dtype=np.int64)
    others = np.setdiff1d(np.arange(count), picks)
    even = others[np.linspace(0, len(others) - 1, LARGEST - len(picks)).astype(np.int64)]
    return np.union1d(picks, even)
