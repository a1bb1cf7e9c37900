"""Statistics of repeated runs: means, paired differences with intervals, overlaps, and label efficiency.

Shape letters: S seeds, C points of a learning curve.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Sample:
    """Mean and spread of a number over seeds.

    Attributes:
        mean: mean.
        deviation: standard deviation of the sample (S - 1 in the denominator); None for a single seed.
        count: number of seeds.
    """

    mean: float
    deviation: float | None
    count: int


def summarize(values: Collection[float]) -> Sample:
    """Mean and standard deviation over seeds.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    numbers = _finite(values)
    return Sample(float(numbers.mean()), float(numbers.std(ddof=1)) if len(numbers) > 1 else None, len(numbers))


def half_width(sample: Sample, confidence: float = 0.95) -> float | None:
    """Half the width of a mean's confidence interval, Student's t with S - 1 degrees of freedom; None for one seed."""
    if sample.deviation is None:
        return None
    return float(stats.t.ppf((1 + confidence) / 2, sample.count - 1)) * sample.deviation / math.sqrt(sample.count)


@dataclass(frozen=True)
class Difference:
    """A paired difference.

    Attributes:
        mean: mean difference.
        half_width: half the width of its confidence interval, Student's t with S - 1 degrees of freedom; None for a
            single pair.
        count: number of pairs.
    """

    mean: float
    half_width: float | None
    count: int

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.half_width is not None and abs(self.mean) > self.half_width


def paired_difference(
    ours: Mapping[int, float], baseline: Mapping[int, float], confidence: float = 0.95
) -> Difference | None:
    """Mean of ``ours - baseline`` over the seeds that both have; None if there are none.

    Pairs share the seed set and cycle 0, so that much of the spread over seeds cancels.

    Args:
        ours: seed -> value.
        baseline: seed -> value.
        confidence: of the interval.

    Raises:
        ValueError: a value is not finite.
    """
    seeds = sorted(ours.keys() & baseline.keys())
    if not seeds:
        return None
    sample = summarize([ours[seed] - baseline[seed] for seed in seeds])
    return Difference(sample.mean, half_width(sample, confidence), sample.count)


def jaccard(ours: Collection[str], theirs: Collection[str]) -> float:
    """Size of the intersection over that of the union.

    Raises:
        ValueError: both are empty.
    """
    union = set(ours) | set(theirs)
    if not union:
        raise ValueError("the overlap of two empty selections is not defined")
    return len(set(ours) & set(theirs)) / len(union)


def chance_jaccard(pool: int, ours: int, theirs: int) -> float:
    """About the Jaccard index of two independent random selections: that of their expected intersection.

    Args:
        pool: number of units to choose from.
        ours: size of one selection.
        theirs: size of the other.
    """
    shared = ours * theirs / pool
    return shared / (ours + theirs - shared)


def mean_over_labels(labeled: Sequence[float], values: Sequence[float]) -> float:
    """Area under a learning curve (C points, trapezoids) divided by the range of labels: the mean height.

    Raises:
        ValueError: there are fewer than two points, the labels do not grow, or a value is not finite.
    """
    x, y = _finite(labeled), _finite(values)
    if len(x) < 2 or not bool((np.diff(x) > 0).all()):
        raise ValueError(f"a curve needs at least two points with growing numbers of labels, got {list(labeled)}")
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() / (x[-1] - x[0]))


def labels_needed(
    labeled: Sequence[float], values: Sequence[float], target: float, *, larger_is_better: bool = True
) -> float | None:
    """Labels at which a learning curve, linear between its points, first reaches a target; None if it does not.

    Args:
        labeled: (C,) growing numbers of labels.
        values: (C,) metric.
        target: value to reach.
        larger_is_better: whether the metric should rise to the target, or fall to it.

    Raises:
        ValueError: a value is not finite.
    """
    sign = 1 if larger_is_better else -1
    x, y = _finite(labeled), sign * _finite(values)
    reached = np.flatnonzero(y >= sign * target)
    if len(reached) == 0:
        return None
    first = int(reached[0])
    if first == 0:
        return float(x[0])
    share = (sign * target - y[first - 1]) / (y[first] - y[first - 1])
    return float(x[first - 1] + share * (x[first] - x[first - 1]))


def _finite(values: Collection[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    numbers = np.array(list(values), dtype=np.float64)
    if len(numbers) == 0 or not bool(np.isfinite(numbers).all()):
        raise ValueError(f"numbers are needed, got {list(values)}")
    return numbers
