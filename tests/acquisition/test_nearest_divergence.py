"""Pruned divergences against all of them, bit for bit, and the bound that prunes."""

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from al_lightning.acquisition import InterSampleDiversity, IntraSetDiversity
from al_lightning.acquisition.functional import (
    ApproximatePickedDivergence,
    NearestPickedDivergence,
    PickedDivergence,
    approximate_nearest_divergence,
    jensen_shannon,
    min_jensen_shannon,
    nearest_divergence,
)
from al_lightning.acquisition.functional.divergence_kernel import log2
from al_lightning.acquisition.threads import one_thread
from al_lightning.types import Summary

FAMILIES = ("random", "sparse", "clustered", "one-hot", "tripled", "unnormalized")


def histograms(family: str, n: int, seed: int = 0) -> torch.Tensor:
    generator = np.random.default_rng([seed, n])
    rows = generator.dirichlet(np.full(18, 0.5), n)
    if family == "sparse":
        rows = generator.multinomial(8, generator.dirichlet(np.full(18, 0.2), n)) / 8
    if family == "clustered":
        rows = rows[generator.integers(0, min(5, n), n)] + 1e-3 * rows
    if family == "one-hot":
        rows = np.eye(18)[generator.integers(0, 18, n)]
    if family == "tripled":
        rows = np.tile(rows[: n // 3 + 1], (3, 1))[:n]
    rows /= rows.sum(1, keepdims=True)
    if family == "unnormalized":  # as far from a sum of 1 as is let pass
        rows *= generator.uniform(1 - 9e-5, 1 + 9e-5, (n, 1))
    return torch.from_numpy(rows)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(*[st.floats(0, 1) | st.floats(0, 1e-12)] * 2), min_size=2, max_size=18))
def test_divergence_lies_between_the_hellinger_bounds(pairs):
    p, q = torch.tensor(pairs, dtype=torch.float64).T
    if not (p.sum() > 1e-9 and q.sum() > 1e-9):
        return
    p, q = p / p.sum(), q / q.sum()
    squared = float((p.sqrt() - q.sqrt()).square().sum() / 2)
    assert squared - 1e-14 <= float(jensen_shannon(p, q)) <= squared / math.log(2) + 1e-14


def test_both_bounds_are_reached():
    assert float(jensen_shannon(torch.tensor([1.0, 0]), torch.tensor([0.0, 1]))) == 1  # disjoint: h2 = 1
    p, q = torch.tensor([[0.5 + 1e-4, 0.5 - 1e-4], [0.5, 0.5]], dtype=torch.float64)  # close: h2 / ln 2
    squared = float((p.sqrt() - q.sqrt()).square().sum() / 2)
    assert float(jensen_shannon(p, q)) * math.log(2) / squared == pytest.approx(1, abs=1e-6)


def test_logarithm():
    powers = np.arange(-1000.0, 1.0)
    assert np.array_equal(log2(2.0**powers), powers)
    generator = np.random.default_rng(0)
    x = np.concatenate(
        [generator.random(10_000), 2.0 ** generator.uniform(-900, 0, 10_000), 1 - 2.0 ** -np.arange(1, 53)]
    )
    exact = np.array([math.log2(value) for value in x])
    assert (np.abs(log2(x) - exact) <= 2 * np.spacing(np.abs(exact))).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (511, 40), (1100, 300)])
def test_pruned_minimum_is_that_of_all_pairs(family, n, m):
    both = histograms(family, n + m)
    assert torch.equal(nearest_divergence(both[:n], both[n:]), min_jensen_shannon(both[:n], both[n:]))


@pytest.mark.parametrize("family", FAMILIES)
def test_pruned_picks_are_those_of_all_pairs(family):
    candidates = histograms(family, 700)
    pruned, reference = PickedDivergence(candidates), NearestPickedDivergence(candidates)
    for position in np.random.default_rng(1).permutation(700)[:60].tolist():
        assert torch.equal(pruned.add(position), reference.add(position))


@pytest.mark.parametrize("classes", [1, 2, 5, 6, 7, 20, 40])
def test_any_number_of_classes(classes):
    generator = np.random.default_rng(classes)
    rows = generator.dirichlet(np.full(classes, 0.3), 650)
    rows[::3] = np.eye(classes)[generator.integers(0, classes, len(rows[::3]))]
    p, q = torch.from_numpy(rows[:600]), torch.from_numpy(rows[600:])
    assert torch.equal(nearest_divergence(p, q), min_jensen_shannon(p, q))


def test_near_histograms_are_told_apart():
    generator = np.random.default_rng(0)
    center = generator.dirichlet(np.full(18, 0.5))
    for spread in (1e-1, 1e-3, 1e-5, 1e-9):  # of roots: from far more to far less than they are rounded to
        rows = center * (1 + spread * generator.uniform(-1, 1, (700, 18)))
        p, q = torch.from_numpy(rows / rows.sum(1, keepdims=True)).split((600, 100))
        assert torch.equal(nearest_divergence(p, q), min_jensen_shannon(p, q))


