"""The papers' tables from runs: which numbers stand where."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from al_lightning.report.tables_comparison import Column, differences, efficiency, overlap
from al_lightning.report.tables_groups import Experiment, Method
from al_lightning.report.tables_numbers import (
    ACQUIRED,
    best,
    class_count_notes,
    class_counts,
    cycle_head,
    mean_cell,
    published_cell,
    with_unit,
)
from al_lightning.report.tables_published import Published, beside
from al_lightning.report.tables_statistics import Sample, summarize
from al_lightning.report.tables_write import Row, Table

PLANNING = ("L2_avg_1s", "L2_avg_2s", "L2_avg_3s", "collision_avg_1s", "collision_avg_2s", "collision_avg_3s")
FARTHEST = ("L2_avg_3s", "collision_avg_3s")


def tables(experiment: Experiment, baseline: str) -> Iterator[Table]:
    """All tables that the runs of an experiment can fill.

    Args:
        experiment: methods to compare.
        baseline: name of the method that the others are compared with, where the experiment has it.
    """
    experiment, reference = _baseline_first(experiment, baseline)
    names = experiment.metric_names()
    planning = [name for name in PLANNING if name in names]
    headline = next(name for name in names if name != "share")
    made = _planning(experiment, planning) if planning else _learning(experiment, names, headline)
    for table, columns in made:
        yield table
        if columns and reference is not None and len(experiment.methods) > 1:
            yield differences(experiment, f"{table.name}_difference", _title(columns), columns, reference)
    yield from _subsets(experiment, names)
    for metric in FARTHEST if planning else (headline,):
        yield from efficiency(experiment, _file(experiment, "efficiency", metric), metric)
    yield from overlap(experiment, _file(experiment, "overlap"))


def _baseline_first(experiment: Experiment, baseline: str) -> tuple[Experiment, Method | None]:
    methods = sorted(experiment.methods, key=lambda method: method.name != baseline)
    reference = methods[0] if methods[0].name == baseline else None
    return replace(experiment, methods=tuple(methods)), reference


def _planning(experiment: Experiment, metrics: Sequence[str]) -> Iterator[tuple[Table, Sequence[Column]]]:
    """The planning paper's Table 1: all metrics after the last cycle."""
    columns = [(with_unit(metric), metric, experiment.last) for metric in metrics]
    title = f"planning after {cycle_head(experiment, experiment.last)}"
    yield means(experiment, _file(experiment, "last_cycle"), title, columns), columns


def _learning(experiment: Experiment, names: Sequence[str], headline: str) -> Iterator[tuple[Table, Sequence[Column]]]:
    """The occupancy paper's Tables II, IV and V, the headline metric over the cycles; and Table I, the classes."""
    cycles = range(experiment.last + 1)
    subsets = [f"{name.removeprefix(ACQUIRED)}/{headline}" for name in names if name.startswith(ACQUIRED)]
    for metric in [name for name in names if name.split("/")[-1] == headline and name not in subsets]:
        columns = [(cycle_head(experiment, k), metric, k) for k in cycles]
        table = means(
            experiment, _file(experiment, "learning", metric), f"{with_unit(metric)} over the cycles", columns
        )
        yield table, columns if metric == headline else ()
    classes = _class_metrics(experiment.methods[0].config, names)
    for k in cycles if classes else ():
        columns = [(metric.rpartition("/")[2], metric, k) for metric in (headline, *classes)]
        title = f"IoU of the classes in %, {cycle_head(experiment, k)}"
        yield means(experiment, _file(experiment, "classes", f"cycle_{k}"), title, columns), ()


def _class_metrics(config: Any, names: Sequence[str]) -> list[str]:
    """``IoU/<class>`` in the order of the configuration's class names, where it has some."""
    order = [f"IoU/{name}" for name in config["task"].get("metric", {}).get("class_names", ())]
    found = [name for name in names if name.startswith("IoU/")]
    return sorted(found, key=lambda name: order.index(name) if name in order else len(order))


