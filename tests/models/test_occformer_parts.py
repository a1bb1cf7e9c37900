"""Parts of OccFormer against loops that say what they mean."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fake_occformer import GRID, occformer_inputs

from al_lightning.models.occformer.deformable import VolumeAttention, cell_centers, read_points
from al_lightning.models.occformer.depth import DeformableConv2d, camera_numbers
from al_lightning.models.occformer.efficientnet import SameConv2d
from al_lightning.models.occformer.layers import sine_positions
from al_lightning.models.occformer.volume import splat_voxels
from al_lightning.models.occformer.window_attention import (
    ShiftedWindowAttention,
    WindowAttention,
    from_windows,
    to_windows,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(6, 7), (8, 9)])
def test_padding_is_tensorflows(kernel, stride, size):
    conv = SameConv2d(2, 3, kernel, stride, bias=False)
    x = torch.randn(1, 2, *size, generator=generator())
    out = conv(x)
    assert out.shape[2:] == tuple(math.ceil(n / stride) for n in size)
    pads = [max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in size]
    (top, left), (bottom, right) = [p // 2 for p in pads], [p - p // 2 for p in pads]
    expected = F.conv2d(F.pad(x, (left, right, top, bottom)), conv.weight, stride=stride)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


def test_camera_numbers_tell_the_published_matrices():
    """P2 as it is printed, and the extrinsics of the frame it projects from: inv(Tr)."""
    inputs = occformer_inputs(1)
    K, column = inputs.intrinsics[0, 0], inputs.projection_shift[0, 0]
    reference = torch.eye(4)
    reference[:3, :3] = inputs.camera2ego[0, 0, :3, :3]
    reference[:3, 3] = torch.tensor([0.27, 0.1, -0.08])
    moved = torch.eye(4)
    moved[:3, 3] = torch.linalg.solve(K, column)
    inputs.camera2ego = (reference @ torch.linalg.inv(moved))[None, None]
    numbers = camera_numbers(inputs)[0, 0]
    assert numbers.shape == (33,)
    torch.testing.assert_close(numbers[:7], torch.tensor([60.0, 60.0, 48.0, 30.0, 2.0, 0.1, 0.003]))
    assert numbers[7:21].tolist() == [1, 0, 0, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0]
    torch.testing.assert_close(numbers[21:], reference[:3].flatten(), atol=1e-6, rtol=1e-6)


def bilinear(image, v, u):
    """Value of (h, w) at a place, zeros outside."""
    total = 0.0
    for row, column in itertools.product((math.floor(v), math.floor(v) + 1), (math.floor(u), math.floor(u) + 1)):
        if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
            total += float(image[row, column]) * (1 - abs(v - row)) * (1 - abs(u - column))
    return total


class TestDeformableConvolution:
    def test_it_begins_as_a_convolution(self):
        conv = DeformableConv2d(8)
        x = torch.randn(2, 8, 5, 6, generator=generator())
        torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, padding=1, groups=4), atol=1e-5, rtol=1e-5)

    def test_brute_force(self):
        conv = DeformableConv2d(4, groups=2).requires_grad_(False)
        conv.conv_offset.weight.normal_(std=0.3, generator=generator())
        conv.conv_offset.bias.normal_(std=0.5, generator=generator(1))
        x = torch.randn(1, 4, 4, 5, generator=generator(2))
        offsets, out = conv.conv_offset(x)[0], conv(x)[0]
        for channel, i, j in ((0, 0, 0), (1, 3, 4), (2, 2, 1), (3, 1, 3)):
            first = 2 * (channel // 2)
            expected = 0.0
            for tap in range(9):
                v = i + tap // 3 - 1 + offsets[2 * tap, i, j].item()
                u = j + tap % 3 - 1 + offsets[2 * tap + 1, i, j].item()
                for k in range(2):
                    weight = conv.weight[channel, k, tap // 3, tap % 3].item()
                    expected += weight * bilinear(x[0, first + k], v, u)
            assert out[channel, i, j].item() == pytest.approx(expected, abs=1e-4)


def test_splat_into_voxels_sums_the_points_of_each():
    g = generator()
    points = torch.rand(2, 1, 3, 2, 3, 3, generator=g) * torch.tensor([30.0, 30.0, 8.0]) - torch.tensor(
        [3.0, 15.0, 3.0]
    )
    depth, context = torch.rand(2, 1, 3, 2, 3, generator=g), torch.randn(2, 1, 4, 2, 3, generator=g)
    volume = splat_voxels(depth, context, points, GRID)
    expected = torch.zeros(2, 4, *GRID.shape)
    kept = 0
    for b, d, i, j in itertools.product(range(2), range(3), range(2), range(3)):
        relative = (points[b, 0, d, i, j].numpy() - np.array(GRID.lower)) / np.array(GRID.voxel_size)
        x, y, z = np.trunc(relative).astype(int)
        if all(0 <= index < count for index, count in zip((x, y, z), GRID.shape, strict=True)):
            expected[b, :, x, y, z] += depth[b, 0, d, i, j] * context[b, 0, :, i, j]
            kept += 1
    assert 10 < kept < 36
    torch.testing.assert_close(volume, expected)


def test_points_just_below_the_grid_count():
    points = torch.tensor([-0.5, -13.0, -3.0]).view(1, 1, 1, 1, 1, 3)
    ones = torch.ones(1, 1, 1, 1, 1)
    assert splat_voxels(ones, ones, points, GRID)[0, 0, 0, 0, 0] == 1


class TestWindows:
    def test_windows_and_back(self):
        x = torch.arange(2 * 14 * 21 * 3.0).view(2, 14, 21, 3)
        windows = to_windows(x)
        assert windows.shape == (2, 6, 49, 3)
        assert torch.equal(windows[1, 4, 8], x[1, 7 + 1, 7 + 1])
        assert torch.equal(from_windows(windows, (14, 21)), x)

    def test_attention_brute_force(self):
        attention = WindowAttention(4, 2).requires_grad_(False)
        attention.relative_position_bias_table.normal_(generator=generator())
        x = torch.randn(1, 1, 49, 4, generator=generator(1))
        q, k, v = attention.qkv(x[0, 0]).view(49, 3, 2, 2).unbind(1)
        read = torch.zeros(49, 2, 2)
        for head in range(2):
            for query in range(49):
                scores = [
                    float(q[query, head] @ k[key, head]) / math.sqrt(2)
                    + float(
                        attention.relative_position_bias_table[
                            (query // 7 - key // 7 + 6) * 13 + query % 7 - key % 7 + 6, head
                        ]
                    )
                    for key in range(49)
                ]
                read[query, head] = torch.tensor(scores).softmax(0) @ v[:, head]
        expected = attention.proj(read.flatten(1))
        torch.testing.assert_close(attention(x, None)[0, 0], expected, atol=1e-5, rtol=1e-5)

    def test_shifted_windows_do_not_look_around_the_edge(self):
        """A change in the last row is seen in its own window of the shifted map, and not on the opposite side."""
        attention = ShiftedWindowAttention(4, 1, shifted=True).requires_grad_(False)
        x = torch.randn(1, 14, 14, 4, generator=generator())
        changed = x.clone()
        changed[:, 13] += 1
        moved = (attention(changed) - attention(x)).abs().amax(dim=(0, 2, 3)) > 1e-6
        assert moved.tolist() == [False] * 10 + [True] * 4

    def test_the_padding_is_looked_at(self):
        attention = ShiftedWindowAttention(4, 1, shifted=False).requires_grad_(False)
        x = torch.randn(1, 5, 7, 4, generator=generator())
        padded = F.pad(x, (0, 0, 0, 0, 0, 2))
        torch.testing.assert_close(attention(x), attention(padded)[:, :5])


def trilinear(volume, place):
    """Value of (X, Y, Z) at a place in voxels, the middle of the first one being 0; zeros outside."""
    total, low = 0.0, [math.floor(p) for p in place]
    for step in itertools.product((0, 1), repeat=3):
        index = [a + b for a, b in zip(low, step, strict=True)]
        if all(0 <= i < n for i, n in zip(index, volume.shape, strict=True)):
            total += float(volume[tuple(index)]) * math.prod(1 - abs(p - i) for p, i in zip(place, index, strict=True))
    return total


def test_deformable_attention_reads_what_it_says():
    g, shapes = generator(), [(2, 3, 2), (4, 5, 3)]
    voxels = [math.prod(shape) for shape in shapes]
    values = torch.randn(1, sum(voxels), 2, 1, generator=g)
    locations = torch.rand(1, 3, 2, 2, 2, 3, generator=g) * 1.4 - 0.2
    weights = torch.rand(1, 3, 2, 2, 2, generator=g)
    read = read_points(values, shapes, locations, weights)
    assert read.shape == (1, 3, 2)
    for query, head in itertools.product(range(3), range(2)):
        expected = 0.0
        for level, (shape, part) in enumerate(zip(shapes, values[0, :, head, 0].split(voxels), strict=True)):
            for point in range(2):
                zyx = locations[0, query, head, level, point].tolist()
                place = [at * count - 0.5 for at, count in zip(zyx[::-1], shape, strict=True)]
                expected += weights[0, query, head, level, point].item() * trilinear(part.view(shape), place)
        assert read[0, query, head].item() == pytest.approx(expected, abs=1e-4)


def test_deformable_attention_begins_with_equal_weights_around_each_voxel():
    attention = VolumeAttention(16, 8, levels=1, points=1)
    steps = attention.sampling_offsets.bias.detach().view(8, 3)
    torch.testing.assert_close(steps.abs().amax(dim=1), torch.ones(8))
    torch.testing.assert_close(steps[0], torch.tensor([1.0, 0.0, 0.5]))
    centers = cell_centers([(2, 1, 4)])
    assert centers[1].tolist() == [0.375, 0.5, 0.25]


def test_positions():
    codes = sine_positions((3, 4, 2), 4)
    assert codes.shape == (24, 12)
    place = {"x": (2, 3), "y": (1, 4), "z": (1, 2)}
    row = codes[2 * 8 + 1 * 2 + 1]
    for axis, (index, count) in enumerate(place.values()):
        e = (index + 1) / (count + 1e-6) * 2 * math.pi
        expected = [math.sin(e), math.cos(e), math.sin(e / 100), math.cos(e / 100)]
        torch.testing.assert_close(row[4 * axis : 4 * axis + 4], torch.tensor(expected), atol=1e-5, rtol=0)
