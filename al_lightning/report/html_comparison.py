"""The page of many runs: ``DIR/report/report.html``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from al_lightning.report.html_charts import Curve, Point, line_chart
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
from al_lightning.report.html_marks import Interval, intervals
from al_lightning.report.html_run import FILE
from al_lightning.report.tables import PLANNING
from al_lightning.report.tables_groups import Experiment, Method
from al_lightning.report.tables_numbers import cycle_head, number, scale, with_unit
from al_lightning.report.tables_runs import ReportedRun
from al_lightning.report.tables_statistics import half_width, paired_difference, summarize
from al_lightning.report.tables_write import Cell, Row, Table

WIDE = 10
"""Columns of a table that is folded."""


def comparison_page(
    title: str, compared: Sequence[tuple[Experiment, Sequence[Table]]], baseline: str, remarks: Sequence[str], out: Path
) -> str:
    """The page of many runs as HTML.

    Args:
        title: of the page.
        compared: experiments with their tables.
        baseline: name of the method that the others are compared with.
        remarks: plain text below the title.
        out: folder that the page goes to, for links to the runs' own pages.
    """
    sections = [
        section
        for place, (experiment, made) in enumerate(compared)
        for section in _sections(place, experiment, made, baseline, alone=len(compared) == 1)
    ]
    sections.append(Section("runs", "Runs", _runs([experiment for experiment, _ in compared], out)))
    methods = {method.name for experiment, _ in compared for method in experiment.methods}
    runs = [run for experiment, _ in compared for run in _all_runs(experiment)]
    facts = [
        ("Runs", str(len(runs)), ""),
        ("Methods", str(len(methods)), f"compared with {baseline}" if baseline in methods else ""),
        ("Seeds", str(len({run.seed for run in runs})), ""),
        ("Experiments", str(len(compared)), ""),
    ]
    head = tiles(facts) + "".join(element("p", text(remark), class_="note") for remark in remarks)
    return page(title, "Runs that differ in their seed only are repetitions of a method.", head, sections)


def _all_runs(experiment: Experiment) -> list[ReportedRun]:
    return [run for method in experiment.methods for run in method.runs.values()]


def _sections(
    place: int, experiment: Experiment, made: Sequence[Table], baseline: str, *, alone: bool
) -> Iterator[Section]:
    prefix, lead = f"e{place}", "" if alone else f"{experiment.name}: "
    metrics = _metrics(experiment)
    order = {method.name: i for i, method in enumerate(experiment.methods)}
    panels = [(metric, _chart(f"{prefix}-curve-{i}", experiment, metric, order)) for i, metric in enumerate(metrics)]
    yield Section(f"{prefix}-curves", f"{lead}learning curves".capitalize() if alone else f"{lead}learning curves",
                  tabs(f"{prefix}-curve-tabs", "Metric", panels, 0), CURVES)  # fmt: skip
    differences = [
        (metric, chart) for i, metric in enumerate(metrics)
        if (chart := _differences(f"{prefix}-difference-{i}", experiment, metric, baseline, order))
    ]  # fmt: skip
    if differences:
        name = f"{lead}difference to {baseline}"
        body = tabs(f"{prefix}-difference-tabs", "Metric", differences, 0)
        yield Section(f"{prefix}-differences", name.capitalize() if alone else name, body, DIFFERENCES)
    body = "".join(_table(one) for one in made)
    yield Section(
        f"{prefix}-tables", "Tables" if alone else f"{lead}tables", body + _overlap_matrix(prefix, experiment, made)
    )


CURVES = (
    "Means over seeds with 95 % intervals (Student's t) where a method has three seeds or more: bands, or whiskers "
    "side by side where there are more than two methods, cut at the edges of the chart. Two seeds are shown as dots."
)
DIFFERENCES = (
    "Mean of the paired differences over the seeds that both have, with its 95 % interval (two pairs are shown as "
    "dots): pairs share seed set and cycle 0, so much of the spread over seeds cancels. An interval that leaves out 0 "
    "is a difference."
)
SEEDS = 3
"""Seeds from which on an interval is drawn: of two, it is 12.7 times as wide as they lie apart."""


def _metrics(experiment: Experiment) -> list[str]:
    """Those with a chart: of planning its table's, else the headline with its variants."""
    names = experiment.metric_names()
    planning = [name for name in PLANNING if name in names]
    headline = next(name for name in names if name != "share")
    return planning or [name for name in names if name.split("/")[-1] == headline]


# --- charts -----------------------------------------------------------------------------------------------------------


def _chart(key: str, experiment: Experiment, metric: str, order: dict[str, int]) -> str:
    partial = [method for method in experiment.methods if not method.full]
    curves = [
        Curve(method.name, points, order[method.name]) for method in partial if (points := _points(method, metric))
    ]
    abscissas = [point.x for curve in curves for point in curve.points]
    for method in experiment.methods:
        values = method.values(metric, 0) if method.full else {}
        if values and abscissas:
            mean = summarize(values.values()).mean
            tip = f"{method.name}: {number(mean, metric)} with all {method.labeled(0)} labels"
            ends = [Point(x, mean * scale(metric), None, tip) for x in (min(abscissas), max(abscissas))]
            curves.append(Curve(method.name, ends, order[method.name], reference=True))
    if not curves:
        return element("p", f"No run has measured {text(metric)}.", class_="absent")
    chart = line_chart(key, curves, "labeled units", with_unit(metric))
    return figure(key, with_unit(metric), chart)


