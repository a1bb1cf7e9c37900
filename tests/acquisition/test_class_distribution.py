"""Class-distribution guided selection against Sec. III of the occupancy paper, transcribed word by word."""

import itertools
import math

import numpy as np
import pytest
import torch

from al_lightning.acquisition import (
    Acquisition,
    FrequencyWeightedUncertainty,
    InterSampleDiversity,
    IntraSetDiversity,
    L2Norm,
    RobustMinMax,
    Selection,
)
from al_lightning.types import Summary

TERMS = ("inter", "intra", "uncertainty")
SUBSETS = [subset for size in (1, 2, 3) for subset in itertools.combinations(TERMS, size)]
BUDGET = 12
LABELED = 15


def divergence(p, q) -> float:
    value = 0.0
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        mean = (a + b) / 2
        value += sum(x / 2 * math.log2(x / mean) for x in (a, b) if x > 0)
    return max(value, 0.0)


def normalized(x: np.ndarray) -> np.ndarray:
    """Median, interquartile range, min-max; the degenerate cases as documented."""
    low, high = np.percentile(x, [25, 75])
    robust = (x - np.median(x)) / (high - low if high > low else 1.0)
    spread = robust.max() - robust.min()
    return (robust - robust.min()) / spread if spread > 0 else np.zeros_like(x)


class Pool:
    """One cycle: candidates, labeled set, and the divergences between them."""

    def __init__(self, pool: np.ndarray, labeled: np.ndarray, uncertainty: np.ndarray) -> None:
        self.histogram, self.labeled, self.uncertainty = pool, labeled, uncertainty
        self.inter = np.array([min(divergence(s, other) for other in labeled) for s in pool])  # Eq. 2
        self.pairs = np.array([[divergence(s, r) for r in pool] for s in pool])

    def scores(self, picked: list[int], terms, scope) -> np.ndarray:
        """CAS (Eq. 8) of every candidate given the set picked so far; -1 for those in it."""
        rest = [s for s in range(len(self.histogram)) if s not in picked]
        columns = []
        for name, static in (("inter", self.inter), ("uncertainty", self.uncertainty)):
            if name in terms:
                columns.append(normalized(static)[rest] if scope == "pool" else normalized(static[rest]))
        if "intra" in terms:
            intra = np.array([min((self.pairs[s, r] for r in picked), default=0.0) for s in rest])  # Eq. 3
            columns.append(normalized(intra) if picked else np.zeros(len(rest)))
        scores = np.full(len(self.histogram), -1.0)
        scores[rest] = np.linalg.norm(np.stack(columns), axis=0)
        return scores

    def select(self, terms, scope) -> list[int]:
        picked: list[int] = []
        for _ in range(BUDGET):
            picked.append(int(np.argmax(self.scores(picked, terms, scope))))
        return picked

    def check(self, picks: list[int], terms, scope) -> None:
        """Every pick has the largest score, up to rounding, and is the first of the candidates equal to it."""
        assert len(set(picks)) == len(picks) == BUDGET
        for j, pick in enumerate(picks):
            scores = self.scores(picks[:j], terms, scope)
            assert scores[pick] >= scores.max() - 1e-12
            rows = np.c_[self.histogram, self.uncertainty]
            same = [s for s in np.flatnonzero((rows == rows[pick]).all(1)) if s not in picks[:j]]
            assert pick == same[0]


def make(family: str, n: int) -> Pool:
    generator = np.random.default_rng([n, len(family)])
    uncertainty = generator.gamma(2.0, size=n)
    rows = generator.dirichlet(np.full(18, 0.5), n + LABELED)
    if family == "skewed":
        uncertainty[generator.random(n) < 0.9] = 0.5  # IQR 0
    if family == "sparse":  # few voxels: many classes absent, many values equal
        rows = generator.multinomial(8, generator.dirichlet(np.full(10, 0.2), n + LABELED)) / 8
    if family == "one-hot":
        rows = np.eye(12)[generator.integers(0, 12, n + LABELED)]
        uncertainty = generator.integers(0, 4, n).astype(np.float64)
    if family == "tripled":  # every candidate three times, one of them labeled already
        rows[:n], uncertainty = (np.tile(x[: n // 3], (3,) + (1,) * (x.ndim - 1)) for x in (rows, uncertainty))
        rows[-1] = rows[0]
    return Pool(rows[:n], rows[n:], uncertainty)


FAMILIES = [("random", 40), ("random", 200), ("skewed", 60), ("sparse", 60), ("one-hot", 50), ("tripled", 60)]


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: f"{family[0]}-{family[1]}")
def pool(request):
    return request.param[0], make(*request.param)


def select(histogram, labeled, uncertainty, budget=BUDGET, terms=TERMS, scope="pool") -> Selection:
    criteria = {
        "inter": InterSampleDiversity(), "intra": IntraSetDiversity(), "uncertainty": FrequencyWeightedUncertainty()
    }  # fmt: skip
    weights = {name: float(name in terms) for name in criteria}
    acquisition = Acquisition(criteria, weights, RobustMinMax(), L2Norm(), scope)
    fields = {"class_histogram": histogram, "frequency_weighted_entropy": uncertainty}
    known = Summary(torch.arange(len(labeled)), {"class_histogram": labeled})
    return acquisition.select(Summary(torch.arange(len(histogram)), fields), known, budget, torch.Generator())


def run(pool: Pool, terms, scope) -> list[int]:
    arrays = (torch.from_numpy(x) for x in (pool.histogram, pool.labeled, pool.uncertainty))
    return select(*arrays, terms=terms, scope=scope).units.tolist()


@pytest.mark.parametrize("scope", ["pool", "remaining"])
@pytest.mark.parametrize("terms", SUBSETS, ids="+".join)
def test_equals_the_transcription(pool, terms, scope):
    family, cycle = pool
    picks = run(cycle, terms, scope)
    cycle.check(picks, terms, scope)
    if family != "sparse":  # there, scores that are equal on paper differ by rounding
        assert picks == cycle.select(terms, scope)


def test_scopes_differ():
    cycle = make("random", 40)
    cycle.uncertainty[7] = 1e3  # picked first; afterwards it stretches the scale of the rest only under scope "pool"
    one, other = (run(cycle, ("inter", "uncertainty"), scope) for scope in ("pool", "remaining"))
    assert one[0] == other[0] == 7
    assert one != other


def test_intra_alone_starts_with_the_first_row():
    cycle = make("random", 40)
    assert run(cycle, ("intra",), "pool")[0] == 0


def test_identical_candidates_keep_their_order():
    histogram = torch.full((9, 4), 0.25)
    assert select(histogram, histogram[:2], torch.ones(9), 9).units.tolist() == list(range(9))


def test_float32_histograms_are_accepted():
    cycle = make("random", 40)
    arguments = [torch.from_numpy(x).float() for x in (cycle.histogram, cycle.labeled, cycle.uncertainty)]
    assert len(select(*arguments, 5).units) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labeled": torch.empty(0, 2)}, "no labeled histogram"),
        ({"histogram": torch.full((4, 2), 0.6)}, "must hold class histograms"),
        ({"labeled": torch.tensor([[1.5, -0.5]])}, "must hold class histograms"),
        ({"labeled": torch.tensor([[1.0]])}, "same number of classes"),
    ],
)
def test_refusals(changes, message):
    histogram = torch.full((4, 2), 0.5)
    with pytest.raises(ValueError, match=message):
        select(**({"histogram": histogram, "labeled": histogram, "uncertainty": torch.ones(4), "budget": 2} | changes))
