"""The page of a run: ``RUN/report.html``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from al_lightning.report.evidence import Cycle, RunEvidence, read_evidence, selection_name
from al_lightning.report.html_charts import Curve, Point, line_chart
from al_lightning.report.html_classes import class_section
from al_lightning.report.html_elements import (
    Cells,
    Datum,
    Section,
    element,
    figure,
    folded,
    page,
    quantity,
    table,
    tabs,
    text,
    tiles,
)
from al_lightning.report.html_gallery import absent, gallery
from al_lightning.report.html_marks import histogram, strip
from al_lightning.report.html_space import space_section
from al_lightning.report.reasons import criteria_of
from al_lightning.report.tables_numbers import ACQUIRED, falls, number, scale, with_unit

FILE = "report.html"
LONG = 12
"""Rows of a table that is folded."""

BOOKKEEPING = ("cycle", "labeled", "share")


def write_run_report(path: Path) -> Path:
    """Write the page of a run from its directory alone; returns where it is.

    Raises:
        RunReadError: the run has not validated a cycle, or a file is damaged.
    """
    partial = path / f".{FILE}.partial"
    partial.write_text(run_page(read_evidence(path)), encoding="utf-8")
    return partial.replace(path / FILE)


def run_page(evidence: RunEvidence) -> str:
    """The page of a run as HTML."""
    run = evidence.run
    config = run.config
    names = class_names(evidence)
    sections = [
        Section("curves", "Learning curves", _curves(run.metrics)),
        Section("selection", "Selection over time", _selection(evidence)),
        Section("scores", "Scores", _scores(evidence.cycles)),
        *class_section(evidence, names),
        *space_section(evidence),
        Section("gallery", "Gallery", _galleries(evidence, names), GALLERY),
        Section("configuration", "Configuration", _settings(config)),
    ]  # fmt: skip
    return page(str(config["experiment"]), str(config.get("description", "")), _facts(evidence), sections)


GALLERY = (
    "A few units of every selection: the first picks, the best and the worst of those left behind. Truth is shown of "
    "units whose labels were acquired, and of no other."
)


def class_names(evidence: RunEvidence) -> list[str]:
    """Names of the classes of the summaries' histograms: as kept beside a selection, or the metric's."""
    histogram_ = next(
        (cycle.fields["class_histogram"] for cycle in evidence.cycles if "class_histogram" in cycle.fields), None
    )
    count = 0 if histogram_ is None else histogram_.shape[1]
    kept = [cycle.gallery.class_names for cycle in evidence.cycles if cycle.gallery]
    metric = evidence.run.config.get("task", {}).get("metric", {})
    for names in (*kept, metric.get("class_names")):
        if names is not None and len(names) == count:
            return list(names)
    return [f"class {k}" for k in range(count)]


def _facts(evidence: RunEvidence) -> str:
    run = evidence.run
    first, last = (run.metrics[k] for k in (min(run.metrics), max(run.metrics)))
    headline = _headline(run.metrics)
    planned = run.config["loop"]["cycles"]
    criteria = [name for cycle in evidence.cycles[-1:] for name in cycle.criteria]
    facts = [
        ("Labeled", f"{last['labeled']:.0f}", f"of {run.pool} units, {last['labeled'] / run.pool:.1%}"),
        ("Cycles", f"{len(run.metrics)}", f"of {planned}" if len(run.metrics) < planned else "all done"),
        ("Criteria", " + ".join(criteria) or "none used", ""),
        ("Seed", str(run.seed), ""),
    ]
    if headline:
        change = f"{number(first[headline], headline)} in cycle {min(run.metrics)}"
        change += ", less is better" if falls(headline) else ""
        facts.insert(0, (with_unit(headline), number(last[headline], headline), change))
    return tiles(facts)


def _headline(metrics: Mapping[int, Mapping[str, float]]) -> str | None:
    return next((name for row in metrics.values() for name in row if name not in BOOKKEEPING), None)


# --- curves -----------------------------------------------------------------------------------------------------------


def _curves(metrics: Mapping[int, Mapping[str, float]]) -> str:
    headline = _headline(metrics)
    names = [name for name in dict.fromkeys(n for row in metrics.values() for n in row) if name not in BOOKKEEPING]
    if headline is None:
        return element("p", "Validation has reported no metric.", class_="absent")
    families: dict[str, list[str]] = {}
    for name in names:
        if not name.startswith(ACQUIRED):
            families.setdefault(_family(name), []).append(name)
    panels = [
        (family, _family_chart(f"curve-{i}", family, members, metrics))
        for i, (family, members) in enumerate(families.items())
    ]
    rows: list[Cells] = [
        [with_unit(name), *(_value(row.get(name), name) for row in metrics.values())] for name in names
    ]
    heads = ["metric", *(f"cycle {k} ({row['labeled']:.0f})" for k, row in metrics.items())]
    numbers = table("All metrics over the cycles", heads, rows)
    everything = figure(
        "metrics", "All metrics", numbers if len(rows) <= LONG else folded(f"{len(rows)} rows", numbers)
    )
    return INTERVALS + tabs("curve-tabs", "Metric", panels, 0) + everything


INTERVALS = element(
    "p", "One run has no intervals: ", element("code", "python -m al_lightning.report DIR"),
    " draws the curves of a folder of runs with intervals over their seeds.", class_="note",
)  # fmt: skip


def _value(value: float | None, name: str) -> Datum:
    """A metric as a cell; counts without digits behind the point."""
    if value is None:
        return quantity(None)
    return Datum(f"{value:.0f}" if value.is_integer() and scale(name) == 1 else number(value, name), value)


def _family(name: str) -> str:
    """``night/mIoU`` stands with ``mIoU``, ``IoU/car`` with ``IoU``, ``L2_avg_1s`` with ``L2_avg_3s``."""
    first, _, last = name.partition("/")
    if not last:
        return "_".join(word for word in first.split("_") if not word[:1].isdigit())
    return (
        first if first in ("IoU", "embedding") else "_".join(word for word in last.split("_") if not word[:1].isdigit())
    )


def _family_chart(key: str, family: str, names: Sequence[str], metrics: Mapping[int, Mapping[str, float]]) -> str:
    curves = [
        Curve(name, [
            Point(row["labeled"], row[name] * scale(name), None,
                  f"{name}: {number(row[name], name)} with {row['labeled']:.0f} labeled units (cycle {k})")
            for k, row in metrics.items() if name in row
        ], i, reference="/" in name and len(names) < 9)
        for i, name in enumerate(names)
    ]  # fmt: skip
    chart = line_chart(key, curves, "labeled units", with_unit(family), zero=True)
    return figure(key, with_unit(family), chart)


# --- selection --------------------------------------------------------------------------------------------------------


ORDER = "The units of a data set in its own order, where neighbours are alike: of one scene, or of one sequence."


def _selection(evidence: RunEvidence) -> str:
    run = evidence.run
    position = {name: i for i, name in enumerate(evidence.units)}
    rows = [
        ("seed set" if since == 0 else selection_name(since - 1), sorted(position[unit] for unit in units))
        for since, units in run.acquired.items()
    ]
    when = figure("when", "What was acquired when", strip("when", rows, run.pool), note=ORDER)
    subsets = [
        name for name in dict.fromkeys(n for row in run.metrics.values() for n in row) if name.startswith(ACQUIRED)
    ]
    heads = ["acquired", "units", *(name.removeprefix(ACQUIRED) for name in subsets)]
    body: list[Cells] = [
        [
            name,
            Datum(str(len(units)), len(units)),
            *(_value(run.metrics.get(k, {}).get(subset), subset) for subset in subsets),
        ]
        for k, (name, units) in enumerate(rows)
    ]
    return when + figure("acquired", "Units acquired for each cycle", table("Units acquired", heads, body))


def _scores(cycles: Sequence[Cycle]) -> str:
    if not cycles:
        return element("p", "Nothing has been selected yet.", class_="absent")
    return tabs("score-tabs", "Selection", [(selection_name(cycle.number), _cycle_scores(cycle)) for cycle in cycles])


def _cycle_scores(cycle: Cycle) -> str:
    picked = np.isin(cycle.candidates, cycle.picks)
    charts = []
    for name in ("score", *cycle.criteria):
        values = cycle.scores[name].astype(np.float64)
        key = f"score-{cycle.number}-{name}"
        title = "Combined score" if name == "score" else f"{name}, raw"
        charts.append(figure(key, title, histogram(key, values, picked, name)))
    return element("div", *charts, class_="multiples")


def _settings(config: Mapping[str, Any]) -> str:
    return element("pre", text(yaml.safe_dump(dict(config), sort_keys=False)), tabindex=0)


# --- gallery ----------------------------------------------------------------------------------------------------------


def _galleries(evidence: RunEvidence, names: Sequence[str]) -> str:
    if not evidence.cycles:
        return element("p", "Nothing has been selected yet.", class_="absent")
    criteria = criteria_of(evidence.run.config)
    kept = [(cycle, cycle.gallery) for cycle in evidence.cycles if cycle.gallery and cycle.gallery.exhibits]
    panels = [
        (selection_name(cycle.number), gallery(cycle, own, evidence.units, names, criteria)) for cycle, own in kept
    ]
    shown = [cycle.number for cycle, _ in kept]
    without = [cycle.number for cycle in evidence.cycles if cycle.number not in shown]
    return (tabs("gallery-tabs", "Selection", panels) if panels else "") + (absent(without) if without else "")
