"""Losses of OccFormer against loops, closed forms and the numbers of its configuration."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from al_lightning.losses import SEMANTICKITTI_VOXELS, OccFormerLoss
from al_lightning.losses.occformer_depth import NO_BIN, depth_bins, depth_cross_entropy
from al_lightning.losses.occformer_masks import (
    MaskWeights,
    Truth,
    dice,
    draw_points,
    mask_cost,
    match_masks,
    read_masks,
    stage_losses,
    uncertain_points,
)
from al_lightning.types import IGNORE, MaskStages, OccupancyAnnotations, OccupancyPrediction

SHAPE = (4, 4, 2)
FREQUENCY = [1000.0, 100.0, 50.0, 10.0]
K = len(FREQUENCY)
OFFICIAL = (
    *(1, 1.352256, 1.909572, 1.918051, 1.675134, 1.645659, 1.795934, 1.785087, 1.832688, 1.249494, 1.462963),
    *(1.272047, 1.531435, 1.255222, 1.352587, 1.187069, 1.541573, 1.286205, 1.605857, 1.762116, 0.1),
)


def labels(seed=0):
    """(4, 4, 2) classes 0, 1 and 3, some voxels without a label."""
    g = torch.Generator().manual_seed(seed)
    semantics = torch.tensor([0, 1, 3])[torch.randint(3, SHAPE, generator=g)]
    semantics[torch.rand(SHAPE, generator=g) < 0.25] = IGNORE
    return semantics.to(torch.uint8)


def truth(seed=0):
    return Truth.of(labels(seed), torch.ones(SHAPE, dtype=torch.bool))


class TestWeights:
    def test_official_class_weights(self):
        np.testing.assert_allclose(OccFormerLoss().class_weight, OFFICIAL, atol=1e-6)

    def test_official_sampling_weights(self):
        sampling = OccFormerLoss().sampling
        f = SEMANTICKITTI_VOXELS
        np.testing.assert_allclose(sampling, [(max(f) / c) ** 0.25 for c in f], rtol=1e-6)
        assert sampling[3].item() == pytest.approx(14.61, abs=0.005)

    def test_constants_are_no_part_of_a_checkpoint(self):
        assert not OccFormerLoss().state_dict()

    @pytest.mark.parametrize("arguments", [{"class_frequency": "kitti"}, {"points": 2}, {"class_frequency": [1.0]}])
    def test_bad_arguments(self, arguments):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            OccFormerLoss(**arguments)


class TestDepth:
    def test_bins_lie_up_to_one_nearer_than_the_geometry(self):
        metres = [0.0, 2.2, 2.25, 2.74, 2.75, 10.1, 57.74, 58.24, 58.26, 90.0]
        bins = depth_bins(torch.tensor(metres).view(1, 1, 1, -1), (1, 10), 2.0, 0.5, 112)
        assert bins.flatten().tolist() == [NO_BIN, NO_BIN, 0, 0, 1, 15, 110, 111, NO_BIN, NO_BIN]

    def test_the_nearest_measurement_of_a_patch_counts(self):
        depth = torch.zeros(1, 2, 4, 6)
        depth[0, 1, 1, 4], depth[0, 1, 0, 3], depth[0, 1, 3, 5] = 20.0, 9.0, 5.0
        bins = depth_bins(depth, (2, 2), 2.0, 1.0, 30)
        assert bins[0, 0].eq(NO_BIN).all()
        assert bins[0, 1].tolist() == [[NO_BIN, 6], [NO_BIN, 2]]

    def test_cross_entropy_by_hand(self):
        p = torch.tensor([0.2, 0.5, 0.3]).view(1, 1, 3, 1, 1).expand(1, 1, 3, 1, 2)
        bins = torch.tensor([1, NO_BIN]).view(1, 1, 1, 2)
        expected = -math.log(0.8) - math.log(0.5) - math.log(0.7)
        assert depth_cross_entropy(p, bins).item() == pytest.approx(expected, rel=1e-6)
        assert depth_cross_entropy(p, torch.full_like(bins, NO_BIN)).item() == 0

    def test_patches_must_fit(self):
        with pytest.raises(ValueError, match="do not divide"):
            depth_bins(torch.zeros(1, 1, 5, 6), (2, 2), 2.0, 1.0, 30)


class TestPoints:
    def test_a_truth_holds_what_is_labeled(self):
        semantics, mask = labels(), torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) < 0.8
        found = Truth.of(semantics, mask)
        counted = mask & (semantics != IGNORE)
        assert found.labels.tolist() == [0, 1, 3]
        assert torch.equal(semantics.flatten()[found.voxels].long(), found.semantics)
        assert len(found.voxels) == counted.sum()

    def test_points_differ_and_rare_classes_are_drawn_more_often(self):
        some, counts = truth(), torch.zeros(K)
        torch.manual_seed(0)
        for _ in range(300):
            drawn = draw_points(some, torch.tensor([1.0, 1.0, 1.0, 20.0]), 5)[0]
            assert len(drawn.unique()) == 5
            counts += torch.bincount(some.semantics[drawn], minlength=K)
        share = torch.bincount(some.semantics, minlength=K) / len(some.semantics)
        assert counts[3] / counts.sum() > 1.8 * share[3]
        assert counts[2] == 0
        rows = draw_points(some, torch.ones(K), 1000, rows=2)
        assert rows.sort(dim=1).values.tolist() == [list(range(len(some.voxels)))] * 2
        assert not torch.equal(*rows)

    def test_masks_are_read_as_they_would_be_enlarged(self):
        masks = torch.randn(2, 3, 2, 3, 2, generator=torch.Generator().manual_seed(0))
        shape = (4, 5, 2)
        whole = F.interpolate(masks, size=shape, mode="trilinear", align_corners=True).flatten(2)
        points = torch.stack([torch.randperm(40)[:7], torch.randperm(40)[:7]])
        read = read_masks(masks, points, shape)
        for r in range(2):
            torch.testing.assert_close(read[r], whole[r][:, points[r]], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(read_masks(masks, points % 12, (2, 3, 2))[0], masks[0].flatten(1)[:, points[0] % 12])

    def test_uncertain_points_are_those_near_the_edge_of_the_mask(self):
        some = Truth.of(torch.zeros(8, 8, 8, dtype=torch.uint8), torch.ones(8, 8, 8, dtype=torch.bool))
        mask = (torch.arange(8.0) - 3.5).view(8, 1, 1).expand(8, 8, 8)
        torch.manual_seed(0)
        points = uncertain_points(torch.stack((mask, mask.flip(0))), some, torch.ones(K), 32)
        assert points.shape == (2, 32)
        distance = mask.flatten()[some.voxels[points]].abs()
        assert distance[:, :24].max() <= 1.5
        assert distance[:, 24:].max() > 1.5

    @pytest.mark.parametrize(("voxels", "all_seen"), [(192, True), (256, False)])
    def test_uncertain_points_are_found_among_three_times_as_many(self, voxels, all_seen):
        some = Truth.of(torch.zeros(voxels, 1, 1, dtype=torch.uint8), torch.ones(voxels, 1, 1, dtype=torch.bool))
        certainty = torch.arange(1.0, voxels + 1)
        torch.manual_seed(0)
        points = uncertain_points(certainty.view(1, voxels, 1, 1), some, torch.ones(1), 64)[0]
        assert points.shape == (64,)
        assert (set(points[:48].tolist()) == set(range(48))) == all_seen


class TestMatching:
    def test_cost_brute_force(self):
        g = torch.Generator().manual_seed(0)
        classes, values = torch.randn(3, K + 1, generator=g), torch.randn(3, 9, generator=g)
        targets = (torch.rand(2, 9, generator=g) < 0.4).float()
        wanted, weights = torch.tensor([3, 0]), MaskWeights(2.0, 5.0, 7.0)
        cost = mask_cost(classes, values, wanted, targets, weights)
        for q, t in itertools.product(range(3), range(2)):
            p = values[q].sigmoid()
            entropy = F.binary_cross_entropy(p, targets[t]).item()
            overlap = 1 - (2 * (p * targets[t]).sum() + 1).item() / (p.sum() + targets[t].sum() + 1).item()
            expected = 5 * entropy + 7 * overlap - 2 * classes[q].softmax(0)[wanted[t]].item()
            assert cost[q, t].item() == pytest.approx(expected, rel=1e-5)

    def test_every_truth_finds_its_mask(self):
        some, semantics = truth(), labels()
        order = [3, 0, 1]
        masks = torch.stack([20.0 * (semantics == label) - 10 for label in order] + [torch.zeros(SHAPE)])
        queries, found = match_masks(torch.zeros(4, K + 1), masks, some, torch.ones(K), 12, MaskWeights())
        assert {q: some.labels[t].item() for q, t in zip(queries.tolist(), found, strict=True)} == {0: 3, 1: 0, 2: 1}


def brute_force_stage(classes, masks, semantics, weight, points):
    """Three losses of one sample of which all voxels are read; the cheapest matching is found by trying all."""
    flat = semantics.flatten()
    counted = flat != IGNORE
    present = [k for k in range(K) if (flat == k).any()]
    weights = MaskWeights()
    targets = {k: (flat[counted] == k).float() for k in present}
    values = masks.flatten(1)[:, counted]
    costs = mask_cost(classes, values, torch.tensor(present), torch.stack(list(targets.values())), weights)
    best = min(
        itertools.permutations(range(len(masks)), len(present)),
        key=lambda queries: sum(costs[q, t].item() for t, q in enumerate(queries)),
    )
    wanted = torch.full((len(masks),), K)
    mask_loss = dice_loss = total = 0.0
    for q, k in zip(best, present, strict=True):
        wanted[q] = k
        p, w = values[q].sigmoid(), weight[k].item()
        mask_loss += w * F.binary_cross_entropy(p, targets[k]).item()
        # Twice all voxels: as the uncertain ones, and as the ones drawn from all.
        overlap, size = 2 * (p * targets[k]).sum().item(), 2 * (p.sum() + targets[k].sum()).item()
        dice_loss += w * (1 - (2 * overlap + 1) / (size + 1))
        total += w
    share = weight[wanted]
    nll = -classes.log_softmax(1)[torch.arange(len(masks)), wanted]
    return (share * nll).sum().item() / share.sum().item(), mask_loss / total, dice_loss / total


def test_a_stage_brute_force():
    g = torch.Generator().manual_seed(3)
    classes, masks = torch.randn(1, 4, K + 1, generator=g), torch.randn(1, 4, *SHAPE, generator=g)
    weight = torch.tensor([1.0, 1.5, 2.0, 3.0, 0.1])
    ours = stage_losses(classes, masks, [truth()], weight, torch.ones(K), 400, MaskWeights())
    expected = brute_force_stage(classes[0], masks[0], labels(), weight, 400)
    assert [loss.item() for loss in ours] == pytest.approx(expected, rel=1e-5)


def test_dice_by_hand():
    assert dice(torch.tensor([1.0, 0.0, 0.5]), torch.tensor([1.0, 0.0, 1.0])).item() == pytest.approx(1 - 4 / 4.5)


def prediction(seed=0, L=2, B=2, Q=5):
    g = torch.Generator().manual_seed(seed)
    classes = torch.randn(L, B, Q, K + 1, generator=g).requires_grad_()
    masks = torch.randn(L, B, Q, 2, 2, 1, generator=g).requires_grad_()
    depth = torch.randn(B, 1, 6, 2, 3, generator=g).softmax(dim=2)
    return OccupancyPrediction(torch.zeros(B, K, 0, 0, 0), masks=MaskStages(classes, masks), depth=depth)


def annotations(B=2):
    semantics = torch.stack([labels(seed) for seed in range(B)])
    return OccupancyAnnotations(semantics, semantics != IGNORE, torch.full((B, 1, 4, 6), 4.0))


class TestAllTogether:
    def test_terms_are_weighted_sums_over_the_stages(self):
        said, wanted = prediction(), annotations()
        torch.manual_seed(0)
        losses = OccFormerLoss(FREQUENCY, depth_step=1.0, points=400)(said, wanted)
        assert list(losses) == ["label", "mask", "dice", "depth"]
        criterion = OccFormerLoss(FREQUENCY)
        truths = [Truth.of(*sample) for sample in zip(wanted.semantics, wanted.mask, strict=True)]
        for name, index, weight in (("label", 0, 2.0), ("mask", 1, 5.0), ("dice", 2, 5.0)):
            total = 0.0
            for classes, masks in zip(said.masks.class_logits, said.masks.mask_logits, strict=True):
                stage = stage_losses(
                    classes, masks, truths, criterion.class_weight, criterion.sampling, 400, MaskWeights()
                )
                total += stage[index].item()
            assert losses[name].item() == pytest.approx(weight * total, rel=1e-4)
        bins = depth_bins(wanted.depth, (2, 3), 2.0, 1.0, 6)
        assert losses["depth"].item() == pytest.approx(depth_cross_entropy(said.depth, bins).item())

    def test_the_same_seed_draws_the_same_points(self):
        criterion, values = OccFormerLoss(FREQUENCY, points=8), []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            values.append([loss.item() for loss in criterion(prediction(), annotations()).values()])
        assert values[0] == values[1] != values[2]

    def test_gradients_reach_classes_and_matched_masks(self):
        said = prediction()
        sum(OccFormerLoss(FREQUENCY, points=8)(said, annotations()).values()).backward()
        assert said.masks.class_logits.grad.flatten(0, -2).abs().sum(dim=1).min() > 0
        matched = said.masks.mask_logits.grad.flatten(3).abs().sum(dim=3) > 0
        assert matched.sum(dim=2).tolist() == [[3, 3], [3, 3]]

    def test_without_labels_only_no_object_is_learned(self):
        said, wanted = prediction(), annotations()
        wanted.mask[:] = False
        losses = OccFormerLoss(FREQUENCY, points=8)(said, wanted)
        sum(losses.values()).backward()
        assert losses["mask"].item() == losses["dice"].item() == 0
        assert losses["label"] > 0
        assert not said.masks.mask_logits.grad.any()

    def test_what_is_missing_or_wrong_is_named(self):
        criterion = OccFormerLoss(FREQUENCY, points=8)
        with pytest.raises(ValueError, match="predicts masks and depth"):
            criterion(OccupancyPrediction(torch.zeros(2, K, *SHAPE)), annotations())
        blind = annotations()
        blind.depth = None
        with pytest.raises(ValueError, match="source of depth"):
            criterion(prediction(), blind)
        strange = annotations()
        strange.semantics[0, 0, 0, 0], strange.mask[0, 0, 0, 0] = 7, True
        with pytest.raises(ValueError, match=r"outside 0\.\.3"):
            criterion(prediction(), strange)
        broken = prediction()
        broken.masks.mask_logits.data[0] = math.nan
        with pytest.raises(ValueError, match="not finite"):
            criterion(broken, annotations())
