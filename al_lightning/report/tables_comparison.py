"""Tables that set methods against each other: differences, label efficiency, and overlap of the picks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from al_lightning.report.tables_groups import Experiment, Method
from al_lightning.report.tables_numbers import (
    EMPTY,
    best,
    class_count_notes,
    class_counts,
    difference_cell,
    falls,
    mean_cell,
    number,
    ratio_cell,
    with_unit,
)
from al_lightning.report.tables_runs import ReportedRun
from al_lightning.report.tables_statistics import (
    Sample,
    chance_jaccard,
    jaccard,
    labels_needed,
    mean_over_labels,
    paired_difference,
    summarize,
)
from al_lightning.report.tables_write import Cell, Row, Table

SHARES = (0.9, 0.95, 1.0)
"""Shares of full supervision whose labels are counted."""

Column = tuple[str, str, int]
"""Head, metric, cycle."""


def differences(experiment: Experiment, name: str, title: str, columns: Sequence[Column], baseline: Method) -> Table:
    """Mean difference to the baseline over the seeds that both have, with a 95 % interval; with equal labels only."""
    rows = [
        Row(method.name, [_difference_cell(experiment, method, baseline, metric, k) for _, metric, k in columns])
        for method in experiment.methods
        if method is not baseline and not method.full
    ]
    note = (
        "Mean of the paired differences over the seeds that both have, ± half of the 95 % interval (Student's t; a "
        "single pair has none). In bold: the interval leaves out 0."
    )
    title = f"{experiment.name}: {title}, difference to {baseline.name}"
    notes = [note, *class_count_notes(experiment, columns)]
    return Table(name, title, [head for head, _, _ in columns], rows, notes)


def _difference_cell(experiment: Experiment, method: Method, baseline: Method, metric: str, cycle: int) -> Cell:
    if method.labeled(cycle) != baseline.labeled(cycle):
        return EMPTY
    found = paired_difference(method.values(metric, cycle), baseline.values(metric, cycle))
    cell = difference_cell(found, metric)
    return replace(cell, bold=cell.bold and len(class_counts(experiment, metric, cycle)) < 2)


# --- label efficiency -------------------------------------------------------------------------------------------------


def efficiency(experiment: Experiment, name: str, metric: str) -> Iterator[Table]:
    """Area under the curves, and the labels after which their mean reaches shares of full supervision."""
    methods = [method for method in experiment.methods if not method.full and method.last > 0]
    if not methods:
        return
    full = next((method for method in experiment.methods if method.full and method.values(metric, 0)), None)
    target = summarize(full.values(metric, 0).values()).mean if full else None
    heads, columns, notes = _areas(experiment, methods, metric)
    if target is not None:
        heads += [f"labels for {share:.0%} of full" for share in SHARES]
        for share in SHARES:
            columns.append([_needed_cell(method, metric, share, target) for method in methods])
        notes.append(
            "Labels at which the mean curve, linear between cycles, first reaches that share of full supervision "
            f"({number(target, metric)}); >: not reached with so many."
        )
    if columns:
        rows = [Row(method.name, cells) for method, *cells in zip(methods, *columns, strict=True)]
        yield Table(name, f"{experiment.name}: label efficiency, {with_unit(metric)}", heads, rows, notes)


def _areas(
    experiment: Experiment, methods: Sequence[Method], metric: str
) -> tuple[list[str], list[list[Cell]], list[str]]:
    """Head, column and note of the area, over the cycles that all methods have; none where their labels differ."""
    last = min(method.last for method in methods)
    labels = {tuple(method.labeled(k) for k in range(last + 1)) for method in methods}
    if len(labels) > 1:
        return [], [], []
    labeled = [float(count or 0) for count in labels.pop()]
    samples = []
    for method in methods:
        curves = [[row.get(metric) for _, row in sorted(run.metrics.items())] for run in method.runs.values()]
        whole = [[value for value in curve[: last + 1] if value is not None] for curve in curves]
        areas = [mean_over_labels(labeled, curve) for curve in whole if len(curve) == last + 1]
        samples.append(summarize(areas) if areas else None)
    remarks = class_count_notes(experiment, [(f"cycle {k}", metric, k) for k in range(last + 1)])
    comparable = _equal_seeds(samples, methods) and not remarks
    top = best([sample.mean for sample in samples if sample], metric) if comparable else None
    cells = [
        mean_cell(sample, metric, bold=sample is not None and sample.mean == top, seeds=len(method.runs))
        for sample, method in zip(samples, methods, strict=True)
    ]
    note = "Area under the curve over the number of labels, divided by their range: mean ± standard deviation."
    return [f"mean over {labeled[0]:.0f} to {labeled[-1]:.0f} labels"], [cells], [note, *remarks]


def _equal_seeds(samples: Sequence[Sample | None], methods: Sequence[Method]) -> bool:
    whole = all(sample and sample.count == len(m.runs) for sample, m in zip(samples, methods, strict=True))
    return whole and len({frozenset(method.runs) for method in methods}) == 1


def _needed_cell(method: Method, metric: str, share: float, target: float) -> Cell:
    """Of a metric that should fall, a share of 90 % is 1 / 0.9 of full supervision's."""
    goal = target / share if falls(metric) else target * share
    points = [
        (labeled, summarize(values.values()).mean)
        for cycle in range(method.last + 1)
        if (values := method.values(metric, cycle)) and (labeled := method.labeled(cycle)) is not None
    ]
    labels, means = zip(*points, strict=True)
    needed = labels_needed(labels, means, goal, larger_is_better=not falls(metric))
    if needed is None:
        return Cell(f"> {labels[-1]}", {"labels": "", "not with": labels[-1]})
    return Cell(f"{needed:.0f}", {"labels": needed})