def _subsets(experiment: Experiment, names: Sequence[str]) -> Iterator[Table]:
    """The occupancy paper's Table III: metrics on subsets, and how many of their units each cycle has got."""
    cycles = range(experiment.last + 1)
    for subset in [name.removeprefix(ACQUIRED) for name in names if name.startswith(ACQUIRED)]:
        for metric in [name for name in names if name.startswith(f"{subset}/")]:
            columns = [(cycle_head(experiment, k), metric, k) for k in cycles]
            columns += [(f"{subset} units for cycle {k}", f"{ACQUIRED}{subset}", k) for k in cycles]
            title = f"{with_unit(metric)}, and the {subset} units acquired for each cycle"
            yield means(experiment, _file(experiment, "subset", metric), title, columns)


# --- means ------------------------------------------------------------------------------------------------------------


def means(experiment: Experiment, name: str, title: str, columns: Sequence[Column]) -> Table:
    """Mean and standard deviation over seeds, the papers' rows below those of the same method."""
    tops = [_top(experiment, metric, cycle) for _, metric, cycle in columns]
    mixed = [len(_labels(experiment, metric, cycle)) > 1 for _, metric, cycle in columns]
    rows, sources = [], []
    for method in experiment.methods:
        count = len(method.runs)
        cells = []
        for (_, metric, cycle), top, tell in zip(columns, tops, mixed, strict=True):
            sample = _sample(method, metric, cycle)
            bold = sample is not None and not method.full and sample.mean == top
            labels = method.labeled(cycle) if tell and not metric.startswith(ACQUIRED) else None
            cells.append(mean_cell(sample, metric, bold=bold, seeds=count, labels=labels))
        rows.append(Row(f"{method.name} ({count} seed{'s' if count > 1 else ''})", cells))
        for published in beside(method):
            if (printed := _published_row(published, columns)) is not None:
                rows.append(printed)
                sources.append(published.source)
    notes = [
        "Mean ± standard deviation over seeds; (of n): over n of them only. Best mean in bold, where all methods have "
        "the same seeds and numbers of labels."
    ]
    notes += class_count_notes(experiment, columns)
    notes += [f"Published (in italics): {source}." for source in dict.fromkeys(sources)]
    return Table(name, f"{experiment.name}: {title}", [head for head, _, _ in columns], rows, notes)


def _sample(method: Method, metric: str, cycle: int) -> Sample | None:
    """Full supervision, which has one cycle and acquires nothing, stands in every column of what it measures."""
    if method.full and metric.startswith(ACQUIRED):
        return None
    values = method.values(metric, 0 if method.full else cycle)
    return summarize(values.values()) if values else None


def _top(experiment: Experiment, metric: str, cycle: int) -> float | None:
    """The best mean of a column, if all methods have the same seeds and numbers of labels and of classes there."""
    found = [values for method in experiment.methods if not method.full and (values := method.values(metric, cycle))]
    if len({frozenset(values) for values in found}) != 1 or len(_labels(experiment, metric, cycle)) != 1:
        return None
    if len(class_counts(experiment, metric, cycle)) > 1:
        return None
    return best([summarize(values.values()).mean for values in found], metric)


def _labels(experiment: Experiment, metric: str, cycle: int) -> set[int | None]:
    """Numbers of labels of the methods that have the metric."""
    partial = [method for method in experiment.methods if not method.full]
    return {method.labeled(cycle) for method in partial if method.values(metric, cycle)}


def _published_row(published: Published, columns: Sequence[Column]) -> Row | None:
    """A row of the paper's numbers, None if none of them belongs into the columns."""
    values = [published.values.get(0 if published.full else k, {}).get(metric) for _, metric, k in columns]
    if all(value is None for value in values):
        return None
    cells = [published_cell(value, metric) for value, (_, metric, _) in zip(values, columns, strict=True)]
    return Row(published.name, cells, published=True)


def _title(columns: Sequence[Column]) -> str:
    metrics = dict.fromkeys(with_unit(metric) for _, metric, _ in columns)
    return next(iter(metrics)) if len(metrics) == 1 else "planning"


def _file(experiment: Experiment, *parts: str) -> str:
    """Name of a table's files."""
    return re.sub(r"[^A-Za-z0-9]+", "_", "_".join((experiment.name, *parts))).strip("_")
