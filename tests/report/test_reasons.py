import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from al_lightning.acquisition import (
    FrequencyWeightedUncertainty,
    InterSampleDiversity,
    IntraSetDiversity,
    KCenter,
    Random,
    Rarity,
    SafetyCriticality,
)
from al_lightning.acquisition.functional import jensen_shannon
from al_lightning.report.evidence import Cycle, Exhibit
from al_lightning.report.reasons import Case, divergence_terms, reason

UNITS = ["labeled near", "labeled far", "first pick", "second pick", "left behind"]
NAMES = ["road", "car", "bus"]
HISTOGRAMS = np.array([[0.8, 0.2, 0], [0, 0, 1], [0.7, 0.3, 0], [0.1, 0.8, 0.1], [0.72, 0.28, 0]])
SPACE = np.array([[0.0, 0], [3, 4], [0, 2], [0, 1], [3, 0]])


def case(unit: int, kind: str = "selected", safety: np.ndarray | None = None, **arrays_: np.ndarray) -> Case:
    """A unit of a cycle with two labeled units and three candidates, of which it picks the first two."""
    scores = np.array([0.5, 0.4, 0.1])
    cycle = Cycle(
        number=0, candidates=np.array([2, 3, 4]), labeled=np.array([0, 1]), picks=[2, 3], scores={"score": scores},
        fields={"class_histogram": HISTOGRAMS, "embedding": SPACE}, embedding=SPACE if safety is not None else None,
        safety=safety, gallery=None,
    )  # fmt: skip
    exhibit = Exhibit(unit, UNITS[unit], kind, 0, 1, (), arrays_)
    return Case(cycle, exhibit, UNITS, NAMES, float(scores[unit - 2]), scores)


def histograms() -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, (2, 4), elements=st.floats(0, 1)).filter(lambda x: (x.sum(1) > 0.01).all())


@given(histograms())
@example(np.array([[5e-324, 1, 0, 0], [0, 1, 0, 0]]))  # half of its share is no number above 0
def test_classes_share_out_the_divergence(values: np.ndarray) -> None:
    p, q = values / values.sum(1, keepdims=True)
    terms = divergence_terms(p, q)
    assert (terms >= 0).all()
    assert terms.sum() == pytest.approx(float(jensen_shannon(torch.from_numpy(p), torch.from_numpy(q))), abs=1e-9)


def test_the_nearest_labeled_histogram_and_its_classes() -> None:
    words = reason(InterSampleDiversity(), case(3))
    divergence = float(jensen_shannon(torch.from_numpy(HISTOGRAMS[3]), torch.from_numpy(HISTOGRAMS[0])))
    assert "among those labeled is that of labeled near" in words
    assert f"{divergence:.3f} bits" in words
    assert "road (10 % here, 80 % there), car (80 % here, 20 % there)" in words


def test_only_earlier_picks_are_compared_with() -> None:
    assert "there was none to differ from" in reason(IntraSetDiversity(), case(2))
    assert "picked before it is that of first pick" in reason(IntraSetDiversity(), case(3))
    assert "among those picked is that of first pick" in reason(IntraSetDiversity(), case(4, "runner-up"))


def test_the_classes_that_carry_the_uncertainty() -> None:
    words = reason(FrequencyWeightedUncertainty(), case(2, uncertainty_by_class=np.array([1.0, 2.0, 5.0])))
    assert "bus 62%, car 25%, road 12%" in words
    assert "carry" not in reason(FrequencyWeightedUncertainty(), case(2))


def test_the_nearest_hazard_and_its_distance() -> None:
    safety = np.array([[0.1, 0.2], [0.9, 0.3]])
    words = reason(SafetyCriticality(hazard_fraction=0.5), case(4, safety=safety))
    assert "labeled far (largest soft collision cost 0.900), 4.00 away" in words
    assert "1 of 2 labeled scenes" in words
    assert "Closeness" in reason(SafetyCriticality(), case(4))  # an older run has kept no space


def test_neighbours_in_space() -> None:
    assert "labeled near, 2.00 away" in reason(KCenter(), case(2))
    assert "Its 1 nearest candidates are 1.00 away" in reason(Rarity(neighbors=1), case(2))


def test_chance_is_called_chance_and_others_have_no_words() -> None:
    assert "says nothing" in reason(Random(), case(2))
    assert reason(object(), case(2)) == ""


def test_long_ids_are_cut() -> None:
    long = Case(**{**vars(case(3)), "units": ["0123456789" * 4, *UNITS[1:]]})
    assert "that of 01234567…, " in reason(InterSampleDiversity(), long)
