"""Voxel counts and benchmark scores against official numbers, brute force and closed forms."""

from pathlib import Path

import numpy as np
import pytest
import recipes
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from al_lightning.metrics.functional import occ3d_miou, semantic_scene_completion, voxel_confusion

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"


def load(name):
    with np.load(GOLDEN / name) as arrays:
        return dict(arrays)


def brute_force(prediction, target, K, mask):
    counts = np.zeros((K, K), dtype=np.int64)
    for p, t, m in zip(prediction.flatten().tolist(), target.flatten().tolist(), mask.flatten().tolist(), strict=True):
        if m and 0 <= t < K:
            counts[t, p] += 1
    return counts


@settings(max_examples=60, deadline=None)
@given(
    K=st.integers(2, 20),
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.uint8, torch.int32, torch.int64]),
    seed=st.integers(0, 2**31),
)
def test_confusion_equals_a_loop(K, shape, dtype, seed):
    rng = np.random.default_rng(seed)
    prediction = torch.from_numpy(rng.integers(0, K, shape)).to(dtype)
    target = torch.from_numpy(rng.choice([*range(K), 255, 254], shape)).to(dtype)
    mask = torch.from_numpy(rng.random(shape) < 0.6)
    counts = voxel_confusion(prediction, target, K, mask)
    assert counts.dtype == torch.int64
    np.testing.assert_array_equal(counts, brute_force(prediction, target, K, mask))
    np.testing.assert_array_equal(voxel_confusion(prediction, target, K, mask.byte()), counts)
    everything = brute_force(prediction, target, K, torch.ones_like(mask))
    np.testing.assert_array_equal(voxel_confusion(prediction, target, K), everything)


def test_negative_truth_is_not_counted():
    assert voxel_confusion(torch.tensor([0, 1]), torch.tensor([-1, 1]), 2).tolist() == [[0, 0], [0, 1]]


def test_nothing_to_count_is_zero():
    assert voxel_confusion(torch.zeros(0, dtype=torch.uint8), torch.zeros(0, dtype=torch.uint8), 3).sum() == 0


@pytest.mark.parametrize("bad", [18, 255, -1])
def test_a_prediction_out_of_range_is_refused_even_where_masked(bad):
    prediction, target = torch.tensor([0, bad]), torch.tensor([0, 1])
    with pytest.raises(ValueError, match=rf"predicted classes must lie in 0\.\.17.*{bad}"):
        voxel_confusion(prediction, target, 18, torch.tensor([True, False]))


def test_other_wrong_arguments_are_refused():
    ids = torch.tensor([0, 1])
    with pytest.raises(ValueError, match="one shape"):
        voxel_confusion(ids, torch.tensor([0, 1, 1]), 2)
    with pytest.raises(ValueError, match="one shape"):
        voxel_confusion(ids, ids, 2, torch.tensor([[True, True]]))
    with pytest.raises(ValueError, match="integers"):
        voxel_confusion(ids.float(), ids, 2)


def test_inputs_stay_as_they_were():
    """OccFormer's own update overwrites 255 in place, so that invalid voxels count as correct."""
    prediction, target = torch.tensor([1, 0]), torch.tensor([255, 0])
    voxel_confusion(prediction, target, 2)
    assert target.tolist() == [255, 0]
    assert prediction.tolist() == [1, 0]


OCC3D_TINY = {
    "gt": [[[0, 4, 17], [4, 11, 17]], [[11, 17, 255], [7, 4, 17]]],
    "pred": [[[0, 4, 4], [10, 11, 17]], [[11, 11, 3], [7, 4, 17]]],
    "camera": [[[1, 1, 1], [1, 1, 1]], [[0, 1, 1], [1, 1, 0]]],
    "lidar": [[[1, 0, 1], [1, 1, 0]], [[1, 1, 1], [0, 1, 1]]],
    "none": [[[1, 1, 1], [1, 1, 1]], [[1, 1, 1], [1, 1, 1]]],
}


