import math

import pytest
import torch

from al_lightning.models.view_transform import splat
from al_lightning.types import VoxelGrid

GRID = VoxelGrid((-2.0, -3.0, -1.0), (2.0, 3.0, 1.0), (4, 3, 1))


def random_lift(seed=0, B=2, N=2, C=5, D=3, h=2, w=4):
    g = torch.Generator().manual_seed(seed)
    depth = torch.rand(B, N, D, h, w, generator=g).requires_grad_()
    context = torch.randn(B, N, C, h, w, generator=g).requires_grad_()
    points = torch.randn(B, N, D, h, w, 3, generator=g) * torch.tensor([2.0, 3.0, 2.0])
    return depth, context, points


def brute_force(depth, context, points, grid):
    B, N, D, h, w = depth.shape
    X, Y, _ = grid.shape
    columns = {}
    for b, n, k, i, j in torch.cartesian_prod(*(torch.arange(size) for size in (B, N, D, h, w))).tolist():
        cell = [
            math.trunc((value - low) / size)
            for value, low, size in zip(points[b, n, k, i, j].tolist(), grid.lower, grid.voxel_size, strict=True)
        ]
        if all(0 <= index < count for index, count in zip(cell, grid.shape, strict=True)):
            columns.setdefault((b, *cell[:2]), []).append(depth[b, n, k, i, j] * context[b, n, :, i, j])
    zero = torch.zeros(context.shape[2])
    cells = [sum(columns.get((b, x, y), [zero])) for b in range(B) for y in range(Y) for x in range(X)]
    return torch.stack(cells).view(B, Y, X, -1).permute(0, 3, 1, 2), sum(map(len, columns.values()))


@pytest.mark.parametrize("seed", range(3))
def test_values_and_gradients_match_a_loop(seed):
    depth, context, points = random_lift(seed)
    expected, kept = brute_force(depth, context, points, GRID)
    assert 5 < kept < depth.numel() - 5  # the case exercises both kept and dropped points
    ours = splat(depth, context, points, GRID)
    torch.testing.assert_close(ours, expected)
    direction = torch.randn(ours.shape, generator=torch.Generator().manual_seed(seed))
    gradients = torch.autograd.grad((ours * direction).sum(), (depth, context))
    torch.testing.assert_close(gradients, torch.autograd.grad((expected * direction).sum(), (depth, context)))


@pytest.mark.parametrize(
    ("point", "cell"),
    [
        ((-1.99, -2.99, 0.0), (0, 0)),
        ((1.99, -2.99, 0.0), (3, 0)),
        ((-1.99, 2.99, 0.0), (0, 2)),
        ((-2.99, -4.99, 0.0), (0, 0)),  # less than a cell outside: truncated to cell 0
        ((0.5, 0.5, -2.99), (2, 1)),  # less than the grid's height below its floor
        ((-3.01, 0.0, 0.0), None),
        ((0.0, -5.01, 0.0), None),
        ((0.0, 0.0, -3.01), None),
        ((0.0, 0.0, 1.01), None),  # no such margin at the upper ends
        ((2.01, 0.0, 0.0), None),
        ((0.0, 3.01, 0.0), None),
    ],
)
def test_where_a_point_lands(point, cell):
    one = torch.ones(1, 1, 1, 1, 1)
    bev = splat(one, one, torch.tensor(point).view(1, 1, 1, 1, 1, 3), GRID)[0, 0]
    expected = torch.zeros(3, 4)  # rows are y
    if cell is not None:
        expected[cell[1], cell[0]] = 1.0
    assert torch.equal(bev, expected)


def test_no_point_inside_gives_zeros_and_zero_gradients():
    depth, context, points = random_lift()
    bev = splat(depth, context, points + 100.0, GRID)
    assert not bev.any()
    gradients = torch.autograd.grad(bev.sum(), (depth, context))
    assert not any(gradient.any() for gradient in gradients)


def test_half_precision_features_are_summed_in_float32():
    count = 4096  # bfloat16 counts by ones only up to 256
    ones = torch.ones(1, 1, 1, 1, count, dtype=torch.bfloat16)
    bev = splat(ones, ones, torch.zeros(1, 1, 1, 1, count, 3), GRID)
    assert bev.max().item() == count


def test_needs_a_flat_grid():
    depth, context, points = random_lift()
    with pytest.raises(ValueError, match="one cell along z"):
        splat(depth, context, points, VoxelGrid(GRID.lower, GRID.upper, (4, 3, 2)))
