"""Fields of detected boxes by counting, and the acquisitions that read them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from al_lightning.acquisition import (
    Acquisition,
    DetectionSummarizer,
    FrequencyWeightedUncertainty,
    InterSampleDiversity,
    IntraSetDiversity,
    MeanEntropy,
)
from al_lightning.detection import PADDING, Detections
from al_lightning.types import Batch, Summary

CLASSES = 4


def detections(frames):
    """Frames as lists of (label, score), padded."""
    longest = max(1, *map(len, frames))
    labels = torch.full((len(frames), longest), PADDING)
    scores = torch.zeros(len(frames), longest)
    for number, frame in enumerate(frames):
        for place, (label, score) in enumerate(frame):
            labels[number, place], scores[number, place] = label, score
    return Detections(torch.zeros(*labels.shape, 9), labels, scores)


def summarize(frames, **settings):
    batch = Batch(index=torch.arange(len(frames)), inputs=None)
    return DetectionSummarizer(CLASSES, **settings)(batch, detections(frames))


def entropy(p):
    return -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)


frame = st.lists(st.tuples(st.integers(0, CLASSES - 1), st.floats(0, 1, width=32)), max_size=9)


@given(st.lists(frame, min_size=1, max_size=4), st.sampled_from([0.0, 0.25, 0.6]))
def test_fields_by_counting(frames, min_score):
    fields = summarize(frames, min_score=min_score)
    for number, boxes in enumerate(frames):
        kept = [(label, score) for label, score in boxes if score >= min_score]
        shares = [sum(label == k for label, _ in kept) / max(1, len(kept)) for k in range(CLASSES)]
        assert fields["class_histogram"][number].tolist() == pytest.approx([*shares, float(not kept)])
        assert fields["count"][number] == len(kept)
        mean = sum(entropy(score) for _, score in kept) / max(1, len(kept))
        assert fields["entropy"][number].item() == pytest.approx(mean, abs=1e-6)
        by_class = {label: [entropy(s) for other, s in kept if other == label] for label, _ in kept}
        balanced = sum(sum(own) / len(own) for own in by_class.values()) / max(1, len(by_class))
        assert fields["frequency_weighted_entropy"][number].item() == pytest.approx(balanced, abs=1e-6)


def test_a_rare_unsure_class_weighs_more_than_in_the_plain_mean():
    sure_cars = [(0, 0.999)] * 9
    fields = summarize([[*sure_cars, (3, 0.5)], [*sure_cars[:5], *[(0, 0.5)] * 5]])
    assert fields["frequency_weighted_entropy"][0] > 4 * fields["entropy"][0]
    assert fields["frequency_weighted_entropy"][1] == pytest.approx(fields["entropy"][1])


def test_acquisitions_run_on_the_fields_and_find_what_differs():
    frames = [[(0, 0.9)] * 5, [(0, 0.9)] * 4, [(3, 0.6)] * 3, [], [(0, 0.95)] * 6]
    fields = summarize(frames)
    summary = Summary(torch.arange(5), fields)
    labeled, pool = summary.take(torch.tensor([0])), summary.take(torch.tensor([1, 2, 3, 4]))
    generator = torch.Generator().manual_seed(0)
    criteria = {
        "inter": InterSampleDiversity(),
        "intra": IntraSetDiversity(),
        "uncertainty": FrequencyWeightedUncertainty(),
    }
    assert Acquisition(criteria).select(pool, labeled, 2, generator).units.tolist() == [2, 3]
    assert Acquisition({"entropy": MeanEntropy()}).select(pool, labeled, 1, generator).units.tolist() == [2]


def test_one_row_a_unit():
    rows = Summary(torch.tensor([3, 3]), {"count": torch.ones(2)})
    with pytest.raises(ValueError, match="one row a unit"):
        DetectionSummarizer(CLASSES).group(rows)


@pytest.mark.parametrize(
    ("frames", "message"), [([[(4, 0.5)]], "below 4"), ([[(0, 1.5)]], "probabilities"), ([[(0, math.nan)]], "number")]
)
def test_refuses_what_no_detector_says(frames, message):
    with pytest.raises(ValueError, match=message):
        summarize(frames)


@pytest.mark.parametrize("settings", [{"num_classes": 0}, {"min_score": 1.0}, {"min_score": -0.1}])
def test_refuses_bad_settings(settings):
    with pytest.raises(ValueError, match="num_classes must be positive"):
        DetectionSummarizer(**settings)
