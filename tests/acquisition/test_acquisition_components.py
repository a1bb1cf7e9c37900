import itertools

import numpy as np
import pytest
import torch

from al_lightning.acquisition import (
    Acquisition,
    FrequencyWeightedUncertainty,
    Identity,
    InterSampleDiversity,
    IntraSetDiversity,
    KCenter,
    L2Norm,
    MeanEntropy,
    Random,
    RobustMinMax,
    WeightedSum,
)
from al_lightning.acquisition.functional import (
    jensen_shannon,
    min_jensen_shannon,
    robust_min_max,
)
from al_lightning.types import Summary

N, M, BUDGET = 60, 12, 10


def summaries(seed: int = 0) -> tuple[Summary, Summary]:
    generator = np.random.default_rng(seed)
    units = torch.from_numpy(generator.permutation(1000))
    parts = []
    for part in (units[:N], units[N : N + M]):
        fields = {
            "class_histogram": generator.dirichlet(np.full(6, 0.4), len(part)),
            "entropy": generator.random(len(part)),
            "frequency_weighted_entropy": generator.random(len(part)),
            "embedding": generator.standard_normal((len(part), 5)),
        }
        parts.append(Summary(part, {name: torch.from_numpy(values) for name, values in fields.items()}))
    return parts[0], parts[1]


def class_distribution(**changes) -> Acquisition:
    criteria = {
        "inter": InterSampleDiversity(), "intra": IntraSetDiversity(), "uncertainty": FrequencyWeightedUncertainty()
    }  # fmt: skip
    return Acquisition(**({"criteria": criteria, "normalizer": RobustMinMax(), "combiner": L2Norm()} | changes))


def alone(criterion) -> Acquisition:
    return Acquisition({"it": criterion}, normalizer=Identity(), combiner=WeightedSum())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_what_a_selection_holds():
    pool, labeled = summaries()
    selection = class_distribution(weights={"inter": 0.0}).select(pool, labeled, BUDGET, seeded())
    assert selection.units.dtype == torch.int64
    assert pool.units[selection.step.argsort()[-BUDGET:]].tolist() == selection.units.tolist()
    assert int((selection.step == -1).sum()) == N - BUDGET
    # What has weight 0 is not computed.
    assert set(selection.scores) == {"score", "intra", "intra_normalized", "uncertainty", "uncertainty_normalized"}


@pytest.mark.parametrize("criterion", [KCenter(), IntraSetDiversity(), IntraSetDiversity(neighbors=3)])
def test_criteria_keep_nothing_of_a_selection(criterion):
    before = dict(vars(criterion))
    alone(criterion).select(*summaries(), BUDGET, seeded())
    assert vars(criterion) == before


def test_criteria_start_anew_in_every_cycle():
    acquisition = class_distribution()
    first = acquisition.select(*summaries(0), BUDGET, seeded())
    acquisition.select(*summaries(1), BUDGET, seeded())
    again = acquisition.select(*summaries(0), BUDGET, seeded())
    assert torch.equal(first.units, again.units)
    assert all(torch.equal(first.scores[name], again.scores[name]) for name in first.scores)


def test_scores_of_static_criteria_are_those_of_the_pool():
    pool, labeled = summaries()
    scores = class_distribution().select(pool, labeled, BUDGET, seeded()).scores
    inter = min_jensen_shannon(pool["class_histogram"], labeled["class_histogram"])
    assert torch.equal(scores["inter"], inter)
    assert torch.equal(scores["inter_normalized"], robust_min_max(inter))
    assert torch.equal(scores["uncertainty"], pool["frequency_weighted_entropy"])


@pytest.mark.parametrize("scope", ["pool", "remaining"])
def test_scores_are_those_at_the_own_pick_and_at_the_last_pick(scope):
    pool, labeled = summaries()
    selection = class_distribution(scope=scope).select(pool, labeled, BUDGET, seeded())
    scores, histogram = selection.scores, pool["class_histogram"]
    picks = selection.step.argsort()[-BUDGET:]
    columns = torch.stack([scores[f"{name}_normalized"] for name in ("inter", "intra", "uncertainty")])
    torch.testing.assert_close(scores["score"], columns.norm(dim=0), rtol=1e-14, atol=0)
    for row in range(N):
        before = int(selection.step[row]) if selection.step[row] >= 0 else BUDGET - 1
        divergences = jensen_shannon(histogram[row], histogram[picks[:before]])
        assert float(scores["intra"][row]) == (float(divergences.min()) if before else 0)
        assert all(np.isfinite(float(values[row])) for values in scores.values())
    rest = selection.step == -1
    assert float(scores["score"][picks[-1]]) >= float(scores["score"][rest].max())
    candidates = [*picks[-1:].tolist(), *rest.nonzero()[:, 0].tolist()]
    last = robust_min_max(scores["intra"][candidates])
    assert torch.equal(scores["intra_normalized"][candidates], last)


