"""The planning criteria: what they read, and that an `Acquisition` of them ranks by the value score Q."""

import pytest
import torch

from al_lightning.acquisition import (
    Acquisition,
    DivideByDeviation,
    Rarity,
    SafetyCriticality,
    Uncertainty,
    WeightedSum,
)
from al_lightning.acquisition.functional import (
    dispersion,
    divide_by_deviation,
    hazardous_scenes,
    rarity,
    safety_criticality,
)
from al_lightning.types import Summary

N, M, S, D = 40, 20, 10, 6


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def pool():
    samples = torch.randn(N, S, D, generator=seeded(1)) * torch.rand(N, 1, 1, generator=seeded(2))
    samples += torch.randn(N, 1, D, generator=seeded(3))
    fields = {"embedding": samples.mean(1), "dispersion": dispersion(samples.transpose(0, 1))}
    return Summary(torch.arange(100, 100 + N), fields)


@pytest.fixture
def labeled():
    """No stochastic embeddings; the pool in turn has no safety states."""
    fields = {"embedding": torch.randn(M, D, generator=seeded(4)), "safety": torch.rand(M, 5, generator=seeded(5))}
    return Summary(torch.arange(M), fields)


def test_each_criterion_is_its_function(pool, labeled):
    hazards = labeled["embedding"][hazardous_scenes(labeled["safety"], 0.3)]
    scores = {
        "S": SafetyCriticality(temperature=0.7, hazard_fraction=0.3).score(pool, labeled, seeded()),
        "R": Rarity(neighbors=7).score(pool, labeled, seeded()),
        "U": Uncertainty().score(pool, labeled, seeded()),
    }
    assert len(hazards) == 6
    assert torch.equal(scores["S"], safety_criticality(pool["embedding"], hazards, 0.7))
    assert torch.equal(scores["R"], rarity(pool["embedding"], 7))
    assert torch.equal(scores["U"], pool["dispersion"])
    assert all(criterion.update(3) is None for criterion in (SafetyCriticality(), Rarity(), Uncertainty()))


def test_rarity_among_labeled_scenes_too(pool, labeled):
    """A candidate with labeled scenes all around it is rare within the pool only."""
    crowd = Summary(torch.arange(30), {"embedding": torch.full((30, D), 50.0) + torch.rand(30, D, generator=seeded(6))})
    lonely = torch.cat([pool["embedding"], torch.full((1, D), 50.5)])
    candidates = Summary(torch.arange(N + 1), {"embedding": lonely})
    alone, among = (
        Rarity(5, bandwidth=1.0, population=population).score(candidates, crowd, seeded())
        for population in ("pool", "pool_and_labeled")
    )
    assert alone.argmax() == N
    assert among.argmin() == N
    assert torch.equal(among, rarity(torch.cat([lonely, crowd["embedding"]]), 5, 1.0)[: N + 1])


@pytest.mark.parametrize("weights", [{}, {"R": 0.5}, {"S": 0.0}, {"R": 0, "U": 0}], ids=str)
def test_selection_takes_the_largest_value_scores(pool, labeled, weights):
    """Q_i = a_S S_i / sigma_S + a_R R_i / sigma_R + a_U U_i / sigma_U."""
    criteria = {"S": SafetyCriticality(), "R": Rarity(), "U": Uncertainty()}
    acquisition = Acquisition(criteria, weights, DivideByDeviation(), WeightedSum())
    selection = acquisition.select(pool, labeled, 10, seeded())
    terms = {name: criterion.score(pool, labeled, seeded()) for name, criterion in criteria.items()}
    q = sum(weights.get(name, 1.0) * term / term.std(correction=0) for name, term in terms.items())
    torch.testing.assert_close(selection.scores["score"], q)
    best = q.argsort(descending=True, stable=True)[:10]
    assert selection.units.tolist() == pool.units[best].tolist()


def test_normalizer_is_its_function():
    values = torch.rand(9, generator=seeded())
    assert torch.equal(DivideByDeviation()(values), divide_by_deviation(values))


def test_equal_candidates_are_taken_in_order(labeled):
    pool = Summary(torch.arange(N), {"embedding": torch.ones(N, D), "dispersion": torch.zeros(N)})
    criteria = {"S": SafetyCriticality(), "R": Rarity(), "U": Uncertainty()}
    selection = Acquisition(criteria, None, DivideByDeviation(), WeightedSum()).select(pool, labeled, 4, seeded())
    assert selection.units.tolist() == [0, 1, 2, 3]


def test_wrong_populations_and_empty_labeled_sets_are_refused(pool, labeled):
    with pytest.raises(ValueError, match="population"):
        Rarity(population="all")
    with pytest.raises(ValueError, match="N > 0"):
        SafetyCriticality().score(pool, labeled.take(torch.arange(0)), seeded())
    with pytest.raises(ValueError, match=r"no dispersion to score: .*task\.passes"):
        Uncertainty().score(labeled, labeled, seeded())
