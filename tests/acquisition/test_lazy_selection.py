"""Lazy k-center against the greedy core with all distances, bit for bit."""

import sys

import numpy as np
import pytest
import torch

from al_lightning.acquisition import Acquisition, Identity, KCenter, L2Norm, Term, WeightedSum, greedy
from al_lightning.acquisition.functional import LazyCenterDistance, NearestCenterDistance
from al_lightning.acquisition.selection import Picks
from al_lightning.types import Summary

FAMILIES = ("normal", "clustered", "grid", "duplicates", "far", "huge", "tiny", "equal", "flat")


def embeddings(family: str, n: int, d: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(len(family))
    x = generator.standard_normal((n + 8, d))
    if family == "clustered":
        x = x[generator.integers(0, 9, n + 8)] + 1e-3 * x
    if family == "grid":  # ties everywhere
        x = generator.integers(0, 2, (n + 8, d)).astype(np.float64)
    if family == "duplicates":
        x = x[generator.integers(0, 30, n + 8)]
    if family == "far":  # differences cancel in float32, and nearly in float64
        x = 1e6 + 1e-3 * x
    if family in ("huge", "tiny"):
        x *= 1e30 if family == "huge" else 1e-30
    if family == "equal":
        x[:] = x[0]
    if family == "flat":  # one coordinate above all others
        x[:, 0] *= 1e6
    return torch.from_numpy(x[:n]), torch.from_numpy(x[n:])


def reference(pool, labeled, budget, combine=WeightedSum(), weight=1.0) -> Picks:  # noqa: B008 (it has no state)
    nearest = NearestCenterDistance(pool, labeled)
    terms = {"distance": Term(nearest.distance, nearest.add, weight)}
    return greedy(terms, budget, normalize=Identity(), combine=combine)


def lazy(pool, labeled, budget) -> torch.Tensor:
    x, y = (Summary(torch.arange(len(z)), {"embedding": z}) for z in (pool, labeled))
    acquisition = Acquisition({"it": KCenter()}, normalizer=Identity(), combiner=WeightedSum())
    return acquisition.select(x, y, budget, torch.Generator()).units


@pytest.fixture
def narrow(monkeypatch):
    """A view so narrow that it is renewed many times."""
    monkeypatch.setattr("al_lightning.acquisition.lazy_selection.FRONT", 20)
    monkeypatch.setattr("al_lightning.acquisition.lazy_selection.BATCH", 3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_picks_are_the_same(narrow, family, dtype):
    pool, labeled = (x.to(dtype) for x in embeddings(family, 300))
    assert torch.equal(lazy(pool, labeled, 120), reference(pool, labeled, 120).picks)


@pytest.mark.parametrize("family", ["normal", "grid", "equal"])
def test_to_the_last_candidate(narrow, family):
    pool, labeled = embeddings(family, 70)
    assert torch.equal(lazy(pool, labeled, 70), reference(pool, labeled, 70).picks)


@pytest.mark.parametrize("few", [0, 1000])
@pytest.mark.parametrize("family", FAMILIES)
def test_distances_are_the_same(monkeypatch, family, few):
    """In blocks of candidates and centers, whichever way inner products are found."""
    for name, value in (("FEW", few), ("ROWS", 64), ("CENTERS", 3)):
        monkeypatch.setattr(f"al_lightning.acquisition.functional.nearest_center.{name}", value)
    pool, labeled = embeddings(family, 200, d=7)
    lazy, all_pairs = LazyCenterDistance(pool, labeled), NearestCenterDistance(pool, labeled)
    assert torch.equal(lazy.distance, all_pairs.distance)
    for position in (3, 150, 77, 4, 0):
        assert torch.equal(lazy.add(position), all_pairs.add(position))
    some = np.array([9, 150, 3, 120])
    for position in (1, 199, 60, 61, 100):
        lazy.notice(position)
        expected = all_pairs.add(position)
        if position == 60:  # these have seen more centers than the others
            assert np.array_equal(lazy.refresh(some), expected.numpy()[some])
    assert np.array_equal(lazy.refresh(np.arange(200)), expected.numpy())


@pytest.mark.parametrize(("combiner", "weight"), [(WeightedSum(), 1.0), (WeightedSum(), 0.3), (L2Norm(), 2.0)])
def test_an_acquisition_reports_the_same_scores(narrow, combiner, weight):
    x, y = embeddings("duplicates", 150)
    pool, labeled = (Summary(torch.arange(len(z)), {"embedding": z}) for z in (x, y))
    acquisition = Acquisition({"it": KCenter()}, {"it": weight}, Identity(), combiner)
    expected = reference(x, y, 40, combiner, weight)
    for _ in range(2):  # criteria start anew
        selection = acquisition.select(pool, labeled, 40, torch.Generator())
        assert torch.equal(selection.units, expected.picks)
        assert torch.equal(selection.scores["it"], expected.raw[0])
        assert torch.equal(selection.scores["it_normalized"], expected.normalized[0])
        assert torch.equal(selection.scores["score"], expected.combined)


def counted(monkeypatch, pool, labeled, budget) -> tuple[list[int], list[int]]:
    """How many candidates each refresh is asked for, and how many distances it computes."""
    module = sys.modules["al_lightning.acquisition.functional.nearest_center"]
    lower, refresh, computed, asked = module.lower_nearest, LazyCenterDistance.refresh, [0], []

    def counting(*arguments):
        computed[-1] += lower(*arguments)

    def asking(self, positions):
        asked.append(len(positions))
        computed.append(0)
        return refresh(self, positions)

    monkeypatch.setattr(module, "lower_nearest", counting)
    monkeypatch.setattr(LazyCenterDistance, "refresh", asking)
    lazy(pool, labeled, budget)
    return asked, computed[1:]


def test_most_distances_are_never_computed(monkeypatch):
    asked, computed = counted(monkeypatch, *embeddings("normal", 5000, d=32), 300)
    assert sum(asked[:-1]) < 0.1 * 5000 * 300
    assert asked[-1] == 5000  # the scores that are reported
    assert sum(computed) < 0.1 * 5000 * 300


@pytest.mark.parametrize("family", ["equal", "grid"])
def test_ties_do_not_cost_a_pass_over_the_candidates(monkeypatch, family):
    pool, labeled = embeddings(family, 6400, d=4)
    asked, computed = counted(monkeypatch, pool, labeled + (family == "equal"), 300)
    assert len(asked) < 1000  # two a pick, and one for 64 candidates whose distance has fallen
    assert sum(computed) < 20 * 6400
