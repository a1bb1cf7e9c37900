"""How numbers are shown: units, digits, and which of them are the best."""

from __future__ import annotations

from collections.abc import Sequence

from al_lightning.report.tables_groups import Experiment
from al_lightning.report.tables_statistics import Difference, Sample
from al_lightning.report.tables_write import Cell

PERCENT = ("mIoU", "IoU", "RayIoU", "precision", "recall", "collision")
METRES = ("L2",)
FALLING = ("L2", "collision")
"""What the kinds of metrics begin with that are shown in %, that are metres, and that should fall."""

MEANS_OVER_CLASSES = ("mIoU", "RayIoU")
ACQUIRED = "acquired/"
EMPTY = Cell("")


def kind(metric: str) -> str:
    """``rain/mIoU`` is measured as ``mIoU`` is, ``IoU/car`` as ``IoU``, ``L2_avg_1s`` as itself."""
    first, _, last = metric.partition("/")
    return first if first in PERCENT or not last else last


def scale(metric: str) -> float:
    """What a metric is multiplied by to be shown."""
    return 100.0 if kind(metric).startswith(PERCENT) else 1.0


def falls(metric: str) -> bool:
    """Whether smaller is better."""
    return kind(metric).startswith(FALLING)


def with_unit(metric: str) -> str:
    """Name and unit of a metric."""
    unit = " in %" if scale(metric) == 100 else " in m" if kind(metric).startswith(METRES) else ""
    return metric + unit


def number(value: float, metric: str, sign: str = "") -> str:
    """A value as shown."""
    digits = 1 if metric.startswith(ACQUIRED) else 3 if kind(metric).startswith(METRES) else 2
    return f"{value * scale(metric):{sign}.{digits}f}"


def mean_cell(
    sample: Sample | None, metric: str, *, bold: bool = False, seeds: int | None = None, labels: int | None = None
) -> Cell:
    """Mean ± standard deviation; the number of seeds, too, where it is not the expected one, and that of labels."""
    if sample is None:
        return EMPTY
    text = number(sample.mean, metric)
    if sample.deviation is not None:
        text += f" ± {number(sample.deviation, metric)}"
    if seeds is not None and seeds != sample.count:
        text += f" (of {sample.count})"
    values = {"mean": sample.mean, "std": "" if sample.deviation is None else sample.deviation, "seeds": sample.count}
    if labels is not None:
        text += f", {labels} labels"
        values["labels"] = labels
    return Cell(text, values, bold)


def difference_cell(difference: Difference | None, metric: str) -> Cell:
    """Mean ± half of the interval, bold where it leaves out 0."""
    if difference is None:
        return EMPTY
    text = number(difference.mean, metric, sign="+")
    half = difference.half_width
    if half is not None:
        text += f" ± {number(half, metric)}"
    values = {"difference": difference.mean, "half_width": "" if half is None else half, "pairs": difference.count}
    return Cell(text, values, difference.significant)


def ratio_cell(sample: Sample) -> Cell:
    """Mean ± standard deviation of a number between 0 and 1."""
    text = f"{sample.mean:.2f}" + ("" if sample.deviation is None else f" ± {sample.deviation:.2f}")
    return Cell(text, {"mean": sample.mean, "seeds": sample.count})


def published_cell(value: float | None, metric: str) -> Cell:
    """A number as the paper prints it."""
    if value is None:
        return EMPTY
    return Cell(f"{value:.{0 if metric.startswith(ACQUIRED) else 2}f}", {"mean": value / scale(metric)})


def best(means: Sequence[float], metric: str) -> float | None:
    """The best of some means; None where all are equal, or where more is not better."""
    if len(set(means)) < 2 or metric.startswith(ACQUIRED):
        return None
    return min(means) if falls(metric) else max(means)


def cycle_head(experiment: Experiment, cycle: int) -> str:
    """The number of a cycle, and of its labels where all methods have the same."""
    counts = {method.labeled(cycle) for method in experiment.methods if not method.full} - {None}
    return f"cycle {cycle} ({counts.pop()})" if len(counts) == 1 else f"cycle {cycle}"


def class_counts(experiment: Experiment, metric: str, cycle: int) -> list[int]:
    """Over how many classes the runs of a column average, ascending; nothing of another metric.

    SemanticKITTI's mean is over all classes, whether they occur or not; Occ3D's leaves out those that neither occur nor
    are predicted, so that a class which is predicted but never true counts as 0 in one run and not at all in another.
    """
    prefix, _, name = metric.rpartition("/")
    counts: set[int] = set()
    for method in experiment.methods if name in MEANS_OVER_CLASSES else ():
        if not str(method.config["task"].get("metric", {}).get("_target_")).endswith("SemanticSceneCompletion"):
            found = method.values(f"{prefix}/classes_present".lstrip("/"), 0 if method.full else cycle)
            counts |= {int(count) for count in found.values()}
    return sorted(counts)


def class_count_notes(experiment: Experiment, columns: Sequence[tuple[str, str, int]]) -> list[str]:
    """A remark on the columns (head, metric, cycle) whose runs average over different numbers of classes."""
    counted = {head: class_counts(experiment, metric, cycle) for head, metric, cycle in columns}
    mixed = [f"{head}: {counts[0]} to {counts[-1]}" for head, counts in counted.items() if len(counts) > 1]
    if not mixed:
        return []
    return [
        f"Runs average over different numbers of classes ({'; '.join(mixed)}), since a class that is predicted but "
        "never true counts as 0: these means are not of the same thing, and none is bold."
    ]
