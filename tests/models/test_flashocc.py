import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from al_lightning.models import FlashOcc, ResNet, flashocc_nano, flashocc_r50
from al_lightning.models.image_neck import ImageNeck
from al_lightning.types import CameraInputs, VoxelGrid

GRID = VoxelGrid((0.0, -12.8, -2.0), (25.6, 12.8, 4.4), (32, 32, 4))
IMAGE = (64, 96)
DEPTH = (1.0, 31.0, 3.0)


def camera_inputs(B=1, N=1, image_size=IMAGE, seed=0):
    """N cameras on one pole, turned evenly; the first looks along x."""
    height, width = image_size
    yaw = 2 * math.pi * torch.arange(N) / N
    pose = torch.zeros(N, 4, 4)
    pose[:, 0, 0], pose[:, 1, 0] = yaw.sin(), -yaw.cos()
    pose[:, 2, 1] = -1.0
    pose[:, 0, 2], pose[:, 1, 2] = yaw.cos(), yaw.sin()
    pose[:, 2, 3] = 1.5
    pose[:, 3, 3] = 1.0
    intrinsics = torch.tensor([[width / 2, 0, width / 2], [0, width / 2, height / 2], [0, 0, 1]])
    return CameraInputs(
        images=torch.randn(B, N, 3, height, width, generator=torch.Generator().manual_seed(seed)),
        camera2ego=pose.repeat(B, 1, 1, 1),
        intrinsics=intrinsics.repeat(B, N, 1, 1),
        post_rotation=torch.eye(3).repeat(B, N, 1, 1),
        post_translation=torch.zeros(B, N, 3),
        bda=torch.eye(4).repeat(B, 1, 1),
    )


def nano(grid=GRID, num_classes=5):
    torch.manual_seed(0)
    return flashocc_nano(grid, num_classes, IMAGE, DEPTH)


