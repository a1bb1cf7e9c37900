"""The fused greedy core against the plain one, bit for bit."""

import itertools

import numpy as np
import pytest
import torch

from al_lightning.acquisition import DivideByDeviation, Identity, L2Norm, RobustMinMax, Term, WeightedSum, greedy
from al_lightning.acquisition.combination import fusion
from al_lightning.acquisition.functional import NearestPickedDivergence, PickedDivergence, min_jensen_shannon
from al_lightning.acquisition.selection import Picks

TERMS = ("inter", "intra", "uncertainty")
SUBSETS = [subset for size in (1, 2, 3) for subset in itertools.combinations(TERMS, size)]
FAMILIES = ("random", "sparse", "clustered", "duplicates")
N = 600  # more than one block


class Pool:
    def __init__(self, family: str, n: int = N) -> None:
        generator = np.random.default_rng(len(family))
        rows, uncertainty = generator.dirichlet(np.full(18, 0.4), n + 30), generator.gamma(2.0, size=n)
        if family == "sparse":
            rows = generator.multinomial(6, generator.dirichlet(np.full(10, 0.2), n + 30)) / 6
        if family == "clustered":
            rows = 0.99 * rows[generator.integers(0, 6, n + 30)] + 0.01 * rows
        if family == "duplicates":  # ties everywhere
            rows, uncertainty = rows[generator.integers(0, 40, n + 30)], generator.integers(0, 2, n).astype(np.float64)
        self.histogram, labeled = torch.from_numpy(rows[:n]), torch.from_numpy(rows[n:])
        self.inter, self.uncertainty = min_jensen_shannon(self.histogram, labeled), torch.from_numpy(uncertainty)

    def terms(self, names, weights, nearest) -> dict[str, Term]:
        all_terms = {
            "inter": Term(self.inter, weight=weights[0]),
            "intra": Term(torch.zeros(len(self.inter), dtype=torch.float64), nearest(self.histogram).add, weights[1]),
            "uncertainty": Term(self.uncertainty, weight=weights[2]),
        }
        return {name: all_terms[name] for name in names}


@pytest.fixture(scope="module", params=FAMILIES)
def pool(request):
    return Pool(request.param)


def both(pool, names=TERMS, budget=60, scope="pool", normalizer=None, combiner=None, weights=(1.0, 1.0, 1.0)):
    normalizer, combiner = normalizer or RobustMinMax(), combiner or L2Norm()
    parts = {"normalize": normalizer, "combine": combiner, "scope": scope}
    plain = greedy(pool.terms(names, weights, NearestPickedDivergence), budget, **parts)
    declared = fusion(normalizer, combiner)
    assert declared is not None
    return plain, greedy(pool.terms(names, weights, PickedDivergence), budget, fusion=declared, **parts)


def same(plain: Picks, fused: Picks) -> None:
    for field, one, other in zip(Picks._fields, plain, fused, strict=True):
        assert torch.equal(one, other), field


@pytest.mark.parametrize("scope", ["pool", "remaining"])
@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_picks_and_scores_are_the_same(pool, names, scope):
    same(*both(pool, names, scope=scope))


@pytest.mark.parametrize("scope", ["pool", "remaining"])
@pytest.mark.parametrize("combiner", [L2Norm(), WeightedSum()])
@pytest.mark.parametrize("normalizer", [RobustMinMax(), Identity()])
def test_any_declared_parts_and_weights(normalizer, combiner, scope):
    weights = (0.3, 2.0, 1.7)
    same(*both(Pool("random"), scope=scope, normalizer=normalizer, combiner=combiner, weights=weights))


@pytest.mark.parametrize("scope", ["pool", "remaining"])
@pytest.mark.parametrize("family", FAMILIES)
def test_to_the_last_candidate(family, scope):
    same(*both(Pool(family, 60), budget=60, scope=scope))


def changing(seed: int, share: float, rounded: int, n: int) -> Term:
    """A term of which every pick moves a share of the scores up and down; rounded to few values, for ties."""
    generator = np.random.default_rng(seed)
    scores = generator.random(n).round(rounded)

    def update(position: int) -> torch.Tensor:
        moved = generator.random(n) < share
        scores[moved] = (scores[moved] + generator.normal(0, 0.2, moved.sum())).round(rounded)
        return torch.from_numpy(scores.copy())

    return Term(torch.from_numpy(scores.copy()), update)


@pytest.mark.parametrize("scope", ["pool", "remaining"])
@pytest.mark.parametrize("combiner", [L2Norm(), WeightedSum()])
@pytest.mark.parametrize("normalizer", [RobustMinMax(), Identity()])
@pytest.mark.parametrize(("share", "rounded"), [(0.001, 9), (0.001, 1), (0.1, 2)])
def test_scores_that_rise_and_fall(share, rounded, normalizer, combiner, scope):
    declared = fusion(normalizer, combiner)
    plain, fused = (
        greedy(
            {"one": changing(1, share, rounded, 1700), "static": Term(torch.arange(1700.0) % 7 / 7),
             "other": changing(2, share / 2, rounded, 1700)},
            50, normalize=normalizer, combine=combiner, scope=scope, fusion=how,
        )
        for how in (None, declared)
    )  # fmt: skip
    same(plain, fused)


def test_what_declares_nothing_is_left_to_the_plain_core():
    assert fusion(DivideByDeviation(), L2Norm()) is None
    assert fusion(RobustMinMax(), lambda terms, weights: terms.amax(0)) is None


@pytest.mark.parametrize(
    ("scores", "update", "weight", "message"),
    [
        ([0.0, 1, 2], [float("nan"), 0, 0], 1.0, "'it' are not finite"),
        ([0.0, 1, 2], [float("inf"), 0, 0], 1.0, "'it' are not finite"),
        ([0.0, 1, 2], [0.0, 0], 1.0, "shape"),
        ([0.0, 1, 2], [-1e308, 1e308, 0], 1.0, "range"),
        ([0.0, 1, 2], [0.0, 0, 0], 1e200, "'combined' are not finite"),
    ],
)
def test_both_cores_refuse_the_same(scores, update, weight, message):
    term = Term(
        torch.tensor(scores, dtype=torch.float64), lambda position: torch.tensor(update, dtype=torch.float64), weight
    )
    for declared in (None, fusion(RobustMinMax(), L2Norm())):
        with pytest.raises(ValueError, match=message):
            greedy({"it": term}, 2, normalize=RobustMinMax(), combine=L2Norm(), fusion=declared)


def test_both_cores_refuse_scores_that_fall_beyond_what_is_finite():
    scores = torch.zeros(1100, dtype=torch.float64)  # several blocks
    term = Term(scores, lambda position: scores.index_fill(0, torch.tensor([1050]), -1e300), 1e10)
    for declared in (None, fusion(Identity(), WeightedSum())):
        with pytest.raises(ValueError, match="'combined' are not finite"):
            greedy({"it": term}, 2, normalize=Identity(), combine=WeightedSum(), fusion=declared)
