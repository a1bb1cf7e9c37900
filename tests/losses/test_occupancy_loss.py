import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from al_lightning.losses import (
    OCC3D_NUSCENES_VOXELS,
    SEMANTICKITTI_VOXELS,
    OccupancyCrossEntropy,
    log_frequency_weights,
    occupancy_cross_entropy,
)
from al_lightning.types import OccupancyAnnotations, OccupancyPrediction

PUBLISHED = Path(__file__).resolve().parents[1] / "data" / "golden" / "published_numbers.json"
EPS = 1.1920929e-7
GRID = (3, 2, 4)


def of_annotations(module, logits, annotations):
    """The only term of the loss of these logits."""
    (loss,) = module(OccupancyPrediction(logits), annotations).values()
    return loss


def random_case(seed, B=2, K=5, ignored=True):
    g = np.random.default_rng(seed)
    logits = 3 * g.standard_normal((B, K, *GRID))
    semantics = g.integers(0, K, (B, *GRID)).astype(np.uint8)
    if ignored:
        semantics[g.random(semantics.shape) < 0.2] = 255
    mask = g.random(semantics.shape) < 0.6
    return logits, semantics, mask


def brute_force(logits, semantics, mask, weight=None):
    total = denominator = 0.0
    for index in np.ndindex(semantics.shape):
        if not mask[index]:
            continue
        label = int(semantics[index])
        scores = logits[index[0], :, *index[1:]]
        w = 1.0 if weight is None else (0.0 if label == 255 else weight[label])
        if label != 255:
            total += w * (math.log(sum(math.exp(s) for s in scores)) - scores[label])
        denominator += w
    return total / (denominator + EPS)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), balanced=st.booleans(), masked=st.booleans())
def test_matches_a_loop(seed, balanced, masked):
    logits, semantics, mask = random_case(seed)
    weight = np.random.default_rng(seed).random(5) + 0.1 if balanced else None
    ours = occupancy_cross_entropy(
        torch.from_numpy(logits).float(),
        torch.from_numpy(semantics),
        torch.from_numpy(mask) if masked else None,
        None if weight is None else torch.from_numpy(weight).float(),
    )
    expected = brute_force(logits, semantics, mask if masked else np.ones_like(mask), weight)
    assert ours.item() == pytest.approx(expected, rel=1e-5)


def test_even_logits_cost_the_logarithm_of_the_number_of_classes():
    labels = OccupancyAnnotations(torch.zeros(1, *GRID, dtype=torch.uint8), torch.ones(1, *GRID, dtype=torch.bool))
    for loss in (OccupancyCrossEntropy(), OccupancyCrossEntropy([10.0] * 7), OccupancyCrossEntropy(use_mask=False)):
        assert of_annotations(loss, torch.zeros(1, 7, *GRID), labels).item() == pytest.approx(math.log(7), rel=1e-5)


def test_nothing_outside_the_mask_counts():
    logits, semantics, mask = (torch.from_numpy(array) for array in random_case(0, ignored=False))
    inside = occupancy_cross_entropy(logits, semantics, mask)
    outside = ~mask
    logits = torch.where(outside[:, None], 100 * torch.randn(logits.shape), logits).requires_grad_()
    semantics = semantics.masked_fill(outside, 200)  # no class at all
    other = occupancy_cross_entropy(logits, semantics, mask)
    assert other.item() == inside.item()
    other.backward()
    assert not logits.grad.movedim(1, -1)[outside].any()
    assert logits.grad.movedim(1, -1)[mask].any()


def test_without_mask_every_voxel_counts():
    logits, semantics, mask = (torch.from_numpy(array) for array in random_case(1, ignored=False))
    annotations = OccupancyAnnotations(semantics, torch.zeros_like(mask))
    loss = of_annotations(OccupancyCrossEntropy(use_mask=False), logits, annotations)
    expected = brute_force(logits.numpy(), semantics.numpy(), np.ones(mask.shape, dtype=bool))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("frequency", [None, [100.0] * 5])
