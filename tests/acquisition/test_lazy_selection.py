"""Lazy k-center against the greedy core with all distances, bit for bit."""

import sys

import numpy as np
import pytest
import torch

from al_lightning.acquisition import Acquisition, Identity, KCenter, L2Norm, Term, WeightedSum, greedy
from al_lightning.acquisition.combination import fusion
from al_lightning.acquisition.functional import LazyCenterDistance, NearestCenterDistance
from al_lightning.acquisition.lazy_selection import FRONT
from al_lightning.acquisition.selection import Picks
from al_lightning.types import Summary

FAMILIES = ("normal", "clustered", "close", "grid", "duplicates", "far", "huge", "tiny", "equal", "flat")


def embeddings(family: str, n: int, d: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(len(family))
    x = generator.standard_normal((n + 8, d))
    if family == "clustered":
        x = x[generator.integers(0, 9, n + 8)] + 1e-3 * x
    if family == "close":  # closer than float32 can tell
        x = x[generator.integers(0, 9, n + 8)] + 1e-8 * x
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


@pytest.fixture(params=[(1 / 8, 256), (1.0, 1000), (0.0, 1), (1 / 8, 7)], ids=["usual", "some", "all", "often"])
def narrow(monkeypatch, request):
    """A view so narrow that it is renewed many times, in whichever way the others are brought up to date."""
    for name, value in zip(("FRONT", "MANY", "TOGETHER"), (20, *request.param), strict=True):
        monkeypatch.setattr(f"al_lightning.acquisition.lazy_selection.{name}", value)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_picks_are_the_same(narrow, family, dtype):
    pool, labeled = (x.to(dtype) for x in embeddings(family, 300))
    assert torch.equal(lazy(pool, labeled, 120), reference(pool, labeled, 120).picks)


@pytest.mark.parametrize("family", ["normal", "grid", "equal"])
def test_to_the_last_candidate(narrow, family):
    pool, labeled = embeddings(family, 70)
    assert torch.equal(lazy(pool, labeled, 70), reference(pool, labeled, 70).picks)


class Steps:
    """Scores (N,) that fall by whole steps (N, N), whatever is picked: ties everywhere."""

    def __init__(self, generator: np.random.Generator, n: int) -> None:
        self.scores, self.steps, self.count = generator.integers(0, 12, n), generator.integers(0, 2, (n, n)), 0

    def notice(self, position: int) -> None:
        self.count += 1

    def refresh(self, positions: np.ndarray) -> np.ndarray:
        return np.maximum(self.scores - self.steps[: self.count].sum(0), 0)[positions].astype(np.float64)

    def update(self, position: int) -> torch.Tensor:
        self.notice(position)
        return torch.from_numpy(self.refresh(np.arange(len(self.scores))))


@pytest.mark.parametrize("combine", [WeightedSum(), L2Norm()])
def test_any_scores_that_fall(narrow, combine):
    for seed in range(20):
        plain, falling = (Steps(np.random.default_rng(seed), 60) for _ in range(2))
        start = torch.from_numpy(plain.refresh(np.arange(60)))
        arguments = {"normalize": Identity(), "combine": combine}
        expected = greedy({"it": Term(start, plain.update)}, 50, **arguments)
        found = greedy({"it": Term(start, falling=falling)}, 50, **arguments, fusion=fusion(Identity(), combine))
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


WAYS = {  # of finding inner products; DOUBTFUL of 9: never too many
    "float32": {"FEW": 0, "COARSE": False},
    "bfloat16": {"FEW": 0, "COARSE": True, "DOUBTFUL": 9},
    "both": {"FEW": 0, "COARSE": True},
    "one by one": {"FEW": 1000},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_distances_are_the_same(monkeypatch, family, way):
    """In blocks of candidates and centers, whichever way inner products are found."""
    for name, value in {"ROWS": 64, "CENTERS": 3, **WAYS[way]}.items():
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


def test_threads_do_not_matter(monkeypatch):
    monkeypatch.setattr("al_lightning.acquisition.functional.nearest_center.SHARED", 1)
    pool, labeled = embeddings("clustered", 400)
    expected, threads = reference(pool, labeled, 60), torch.get_num_threads()
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            assert torch.equal(lazy(pool, labeled, 60), expected.picks)
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)


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


def counted(monkeypatch, pool, labeled, budget) -> tuple[int, int]:
    """How often more candidates than those in view are brought up to date, and how many distances that computes."""
    module = sys.modules["al_lightning.acquisition.functional.nearest_center"]
    lower, refresh, computed, passes = module.lower_nearest, LazyCenterDistance.refresh, [], []

    def counting(*arguments):
        result = lower(*arguments)
        computed.append(result[0])
        return result

    def asking(self, positions):
        passes.append(len(positions) > FRONT)
        return refresh(self, positions)

    monkeypatch.setattr(module, "lower_nearest", counting)
    monkeypatch.setattr(LazyCenterDistance, "refresh", asking)
    lazy(pool, labeled, budget)
    return sum(passes), sum(computed)


@pytest.mark.parametrize("family", ["normal", "clustered", "equal", "grid"])
def test_passes_over_the_candidates_are_few_and_most_distances_never_computed(monkeypatch, family):
    d = 32 if family == "normal" else 4
    pool, labeled = embeddings(family, 6400, d)
    passes, computed = counted(monkeypatch, pool, labeled + (family == "equal"), 300)  # "grid", "equal": ties
    assert passes < 20
    assert computed < 20 * 6400