def _points(method: Method, metric: str) -> list[Point]:
    points = []
    for cycle in range(method.last + 1):
        values, labeled = method.values(metric, cycle), method.labeled(cycle)
        if values and labeled is not None:
            sample = summarize(values.values())
            half = half_width(sample)
            around = "" if half is None else f" ± {number(half, metric)}"
            tip = f"{method.name}, {labeled} labeled: {number(sample.mean, metric)}{around} ({sample.count} seeds)"
            mean, drawn, seeds = _shown(sample.mean, half, list(values.values()), scale(metric))
            points.append(Point(labeled, mean, drawn, tip, seeds))
    return points


def _shown(
    mean: float, half: float | None, values: Sequence[float], factor: float
) -> tuple[float, float | None, list[float]]:
    """Mean, half of the interval if it is drawn, and the values of the seeds, as a chart shows them."""
    drawn = None if half is None or len(values) < SEEDS else half * factor
    return mean * factor, drawn, [value * factor for value in values] if len(values) > 1 else []


def _differences(key: str, experiment: Experiment, metric: str, baseline: str, order: dict[str, int]) -> str:
    """The paired differences after the last cycle that all have; nothing without a baseline."""
    reference = next((method for method in experiment.methods if method.name == baseline), None)
    if reference is None or reference.full:
        return ""
    methods = [method for method in experiment.methods if not method.full]
    methods = [method for method in methods if method.labeled(0) == reference.labeled(0)]
    cycle = min(method.last for method in methods)
    rows = []
    for method in methods:
        if method is reference or method.labeled(cycle) != reference.labeled(cycle):
            continue
        ours, theirs = method.values(metric, cycle), reference.values(metric, cycle)
        found = paired_difference(ours, theirs)
        if found is not None:
            half = found.half_width
            around = "" if half is None else f" ± {number(half, metric)}"
            tip = (
                f"{method.name}: {number(found.mean, metric, sign='+')}{around} over {found.count} pairs, cycle {cycle}"
            )
            pairs = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
            mean, drawn, seeds = _shown(found.mean, half, pairs, scale(metric))
            rows.append(Interval(method.name, mean, drawn, tip, order[method.name], seeds))
    if not rows:
        return ""
    name = f"{with_unit(metric)}, difference to {baseline} after {cycle_head(experiment, cycle)}"
    return figure(key, name, intervals(key, rows, with_unit(metric)))


# --- tables -----------------------------------------------------------------------------------------------------------


def _table(made: Table) -> str:
    rows = [[_row_head(row), *(_datum(cell, published=row.published) for cell in row.cells)] for row in made.rows]
    body = table(made.title, ["", *made.columns], rows)
    notes = "".join(element("p", text(note), class_="note") for note in made.notes)
    if len(made.columns) > WIDE:
        body = folded(f"{len(made.columns)} columns", body)
    return figure(f"table-{made.name}", made.title, body, notes)


def _row_head(row: Row) -> Datum:
    return Datum(f"{row.name}, published" if row.published else row.name, style="published" if row.published else None)


def _datum(cell: Cell, *, published: bool) -> Datum:
    value = next((value for value in cell.values.values() if not isinstance(value, str)), float("nan"))
    return Datum(cell.text, value, "published" if published else "best" if cell.bold else None)


def _overlap_matrix(prefix: str, experiment: Experiment, made: Sequence[Table]) -> str:
    """How much of all picks two methods share, as a matrix; nothing without such a table."""
    names = [method.name for method in experiment.methods if not method.full]
    rows = {row.name: row for one in made if one.name.endswith("overlap") for row in one.rows}
    if not rows:
        return ""
    body: list[Cells] = []
    for ours in names:
        cells: list[Datum | str] = []
        for theirs in names:
            row = rows.get(f"{ours} / {theirs}") or rows.get(f"{theirs} / {ours}")
            mean, chance = (row.cells[i].values.get("mean") if row else None for i in (2, 3))
            if isinstance(mean, float) and isinstance(chance, float):
                cells.append(Datum(f"{mean:.2f}", mean, shade=max(-1.0, min(1.0, 2 * (mean - chance)))))
            else:
                cells.append(quantity(None))
        body.append([ours, *cells])
    note = "Jaccard index of all picks, mean over seeds; blue where two methods share more than chance would give."
    return figure(
        f"{prefix}-overlap", "Overlap of the picks as a matrix", table("Overlap", ["", *names], body), note=note
    )


def _runs(experiments: Sequence[Experiment], out: Path) -> str:
    rows: list[Cells] = []
    for experiment in experiments:
        headline = next(name for name in experiment.metric_names() if name != "share")
        for method in experiment.methods:
            for seed, run in sorted(method.runs.items()):
                last = run.metrics[max(run.metrics)]
                own = run.path / FILE
                link = os.path.relpath(own, out) if own.exists() else None
                value = last.get(headline)
                shown = quantity(None) if value is None else Datum(number(value, headline), value)
                name = Datum(run.path.name, link=link)
                done = Datum(f"{len(run.metrics)} of {run.config['loop']['cycles']}", len(run.metrics))
                metric = with_unit(headline)
                rows.append([name, experiment.name, method.name, Datum(str(seed), seed), done, metric, shown])
    heads = ["run", "experiment", "method", "seed", "cycles", "metric", "last value"]
    return figure("all-runs", "All runs", table("All runs", heads, rows), note=RUNS)


RUNS = "A linked run has a page of its own; `python -m al_lightning.report RUN` writes one."