# --- overlap ----------------------------------------------------------------------------------------------------------


def overlap(experiment: Experiment, name: str) -> Iterator[Table]:
    """Jaccard index of what two methods have acquired with the same seed: first, and up to the last common cycle."""
    rows = []
    methods = [method for method in experiment.methods if not method.full and _reached(method) > 0]
    last = min((_reached(method) for method in methods), default=0)
    for ours, theirs in combinations(methods, 2):
        pairs = [(ours.runs[seed], theirs.runs[seed]) for seed in sorted(ours.runs.keys() & theirs.runs.keys())]
        pairs = [(one, other) for one, other in pairs if one.acquired[0] == other.acquired[0]]
        found = [*_overlaps([(_first(one), _first(other), one) for one, other in pairs]),
                 *_overlaps([(_until(last, one), _until(last, other), one) for one, other in pairs])]  # fmt: skip
        if any(sample is not None for sample in found):
            cells = [EMPTY if sample is None else ratio_cell(sample) for sample in found]
            rows.append(Row(f"{ours.name} / {theirs.name}", cells))
    if rows:
        heads = ["first pick", "first, by chance", "all picks", "all, by chance"]
        note = (
            "Units acquired by both over units acquired by either (Jaccard), without the seed set: mean ± standard "
            "deviation over the seeds that both have and that are equally far; beside it, what two random selections "
            "of these sizes would have."
        )
        until = "cycle 1" if last == 1 else f"cycles 1 to {last}"
        yield Table(name, f"{experiment.name}: overlap of the picks for {until}", heads, rows, [note])


def _reached(method: Method) -> int:
    """The last cycle that one of its runs has acquired units for."""
    return max(max(run.acquired) for run in method.runs.values())


def _first(run: ReportedRun) -> frozenset[str]:
    return run.acquired.get(1, frozenset())


def _until(last: int, run: ReportedRun) -> frozenset[str]:
    return frozenset(unit for cycle, units in run.acquired.items() if 0 < cycle <= last for unit in units)


def _overlaps(
    picks: Sequence[tuple[frozenset[str], frozenset[str], ReportedRun]],
) -> tuple[Sample | None, Sample | None]:
    """Over the seeds whose two selections are as large: the index, and what chance would give."""
    equal = [
        (mine, yours, run.pool - len(run.acquired[0])) for mine, yours, run in picks if len(mine) == len(yours) > 0
    ]
    if not equal:
        return None, None
    found = summarize([jaccard(mine, yours) for mine, yours, _ in equal])
    return found, summarize([chance_jaccard(pool, len(mine), len(yours)) for mine, yours, pool in equal])