@pytest.mark.parametrize(
    ("mask", "counted", "iou", "miou"),
    [
        ("camera", 9, {0: 1, 4: 0.5, 7: 1, 10: 0, 11: 0.5, 17: 1 / 3}, 0.6),
        ("lidar", 8, {0: 1, 4: 1 / 3, 10: 0, 11: 2 / 3, 17: 1 / 3}, 0.5),
        ("none", 11, {0: 1, 4: 0.5, 7: 1, 10: 0, 11: 2 / 3, 17: 0.5}, 0.633333),
    ],
)
def test_occ3d_worked_example(mask, counted, iou, miou):
    prediction, target = (torch.tensor(OCC3D_TINY[name], dtype=torch.uint8) for name in ("pred", "gt"))
    confusion = voxel_confusion(prediction, target, 18, torch.tensor(OCC3D_TINY[mask]).bool())
    scores = occ3d_miou(confusion)
    assert confusion.sum() == counted
    assert {c: v for c, v in enumerate(scores.iou.tolist()) if v == v} == pytest.approx(iou, abs=1e-12)
    assert scores.miou.item() == pytest.approx(miou, abs=1e-6)
    assert scores.classes_present == len(iou) - 1  # the free class is not in the mean


def test_occ3d_official_numbers():
    golden, make = load("occ3d_miou.npz"), recipes.occ3d_sample
    confusions = []
    for seed in range(3):
        prediction, target, _, camera = (torch.from_numpy(array) for array in make(seed))
        confusions.append(voxel_confusion(prediction, target, 18, camera))
    total = sum(confusions)
    assert total.sum() == 383_808
    np.testing.assert_array_equal(total, golden["hist"])
    scores = occ3d_miou(total)
    np.testing.assert_allclose(scores.iou, golden["iou"], atol=1e-12, equal_nan=True)
    assert scores.miou.item() == pytest.approx(0.489147, abs=1e-6)
    assert scores.classes_present == 16  # class 8 is absent
    per_sample = [occ3d_miou(confusion).miou.item() for confusion in confusions]
    assert per_sample == pytest.approx([0.491610, 0.489520, 0.486100], abs=1e-6)
    assert abs(np.mean(per_sample) - scores.miou.item()) > 5e-5  # the metric is not a mean over samples


def test_occ3d_free_class_may_stand_elsewhere():
    confusion = torch.tensor([[5, 1, 0], [2, 7, 0], [0, 3, 4]])
    moved = confusion.roll((1, 1), (0, 1))  # last class first
    assert occ3d_miou(moved, free=0).miou == occ3d_miou(confusion).miou
    assert occ3d_miou(confusion).miou.item() == pytest.approx((5 / 8 + 7 / 13) / 2)


def test_occ3d_mean_over_classes_in_truth_does_not_depend_on_what_else_is_predicted():
    # Class 1 is never true; the last class is free.
    without = torch.tensor([[6, 0, 0, 2], [0, 0, 0, 0], [0, 0, 3, 0], [1, 0, 0, 9]])
    stray = without.clone()
    stray[3, 3], stray[3, 1] = 8, 1
    mean = pytest.approx((6 / 9 + 1) / 2)
    for confusion in (without, stray):
        scores = occ3d_miou(confusion, mean_over="in_truth")
        assert scores.miou.item() == mean
        assert scores.classes_present == 2
        assert scores.iou[1].isnan()
    assert occ3d_miou(without).miou.item() == mean
    assert occ3d_miou(stray).miou.item() == pytest.approx((6 / 9 + 0 + 1) / 3)  # official
    with pytest.raises(ValueError, match="mean_over must be one of occurring, in_truth"):
        occ3d_miou(stray, mean_over="predicted")


def test_occ3d_without_any_class_is_nan():
    scores = occ3d_miou(torch.zeros(4, 4, dtype=torch.int64))
    assert scores.miou.isnan()
    assert scores.classes_present == 0


def test_completion_worked_example():
    target = torch.tensor([0, 1, 1, 9, 9, 15, 255, 255]).reshape(1, 2, 2, 2)
    prediction = torch.tensor([0, 1, 9, 9, 0, 15, 1, 0]).reshape(1, 2, 2, 2)
    scores = semantic_scene_completion(voxel_confusion(prediction, target, 20))
    assert [scores.precision.item(), scores.recall.item(), scores.completion_iou.item()] == pytest.approx([1, 0.8, 0.8])
    expected = {0: 0.499998, 1: 0.499998, 9: 0.333332, 15: 0.999990}
    assert scores.iou.tolist() == pytest.approx([expected.get(c, 0.0) for c in range(20)], abs=1e-6)
    assert scores.miou.item() == pytest.approx(0.096491, abs=1e-6)
    assert scores.classes_present == 3


