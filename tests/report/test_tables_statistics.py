import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from al_lightning.report.tables_statistics import (
    chance_jaccard,
    half_width,
    jaccard,
    labels_needed,
    mean_over_labels,
    paired_difference,
    summarize,
)

numbers = st.integers(-1000, 1000).map(lambda number: number / 8)


def test_mean_and_deviation_in_closed_form() -> None:
    sample = summarize([1.0, 2.0, 3.0, 4.0])
    assert (sample.mean, sample.count) == (2.5, 4)
    assert sample.deviation == pytest.approx((5 / 3) ** 0.5)
    assert summarize([3.0]).deviation is None


def test_a_difference_in_closed_form() -> None:
    found = paired_difference({0: 2.0, 1: 4.0, 2: 6.0, 9: 0.0}, {0: 1.0, 1: 2.0, 2: 3.0, 8: 5.0})
    assert found is not None
    assert (found.mean, found.count) == (2.0, 3)
    assert found.half_width == pytest.approx(4.302653 / 3**0.5, rel=1e-6)  # t of 97.5 % with 2 degrees of freedom
    assert not found.significant


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=12))
def test_the_interval_is_that_of_scipys_paired_test(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = (dict(enumerate(side)) for side in zip(*pairs, strict=True))
    found = paired_difference(ours, theirs)
    assert found is not None
    differences = np.array(list(ours.values())) - np.array(list(theirs.values()))
    if np.ptp(differences) == 0:  # scipy has no test for it
        assert found.half_width == 0
        assert found.significant == bool(differences[0])
        return
    test = stats.ttest_rel(list(ours.values()), list(theirs.values()))
    low, high = test.confidence_interval(0.95)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high), abs=1e-9)
    if abs(test.pvalue - 0.05) > 1e-9:
        assert found.significant == (test.pvalue < 0.05)


@given(st.lists(numbers, min_size=2, max_size=12).filter(lambda values: np.ptp(values) > 0))
def test_the_interval_of_a_mean_is_scipys(values: list[float]) -> None:
    low, high = stats.t.interval(0.9, len(values) - 1, np.mean(values), stats.sem(values))
    assert half_width(summarize(values), 0.9) == pytest.approx((high - low) / 2)
    assert half_width(summarize(values[:1])) is None


def test_pairs_are_needed() -> None:
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    found = paired_difference({0: 3.0}, {0: 1.0})
    assert found is not None
    assert (found.mean, found.half_width, found.significant) == (2.0, None, False)


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20), min_size=1))
def test_overlap_by_counting(ours: set[int], theirs: set[int]) -> None:
    both = sum(unit in ours and unit in theirs for unit in range(21))
    either = sum(unit in ours or unit in theirs for unit in range(21))
    assert jaccard([str(unit) for unit in ours], [str(unit) for unit in theirs]) == both / either


def test_overlap_by_chance_is_near_that_of_random_selections() -> None:
    generator = np.random.default_rng(0)
    found = [
        jaccard(*([str(u) for u in generator.choice(200, size, replace=False)] for size in (40, 60)))
        for _ in range(2000)
    ]
    assert chance_jaccard(200, 40, 60) == pytest.approx(np.mean(found), rel=0.02)


@given(st.lists(st.tuples(st.integers(1, 50), numbers), min_size=2, max_size=8))
def test_area_is_scipys_trapezoids(steps: list[tuple[int, float]]) -> None:
    labeled = np.cumsum([step for step, _ in steps]).tolist()
    values = [value for _, value in steps]
    expected = integrate.trapezoid(values, labeled) / (labeled[-1] - labeled[0])
    assert mean_over_labels(labeled, values) == pytest.approx(expected, abs=1e-9)


def test_labels_needed_in_closed_form() -> None:
    labeled, values = [10, 20, 30], [1.0, 2.0, 1.0]
    assert labels_needed(labeled, values, 1.5) == 15
    assert labels_needed(labeled, values, 0.5) == 10
    assert labels_needed(labeled, values, 2.0) == 20
    assert labels_needed(labeled, values, 2.1) is None
    assert labels_needed(labeled, [4.0, 2.0, 3.0], 3.0, larger_is_better=False) == 15


@given(st.lists(numbers, min_size=2, max_size=6), numbers)
def test_labels_needed_is_the_first_crossing_of_the_drawn_curve(values: list[float], target: float) -> None:
    labeled = [100 * k for k in range(len(values))]
    grid = np.arange(labeled[-1] + 1)
    above = grid[np.interp(grid, labeled, values) >= target]
    found = labels_needed(labeled, values, target)
    if found is None:
        assert len(above) == 0
    else:
        assert np.interp(found, labeled, values) == pytest.approx(max(target, values[0]) if found == 0 else target)
        assert not len(above) or above[0] == pytest.approx(np.ceil(found - 1e-9))


@pytest.mark.parametrize("broken", [[], [float("nan")], [float("inf"), 1.0]])
def test_what_is_no_number_is_refused(broken: list[float]) -> None:
    with pytest.raises(ValueError, match="numbers are needed"):
        summarize(broken)
    with pytest.raises(ValueError, match="numbers are needed"):
        mean_over_labels([1, 2][: len(broken)], broken)
    if broken:
        with pytest.raises(ValueError, match="numbers are needed"):
            paired_difference(dict(enumerate(broken)), dict.fromkeys(range(2), 0.0))


def test_curves_need_growing_labels() -> None:
    with pytest.raises(ValueError, match="growing"):
        mean_over_labels([2, 2], [1.0, 1.0])
    with pytest.raises(ValueError, match="two empty"):
        jaccard([], [])