@torch.no_grad()
def settled(network, inputs):
    """In evaluation mode, with BN statistics of these inputs, so that signals keep their size through the layers."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()(inputs)
    return network.eval()


@pytest.mark.parametrize(
    ("cameras", "shape", "num_classes"),
    [(1, (64, 64, 8), 20), (2, (128, 64, 1), 2), (6, (200, 200, 16), 18), (3, (16, 24, 3), 1)],
)
def test_any_number_of_cameras_voxels_and_classes(cameras, shape, num_classes):
    network = nano(VoxelGrid((-20.0, -20.0, -1.0), (20.0, 20.0, 5.4), shape), num_classes).eval()
    with torch.no_grad():
        prediction = network(camera_inputs(B=2, N=cameras))
    assert prediction.logits.shape == (2, num_classes, *shape)
    assert prediction.features.shape == (2, 64, shape[1], shape[0])
    assert torch.isfinite(prediction.logits).all()


def test_logits_are_a_view_with_classes_last_in_memory():
    with torch.no_grad():
        logits = nano().eval()(camera_inputs(B=2)).logits
    assert logits.permute(0, 2, 3, 4, 1).is_contiguous()


def test_features_are_the_input_of_the_head():
    network, inputs = nano().eval(), camera_inputs()
    with torch.no_grad():
        prediction = network(inputs)
        assert torch.equal(network.occ_head(prediction.features), prediction.logits)


def test_a_sample_does_not_depend_on_its_batch():
    inputs = camera_inputs(B=3, N=2)
    inputs.camera2ego[1, :, :2, 3] += 2.0
    network = settled(nano(), inputs)
    with torch.no_grad():
        together = network(inputs).logits
        for b in range(3):
            row = {name: value[b : b + 1] for name, value in vars(inputs).items() if value is not None}
            torch.testing.assert_close(network(CameraInputs(**row)).logits[0], together[b], atol=1e-4, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0.01


def test_the_order_of_cameras_does_not_matter_but_their_poses_do():
    inputs = camera_inputs(N=4)
    network = settled(nano(VoxelGrid((-12.8, -12.8, -2.0), (12.8, 12.8, 4.4), (32, 32, 4))), inputs)
    order = [2, 0, 3, 1]
    names = ("images", "camera2ego", "intrinsics", "post_rotation", "post_translation")
    reordered = dataclasses.replace(inputs, **{name: getattr(inputs, name)[:, order] for name in names})
    mismatched = dataclasses.replace(inputs, images=inputs.images[:, order])
    with torch.no_grad():
        logits = network(inputs).logits
        torch.testing.assert_close(network(reordered).logits, logits, atol=1e-4, rtol=1e-4)
        assert (network(mismatched).logits - logits).abs().max() > 0.01


def test_gradients_reach_every_parameter():
    network = nano().train()
    loss = F.cross_entropy(network(camera_inputs(B=2)).logits, torch.randint(0, 5, (2, 32, 32, 4)))
    loss.backward()
    dead = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not torch.isfinite(parameter.grad).all() or not parameter.grad.any()
    ]
    assert not dead


def test_a_few_steps_beat_the_best_constant_guess():
    network, inputs = nano().train(), camera_inputs(B=2)
    labels = torch.randint(0, 5, (2, 32, 1, 1), generator=torch.Generator().manual_seed(0)).expand(2, 32, 32, 4)
    frequency = torch.bincount(labels.flatten()) / labels.numel()
    constant_guess = -(frequency * frequency.log()).sum().item()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(20):
        loss = F.cross_entropy(network(inputs).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.9 * constant_guess


def test_two_runs_are_equal_to_the_bit():
    def gradients():
        network = nano().train()
        network(camera_inputs(B=2)).logits.square().mean().backward()
        return [parameter.grad for parameter in network.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(gradients(), gradients(), strict=True))


def test_initial_weights_of_new_layers():
    torch.manual_seed(0)
    neck = ImageNeck((32, 64), 48)
    for conv in (neck.lateral_convs[0].conv, neck.lateral_convs[1].conv, neck.fpn_convs[0].conv):
        fan_in, fan_out = (conv.weight[0].numel(), conv.weight[:, 0].numel())
        bound = math.sqrt(6 / (fan_in + fan_out))
        assert 0.98 * bound < conv.weight.abs().max() <= bound
        assert not conv.bias.any()
    final = nano().occ_head.final_conv.conv
    assert final.weight.std().item() == pytest.approx(math.sqrt(2 / final.weight[:, 0].numel()), rel=0.05)
    assert not final.bias.any()


def test_lists_are_as_good_as_tuples():
    network = FlashOcc(GRID, ResNet("basic", [1, 1, 1, 1], 8), 3, [64, 96], [1.0, 31.0, 3.0], 16, 8, 16).eval()
    with torch.no_grad():
        assert network(camera_inputs()).logits.shape == (1, 3, 32, 32, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": VoxelGrid((0, 0, 0), (1, 1, 1), (61, 64, 8))}, r"multiples of 2, got \(61, 64\)"),
        ({"grid": VoxelGrid((0, 0, 0), (1, 1, 1), (64, 3, 8))}, "multiples of 2"),
        ({"image_size": (370, 1226)}, r"multiples of 16, got \(370, 1226\)"),
        ({"depth": (1.0, 45.0, 0.7)}, "whole number of steps"),
        ({"num_classes": 0}, "num_classes must be positive"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        flashocc_r50(**({"grid": GRID} | changes))


@pytest.mark.parametrize("shape", [(1, 1, 3, 64, 80), (1, 3, 64, 96), (1, 1, 1, 64, 96)])
def test_images_of_another_size_are_refused(shape):
    inputs = dataclasses.replace(camera_inputs(), images=torch.zeros(shape))
    with pytest.raises(ValueError, match=r"images must be \(B, N, 3, 64, 96\)"):
        nano()(inputs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"block": "preact"}, "block must be one of"),
        ({"blocks": (3, 4, 6)}, "four"),
        ({"blocks": (3, 4, 0, 3)}, "four"),
    ],
)
def test_impossible_backbones_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**arguments)


@pytest.mark.parametrize(("block", "channels"), [("basic", (8, 16, 32, 64)), ("bottleneck", (32, 64, 128, 256))])
def test_backbone_strides_and_channels(block, channels):
    backbone = ResNet(block, (1, 2, 1, 1), width=8)
    outputs = backbone(torch.zeros(2, 3, 64, 96))
    assert backbone.out_channels == channels
    expected = [(2, c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)]
    assert [tuple(output.shape) for output in outputs] == expected
