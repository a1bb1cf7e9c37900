"""OccFormer as a whole, small: what goes in and comes out, and that everything takes part."""

import copy
import dataclasses
import math

import pytest
import torch
from fake_occformer import CLASSES, GRID, SIZE, occformer_annotations, occformer_inputs, tiny_occformer

from al_lightning.acquisition.functional import voxel_statistics
from al_lightning.losses import OccFormerLoss
from al_lightning.models import OccFormer, load_checkpoint, occformer_nano
from al_lightning.models.occformer import EfficientNet, log_distribution, voxel_scores
from al_lightning.models.occformer.head import _outside
from al_lightning.types import VoxelGrid


@pytest.fixture(scope="module")
def network():
    """The offsets and weights of the deformable attention, which begin as constants, are alive."""
    network = tiny_occformer().eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "sampling_offsets.weight" in name or "attention_weights.weight" in name or "conv_offset.w" in name:
                parameter.normal_(std=0.1)
    return network


@pytest.fixture(scope="module")
def predicted(network):
    with torch.no_grad():
        return network(occformer_inputs())


def test_shapes(predicted):
    stages = SIZE.layers + 1
    assert predicted.logits.shape == (2, CLASSES, *GRID.shape)
    assert predicted.features.shape == (2, SIZE.dims, 16, 16)
    assert predicted.masks.class_logits.shape == (stages, 2, SIZE.queries, CLASSES + 1)
    assert predicted.masks.mask_logits.shape == (stages, 2, SIZE.queries, 16, 16, 4)
    assert predicted.depth.shape == (2, 1, 24, 4, 6)
    torch.testing.assert_close(predicted.depth.sum(dim=2), torch.ones(2, 1, 4, 6))


def test_logits_are_the_logarithm_of_the_normalized_scores(predicted):
    scores = voxel_scores(predicted.masks.class_logits[-1], predicted.masks.mask_logits[-1], GRID.shape)
    torch.testing.assert_close(predicted.logits.exp(), scores / scores.sum(dim=1, keepdim=True))
    torch.testing.assert_close(predicted.logits.logsumexp(dim=1), torch.zeros(2, *GRID.shape), atol=1e-5, rtol=0)
    assert torch.equal(predicted.logits.argmax(dim=1), scores.argmax(dim=1))


def test_a_sample_does_not_depend_on_its_batch(network, predicted):
    inputs = occformer_inputs()
    for b in range(2):
        row = type(inputs)(**{f.name: getattr(inputs, f.name)[b : b + 1] for f in dataclasses.fields(inputs)})
        with torch.no_grad():
            alone = network(row)
        torch.testing.assert_close(alone.logits[0], predicted.logits[b], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(alone.features[0], predicted.features[b], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["images", "camera2ego", "intrinsics", "post_translation", "bda", "projection_shift"])
def test_every_input_matters(network, predicted, name):
    inputs = occformer_inputs()
    value = getattr(inputs, name).clone()
    value[..., 0, -1] += 0.7
    with torch.no_grad():
        other = network(dataclasses.replace(inputs, **{name: value}))
    assert (other.logits - predicted.logits).abs().max() > 1e-6


def test_all_parameters_learn_and_training_makes_no_voxel_scores():
    network = tiny_occformer().train()
    prediction = network(occformer_inputs())
    assert prediction.logits.shape == (2, CLASSES, 0, 0, 0)
    assert prediction.features is None
    losses = OccFormerLoss([1000.0, 100.0, 10.0, 10.0, 10.0], depth_step=1.0, points=64)(
        prediction, occformer_annotations()
    )
    torch.stack(list(losses.values())).sum().backward()
    idle = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert idle == []
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_mixed_precision_predicts_float32_and_stays_near(network, predicted):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        mixed = network(occformer_inputs())
    assert mixed.logits.dtype == mixed.depth.dtype == mixed.masks.mask_logits.dtype == torch.float32
    torch.testing.assert_close(mixed.logits.logsumexp(dim=1), torch.zeros(2, *GRID.shape), atol=1e-5, rtol=0)
    assert (mixed.logits.exp() - predicted.logits.exp()).abs().mean() < 0.02


def test_own_checkpoints_load(network, tmp_path):
    torch.save({"state_dict": network.state_dict()}, tmp_path / "weights.pth")
    other = tiny_occformer(seed=1)
    load_checkpoint(other, tmp_path / "weights.pth")
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in network.state_dict().items())