@pytest.mark.parametrize(
    ("criterion", "field"), [(MeanEntropy, "entropy"), (MeanEntropy, "frequency_weighted_entropy")]
)
def test_static_criterion_is_a_stable_sort(criterion, field):
    pool, labeled = summaries()
    pool.fields[field] = (pool[field] * 8).round()  # many ties
    selection = alone(criterion(field)).select(pool, labeled, N, seeded())
    order = sorted(range(N), key=lambda row: -float(pool[field][row]))
    assert selection.units.tolist() == pool.units[order].tolist()


def test_static_criteria_are_renormalized_over_the_remaining():
    # Unit 6 wins by an entropy far above the rest. Over the pool it squeezes their entropies to nothing, so that unit 7
    # is next by its uncertainty; without unit 6 the entropy of unit 5 counts in full.
    pool = Summary(
        torch.tensor([5, 6, 7, 8]),
        {
            "entropy": torch.tensor([1.0, 100.0, 0.0, 0.0]),
            "frequency_weighted_entropy": torch.tensor([0.5, 0.5, 1.0, 0.0]),
        },
    )
    criteria = {"entropy": MeanEntropy(), "uncertainty": FrequencyWeightedUncertainty()}
    picks = {
        scope: Acquisition(criteria, combiner=WeightedSum(), scope=scope).select(pool, pool, 2, seeded()).units.tolist()
        for scope in ("pool", "remaining")
    }
    assert picks == {"pool": [6, 7], "remaining": [6, 5]}


def test_random_depends_on_the_generator_alone():
    one, other = summaries(0), summaries(1)
    positions = [
        alone(Random()).select(*given, BUDGET, seeded(seed)).step.tolist()
        for given, seed in itertools.product((one, other), (3, 4))
    ]
    assert positions[0] == positions[2]
    assert positions[1] == positions[3]
    assert positions[0] != positions[1]


def test_random_picks_uniformly():
    pool, labeled = summaries()
    generator = seeded()
    picked = torch.stack([alone(Random()).select(pool, labeled, 6, generator).step >= 0 for _ in range(1000)])
    share = picked.double().mean(0)
    assert float((share - 0.1).abs().max()) < 0.045  # standard deviation 0.0095


def test_weights_scale_the_terms():
    pool, labeled = summaries()
    weights = {"inter": 2.0, "uncertainty": 0.5}
    scores = class_distribution(weights=weights).select(pool, labeled, 1, seeded()).scores
    expected = (
        (2 * scores["inter_normalized"]) ** 2
        + scores["intra_normalized"] ** 2
        + (0.5 * scores["uncertainty_normalized"]) ** 2
    ).sqrt()
    torch.testing.assert_close(scores["score"], expected, rtol=1e-14, atol=0)


def test_a_criterion_of_weight_zero_is_not_computed():
    pool, labeled = summaries()
    del pool.fields["frequency_weighted_entropy"]
    assert len(class_distribution(weights={"uncertainty": 0}).select(pool, labeled, 3, seeded()).units) == 3
    with pytest.raises(KeyError, match="frequency_weighted_entropy"):
        class_distribution().select(pool, labeled, 3, seeded())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"criteria": {}}, "no criterion"),
        ({"weights": {"inetr": 1.0}}, "weights name no criterion: inetr; there are: inter"),
        ({"weights": {"inter": -1.0}}, "finite and not negative"),
        ({"weights": {"inter": float("nan")}}, "finite and not negative"),
        ({"weights": {"inter": float("inf")}}, "finite and not negative"),
        ({"weights": dict.fromkeys(("inter", "intra", "uncertainty"), 0.0)}, "use the acquisition `random`"),
        ({"scope": "cycle"}, "scope must be one of"),
        ({"criteria": {"score": Random()}}, "collide"),
        ({"criteria": {"a": Random(), "a_normalized": Random()}}, "collide"),
    ],
)
def test_refuses_wrong_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        class_distribution(**changes)


def test_refuses_wrong_budgets_and_empty_labeled_sets():
    pool, labeled = summaries()
    nothing = labeled.take(torch.tensor([], dtype=torch.int64))
    for budget in (0, N + 1):
        with pytest.raises(ValueError, match="budget must be between 1 and the 60"):
            class_distribution().select(pool, labeled, budget, seeded())
    for acquisition in (class_distribution(), alone(KCenter())):
        with pytest.raises(ValueError, match="no labeled"):
            acquisition.select(pool, nothing, 1, seeded())


class Broken(Random):
    """Goes wrong at the second pick."""

    def __init__(self, update):
        self.update = lambda position: update


@pytest.mark.parametrize(
    ("update", "message"), [(torch.full((N,), float("nan")), "'it' are not finite"), (torch.zeros(3), "shape")]
)
def test_names_the_criterion_that_goes_wrong(update, message):
    with pytest.raises(ValueError, match=message):
        alone(Broken(update)).select(*summaries(), 2, seeded())


def test_leaves_the_threads_of_torch_alone():
    threads = torch.get_num_threads()
    alone(Random()).select(*summaries(), 2, seeded())
    with pytest.raises(ValueError, match="budget"):
        alone(Random()).select(*summaries(), 0, seeded())
    assert torch.get_num_threads() == threads