def test_completion_official_numbers():
    golden, make = load("semkitti_ssc.npz"), recipes.ssc_sample
    total = sum(voxel_confusion(*map(torch.from_numpy, make(seed)), 20) for seed in (0, 1))
    hits = total.diagonal()
    # Class 0 of the official counts holds the invalid voxels too; the others are comparable.
    np.testing.assert_array_equal(hits[1:], golden["tps"][1:])
    np.testing.assert_array_equal((total.sum(0) - hits)[1:], golden["fps"][1:])
    np.testing.assert_array_equal((total.sum(1) - hits)[1:], golden["fns"][1:])
    np.testing.assert_array_equal([total[1:, 1:].sum(), total[0, 1:].sum(), total[1:, 0].sum()], golden["comp"])
    scores = semantic_scene_completion(total)
    np.testing.assert_allclose(scores.iou[1:], golden["iou_ssc"][1:], atol=1e-12)
    for ours, theirs in (("miou", "miou"), ("completion_iou", "iou"), ("precision", "precision"), ("recall", "recall")):
        assert getattr(scores, ours).item() == pytest.approx(golden[theirs].item(), abs=1e-12)
    assert scores.miou.item() == pytest.approx(0.385727, abs=1e-6)
    assert scores.classes_present == 17
    assert scores.iou[1:][scores.iou[1:] > 0].mean().item() == pytest.approx(0.431107, abs=1e-6)


@pytest.mark.parametrize(
    ("confusion", "expected"),
    [
        ([[0, 0], [0, 0]], (0, 0, 0)),  # nothing at all
        ([[4, 0], [3, 0]], (0, 0, 0)),  # nothing predicted occupied: precision would be 0 / 0
        ([[4, 3], [0, 0]], (0, 0, 0)),  # nothing is occupied: recall would be 0 / 0
        ([[4, 3], [1, 6]], (6 / 9, 6 / 7, 6 / 10)),
    ],
)
def test_completion_closed_forms(confusion, expected):
    scores = semantic_scene_completion(torch.tensor(confusion))
    assert (scores.precision.item(), scores.recall.item(), scores.completion_iou.item()) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(K=st.integers(2, 8), seed=st.integers(0, 2**31))
def test_scores_follow_relabeling_and_bounds(K, seed):
    rng = np.random.default_rng(seed)
    confusion = torch.from_numpy(rng.integers(0, 50, (K, K)) * (rng.random((K, K)) < 0.5))
    order = torch.from_numpy(np.concatenate([rng.permutation(K - 1), [K - 1]]))
    ours, shuffled = occ3d_miou(confusion), occ3d_miou(confusion[order][:, order])
    torch.testing.assert_close(shuffled.iou, ours.iou[order], equal_nan=True)
    torch.testing.assert_close(shuffled.miou, ours.miou, equal_nan=True)
    completion = semantic_scene_completion(confusion)
    for value in (completion.miou, completion.completion_iou, completion.precision, completion.recall):
        assert 0 <= value <= 1
    # Swapping truth and prediction swaps precision and recall and keeps every IoU.
    swapped = semantic_scene_completion(confusion.T)
    assert swapped.precision == completion.recall
    torch.testing.assert_close(swapped.iou, completion.iou)


@settings(max_examples=30, deadline=None)
@given(K=st.integers(2, 6), seed=st.integers(0, 2**31))
def test_scores_equal_sets_of_voxels(K, seed):
    """IoU from its definition, as sets, without a confusion matrix."""
    rng = np.random.default_rng(seed)
    target, prediction = rng.integers(0, K, 40), rng.integers(0, K, 40)
    confusion = voxel_confusion(torch.from_numpy(prediction), torch.from_numpy(target), K)
    occ3d, completion = occ3d_miou(confusion), semantic_scene_completion(confusion)
    ious = []
    for c in range(K):
        true, found = set(np.flatnonzero(target == c)), set(np.flatnonzero(prediction == c))
        ious.append(len(true & found) / len(true | found) if true | found else np.nan)
        assert completion.iou[c].item() == pytest.approx(len(true & found) / (len(true | found) + 1e-5))
    np.testing.assert_allclose(occ3d.iou, ious, equal_nan=True)
    true, found = set(np.flatnonzero(target > 0)), set(np.flatnonzero(prediction > 0))
    assert completion.completion_iou.item() == pytest.approx(len(true & found) / max(len(true | found), 1))