def test_float32_histograms_are_compared_as_they_are():
    p, q = histograms("random", 600).float(), histograms("random", 50, 1).float()
    assert torch.equal(nearest_divergence(p, q), min_jensen_shannon(p, q))


def test_threads_do_not_matter(monkeypatch):
    monkeypatch.setattr(sys.modules["al_lightning.acquisition.functional.nearest_divergence"], "SHARED", 1)
    p, q, threads = histograms("random", 1700), histograms("random", 40, 1), torch.get_num_threads()
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            assert torch.equal(nearest_divergence(p, q), min_jensen_shannon(p, q))
    finally:
        torch.set_num_threads(threads)


@one_thread()
def picked(divergence: PickedDivergence) -> torch.Tensor:
    """As in the greedy core."""
    return divergence.add(3)


def test_picks_are_taken_in_on_the_threads_of_the_caller(monkeypatch):
    module = sys.modules["al_lightning.acquisition.functional.nearest_divergence"]
    calls, lower = [], module.lower_nearest
    monkeypatch.setattr(module, "SHARED", 1)
    monkeypatch.setattr(module, "lower_nearest", lambda *args: calls.append(args) or lower(*args))
    candidates, threads = histograms("random", 1700), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(picked(PickedDivergence(candidates)), NearestPickedDivergence(candidates).add(3))
    finally:
        torch.set_num_threads(threads)
    assert len(calls) == 3


def test_equal_histograms_are_computed_once(monkeypatch):
    computed = []
    module = sys.modules["al_lightning.acquisition.functional.nearest_divergence"]
    lower = module.lower_nearest
    monkeypatch.setattr(module, "lower_nearest", lambda *args: computed.append(lower(*args)) or computed[-1])
    divergence = PickedDivergence(histograms("random", 1).repeat(1000, 1))
    for position in range(5):
        divergence.add(position)
    assert computed == [1000, 0, 0, 0, 0]


def test_most_pairs_are_never_computed(monkeypatch):
    computed = []
    module = sys.modules["al_lightning.acquisition.functional.nearest_divergence"]
    lower = module.lower_nearest
    monkeypatch.setattr(module, "lower_nearest", lambda *args: computed.append(lower(*args)))
    nearest_divergence(histograms("random", 2000), histograms("random", 1000, 1))
    assert 2000 <= sum(computed) < 2000 * 1000 * 0.03


@pytest.mark.parametrize("family", FAMILIES)
def test_retrieved_divergences_are_exact_where_all_are_retrieved(family):
    both = histograms(family, 340)
    p, q = both[:300], both[300:]
    assert torch.equal(approximate_nearest_divergence(p, q, 50), min_jensen_shannon(p, q))
    approximate, reference = ApproximatePickedDivergence(p, 400), NearestPickedDivergence(p)
    for position in (5, 299, 7):
        assert torch.equal(approximate.add(position), reference.add(position))


def test_few_retrieved_divergences_are_mostly_right_and_never_too_small():
    both = histograms("random", 12_500)
    p, q = both[:1000], both[1000:]  # enough for inverted lists
    exact, found = min_jensen_shannon(p, q), approximate_nearest_divergence(p, q, 10)
    assert bool((found >= exact).all())
    assert float((found == exact).double().mean()) > 0.9
    approximate, reference = ApproximatePickedDivergence(p, 50), NearestPickedDivergence(p)
    for position in range(40):
        found, exact = approximate.add(position), reference.add(position)
    assert bool((found >= exact).all())
    assert 0.5 < float((found == exact).double().mean()) < 1


def test_criteria_take_the_paper_s_way_on_demand():
    p, q = histograms("random", 100), histograms("random", 30, 1)
    pool, labeled = (Summary(torch.arange(len(x)), {"class_histogram": x}) for x in (p, q))
    generator = torch.Generator()
    assert torch.equal(
        InterSampleDiversity(neighbors=3).score(pool, labeled, generator), approximate_nearest_divergence(p, q, 3)
    )
    criterion, approximate = IntraSetDiversity(neighbors=3), ApproximatePickedDivergence(p, 3)
    criterion.score(pool, labeled, generator)
    for position in (3, 50):
        assert torch.equal(criterion.update(position), approximate.add(position))


def test_refusals():
    good = histograms("random", 4)
    with pytest.raises(ValueError, match="no labeled histogram"):
        nearest_divergence(good, good[:0])
    with pytest.raises(ValueError, match=r"^p must hold"):
        nearest_divergence(2 * good, good)
    with pytest.raises(ValueError, match=r"^histogram must hold"):
        PickedDivergence(2 * good)
    for function in (
        lambda: approximate_nearest_divergence(good, good, 0),
        lambda: ApproximatePickedDivergence(good, 0),
    ):
        with pytest.raises(ValueError, match="one or more neighbors"):
            function()
    with pytest.raises(ValueError, match=r"^p must hold"):
        approximate_nearest_divergence(2 * good, good, 1)
    with pytest.raises(ValueError, match="must hold"):
        ApproximatePickedDivergence(-good, 1)