@pytest.mark.parametrize("reason", ["mask", "ignored"])
def test_a_batch_without_labels_has_no_loss_and_no_gradient(frequency, reason):
    logits = torch.randn(2, 5, *GRID, requires_grad=True)
    semantics = torch.full((2, *GRID), 255 if reason == "ignored" else 1, dtype=torch.uint8)
    mask = torch.full((2, *GRID), reason == "ignored")
    loss = of_annotations(OccupancyCrossEntropy(frequency), logits, OccupancyAnnotations(semantics, mask))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_half_precision_logits_lose_nothing_further():
    logits, semantics, mask = (torch.from_numpy(array) for array in random_case(2))
    logits = logits.bfloat16()
    loss = occupancy_cross_entropy(logits, semantics, mask)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(occupancy_cross_entropy(logits.double(), semantics, mask).item(), rel=1e-6)


class TestClassWeights:
    def test_published_values(self):
        published = json.loads(PUBLISHED.read_text())
        occ3d, kitti = published["occ3d_nuscenes"], published["semantickitti_ssc"]
        assert list(OCC3D_NUSCENES_VOXELS) == occ3d["voxel_count"]
        assert list(SEMANTICKITTI_VOXELS) == kitti["voxel_count"]
        for ours, theirs in (
            (log_frequency_weights(OCC3D_NUSCENES_VOXELS), occ3d["flashocc_weight_1_over_log"]),
            (log_frequency_weights(SEMANTICKITTI_VOXELS), kitti["monoscene_weight_1_over_log"]),
        ):
            np.testing.assert_allclose(ours.numpy(), theirs, atol=6e-7)

    def test_names_mean_the_published_counts(self):
        for name, counts in (("occ3d_nuscenes", OCC3D_NUSCENES_VOXELS), ("semantickitti", SEMANTICKITTI_VOXELS)):
            assert torch.equal(OccupancyCrossEntropy(name).class_weight, log_frequency_weights(counts))

    def test_they_are_no_part_of_a_checkpoint(self):
        assert not OccupancyCrossEntropy("occ3d_nuscenes").state_dict()

    @pytest.mark.parametrize("frequency", [[], [10.0, 0.0], [10.0, 1.0], [10.0, math.nan], [10.0, math.inf]])
    def test_bad_counts(self, frequency):
        with pytest.raises(ValueError, match="class_frequency"):
            OccupancyCrossEntropy(frequency)

    def test_unknown_name(self):
        with pytest.raises(ValueError, match="'kitti' is none of occ3d_nuscenes, semantickitti"):
            OccupancyCrossEntropy("kitti")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"semantics": torch.zeros(2, 3, 2, 5)}, "semantics must be"),
        ({"mask": torch.zeros(1, *GRID, dtype=torch.bool)}, "mask must be"),
        ({"class_weight": torch.ones(4)}, "class_weight must hold 5"),
        ({"semantics": torch.full((2, *GRID), 5)}, r"outside 0\.\.4"),
        ({"semantics": torch.full((2, *GRID), -1)}, r"outside 0\.\.4"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    arguments = {"semantics": torch.zeros(2, *GRID), "mask": torch.ones(2, *GRID, dtype=torch.bool)} | changes
    with pytest.raises(ValueError, match=message):
        occupancy_cross_entropy(torch.zeros(2, 5, *GRID), **arguments)


def test_square_root_balance_weighs_a_class_by_its_rarity():
    loss = OccupancyCrossEntropy([400.0, 100.0, 1.0], balance="sqrt")
    assert loss.class_weight.tolist() == [1.0, 2.0, 20.0]
    with pytest.raises(ValueError, match="count above 0"):
        OccupancyCrossEntropy([3.0, 0.0], balance="sqrt")
    with pytest.raises(ValueError, match="balance must be one of log, sqrt"):
        OccupancyCrossEntropy([3.0, 2.0], balance="cubic")
