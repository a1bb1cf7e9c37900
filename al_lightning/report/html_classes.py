"""Classes of labeled, pool and selected units, where the summaries hold class histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from al_lightning.report.evidence import Cycle, RunEvidence, selection_name
from al_lightning.report.html_colors import class_colors, css
from al_lightning.report.html_elements import Cells, Datum, Section, figure, quantity, table, tabs
from al_lightning.report.html_marks import bar_groups

LEAD = (
    "Shares of the voxels that the network predicts as each class, averaged over units. They are what the "
    "selection saw: predictions, not labels."
)


def class_section(evidence: RunEvidence, names: Sequence[str]) -> list[Section]:
    """One section, or none without histograms."""
    cycles = [cycle for cycle in evidence.cycles if "class_histogram" in cycle.fields]
    if not cycles:
        return []
    panels = [(selection_name(cycle.number), _histograms(cycle, names)) for cycle in cycles]
    return [
        Section("classes", "Class histograms", tabs("class-tabs", "Selection", panels) + _emphasis(cycles, names), LEAD)
    ]


def shares(cycle: Cycle) -> dict[str, NDArray[np.float64]]:
    """Mean class histograms (K,) of the labeled units, of the candidates and of those selected."""
    values = cycle.fields["class_histogram"].astype(np.float64)
    groups = {"labeled": cycle.labeled, "pool": cycle.candidates, "selected": np.array(cycle.picks)}
    return {name: values[units].mean(0) for name, units in groups.items()}


def _histograms(cycle: Cycle, names: Sequence[str]) -> str:
    means = shares(cycle)
    key = f"classes-{cycle.number}"
    colors = [css(color) for color in class_colors(names)]
    chart = bar_groups(
        key, names, {name: values.tolist() for name, values in means.items()}, colors, "the visible voxels"
    )
    rows: list[Cells] = [
        [name, *(quantity(100 * float(values[k])) for values in means.values())] for k, name in enumerate(names)
    ]
    numbers = table(f"Class shares, {selection_name(cycle.number)}", ["class", *(f"{name}, %" for name in means)], rows)
    return figure(key, f"Predicted class shares, selection {selection_name(cycle.number)}", chart, numbers=numbers)


def _emphasis(cycles: Sequence[Cycle], names: Sequence[str]) -> str:
    """How much more of each class the selected units have than the pool."""
    rows: list[Cells] = []
    for k, name in enumerate(names):
        cells = []
        for cycle in cycles:
            means = shares(cycle)
            pool, selected = float(means["pool"][k]), float(means["selected"][k])
            cells.append(_ratio(selected / pool) if pool > 0 else quantity(None))
        rows.append([name, *cells])
    heads = ["class", *(selection_name(cycle.number) for cycle in cycles)]
    note = "Share among the selected units over share in the pool: above 1 the selection went for the class."
    return figure(
        "emphasis", "Which classes the selections went for", table("Selected over pool", heads, rows), note=note
    )


def _ratio(value: float) -> Datum:
    shade = 0.0 if value == 0 else max(-1.0, min(1.0, math.log2(value) / 2))
    return Datum(f"{value:.2f}", value, shade=shade)