def test_the_nano_size_fits_the_grids_of_its_experiments():
    grid = VoxelGrid((0.0, -25.6, -2.0), (51.2, 25.6, 4.4), (64, 64, 8))
    with torch.device("meta"):
        network = occformer_nano(grid)
    assert sum(parameter.numel() for parameter in network.parameters()) < 2e6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": (60, 96)}, "multiples of 32"),
        ({"grid": VoxelGrid(GRID.lower, GRID.upper, (31, 32, 4))}, "does not divide"),
        ({"size": dataclasses.replace(SIZE, encoder=(32, 48, 32, 32))}, "multiples of 32"),
        ({"size": dataclasses.replace(SIZE, dims=28)}, "multiple of 6"),
        ({"num_classes": 0}, "num_classes must be positive"),
        ({"depth": (2.0, 26.3, 1.0)}, "whole number of steps"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, message):
    arguments = {"grid": GRID, "backbone": EfficientNet(), "image_size": (64, 96), "size": SIZE} | changes
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        OccFormer(**arguments)


def test_images_of_another_size_are_refused(network):
    inputs = occformer_inputs()
    inputs.images = inputs.images[..., :64]
    with pytest.raises(ValueError, match=r"images must be \(B, N, 3, 64, 96\)"):
        network(inputs)


def test_training_on_a_single_image_is_refused():
    with pytest.raises(ValueError, match="batches of two, or SyncBatchNorm"):
        tiny_occformer().train()(occformer_inputs(samples=1))


class TestVoxelScores:
    def test_brute_force(self):
        g = torch.Generator().manual_seed(0)
        classes = torch.randn(2, 13, 4, generator=g)  # more queries than are handled together
        masks = torch.randn(2, 13, 2, 3, 2, generator=g)
        scores = voxel_scores(classes, masks, (2, 3, 2))
        for b, x, y, z in ((0, 0, 0, 0), (1, 1, 2, 1), (0, 1, 1, 0)):
            for k in range(3):
                expected = sum(
                    classes[b, q].softmax(0)[k].item() * masks[b, q, x, y, z].sigmoid().item() for q in range(13)
                )
                assert scores[b, k, x, y, z].item() == pytest.approx(expected, rel=1e-5)

    def test_corners_of_masks_and_labels_coincide(self):
        masks = torch.arange(8.0).view(1, 1, 2, 2, 2)
        scores = voxel_scores(torch.tensor([[[0.0, 0.0]]]), masks, (3, 3, 3))[0, 0]
        for x, y, z in ((0, 0, 0), (2, 2, 2), (1, 0, 2), (1, 1, 1)):
            logit = (4 * x + 2 * y + z) / 2
            assert scores[x, y, z].item() == pytest.approx(0.5 / (1 + math.exp(-logit)), rel=1e-5)


class TestDistribution:
    def test_entropies_are_those_of_the_normalized_scores(self):
        """What the acquisition makes of the logits: log-probabilities are a fixed point of its softmax."""
        scores = 20 * torch.rand(1, 4, 3, 3, 2, generator=torch.Generator().manual_seed(0))
        p = (scores / scores.sum(dim=1, keepdim=True)).double()
        statistics = voxel_statistics(log_distribution(scores))
        assert statistics.entropy.item() == pytest.approx(-(p * p.log()).sum(1).mean().item(), rel=1e-5)
        histogram = torch.bincount(scores.argmax(1).flatten(), minlength=4) / 18
        torch.testing.assert_close(statistics.histogram[0].float(), histogram)

    def test_a_voxel_that_no_mask_claims_is_of_every_class(self):
        scores = torch.tensor([0.0, 0.0, 3.0, 1.0]).view(1, 2, 2, 1, 1).transpose(1, 2)
        p = log_distribution(scores).exp()[0, :, :, 0, 0]
        torch.testing.assert_close(p, torch.tensor([[0.5, 0.75], [0.5, 0.25]]))
        even = log_distribution(torch.zeros(1, 5, 1, 1, 1)).exp()
        torch.testing.assert_close(even, torch.full_like(even, 0.2))
        assert log_distribution(scores).isfinite().all()


def test_queries_look_where_their_masks_are_or_everywhere():
    masks = torch.full((1, 2, 4, 4, 2), -1.0)
    masks[0, 0, 3, 0, 1] = 1.0
    outside = _outside(masks, (2, 2, 1)).view(2, 2, 2)
    assert outside[0].tolist() == [[True, True], [False, True]]
    assert not outside[1].any()


def test_drop_path_keeps_the_mean_and_is_silent_in_evaluation():
    network = copy.deepcopy(tiny_occformer().img_bev_encoder_backbone.layers[0][0].bev_encoder.drop_path)
    x = torch.ones(4000, 2, 1)
    torch.manual_seed(0)
    dropped = network.train()(x)
    assert set(dropped.unique().tolist()) == {0.0, 1.25}
    assert torch.equal(dropped[:, 0], dropped[:, 1])
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(network.eval()(x), x)
