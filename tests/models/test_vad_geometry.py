import math

import numpy as np
import torch
from fake_driving import rig
from hypothesis import given, settings
from hypothesis import strategies as st

from al_lightning.models.vad.deformable import read_points
from al_lightning.models.vad.ego_motion import shift_since_previous, turn
from al_lightning.models.vad.planner import nearest_to_corner
from al_lightning.models.vad.projection import camera_view, cell_locations, cell_points, project
from al_lightning.types import VoxelGrid

GRID = VoxelGrid((-15.0, -30.0, -2.0), (15.0, 30.0, 2.0), (10, 20, 4))


@settings(max_examples=15)
@given(seed=st.integers(0, 2**31))
def test_reading_points_is_bilinear_with_zeros_outside(seed):
    g = np.random.default_rng(seed)
    H, W, Q, heads, d, P = 3, 5, 4, 2, 3, 2
    maps, weights = g.standard_normal((1, H * W, heads, d)), g.random((1, Q, heads, P))
    places = g.uniform(-0.3, 1.3, (1, Q, heads, P, 2))
    ours = read_points(torch.from_numpy(maps), (H, W), torch.from_numpy(places), torch.from_numpy(weights))
    for q, h in np.ndindex(Q, heads):
        total = np.zeros(d)
        for p in range(P):
            x, y = places[0, q, h, p] * (W, H) - 0.5
            for j, i in np.ndindex(W, H):
                near = max(0, 1 - abs(x - j)) * max(0, 1 - abs(y - i))
                total += weights[0, q, h, p] * near * maps[0, i * W + j, h]
        np.testing.assert_allclose(ours[0, q, h * d : (h + 1) * d], total, atol=1e-9)


def test_turning_follows_the_published_rule():
    """TRAP: about (100, 100), the last corner of a 100 x 100 view."""
    bev = torch.randn(2, 100 * 100, 2, generator=torch.Generator().manual_seed(0))
    degrees = (3.3, -7.0)
    ours = turn(bev, (100, 100), torch.tensor(degrees), (100.0, 100.0)).view(2, 100, 100, 2)
    for b, angle in enumerate(degrees):
        cos, sin = (f(float(torch.tensor(angle)) * math.pi / 180) for f in (math.cos, math.sin))
        for i, j in np.random.default_rng(b).integers(0, 100, (300, 2)):
            dx, dy = j + 0.5 - 100, i + 0.5 - 100
            column, line = round(cos * dx - sin * dy + 99.5), round(sin * dx + cos * dy + 99.5)
            inside = 0 <= column < 100 and 0 <= line < 100
            expected = bev[b, line * 100 + column] if inside else torch.zeros(2)
            assert torch.equal(ours[b, i, j], expected)


def test_what_lay_ahead_lies_to_the_right_after_a_left_turn():
    bev = torch.zeros(1, 49, 1)
    ahead, right = 5 * 7 + 3, 3 * 7 + 5  # rows are y (forward), columns x (right); the ego is at (3, 3)
    bev[0, ahead] = 1.0
    turned = turn(bev, (7, 7), torch.tensor([90.0]), (3.5, 3.5))
    assert turned[0, :, 0].nonzero().flatten().tolist() == [right]
    assert torch.equal(turn(bev, (7, 7), torch.tensor([0.0]), (3.5, 3.5)), bev)


def test_shift_is_the_way_in_the_frame_of_the_ego():
    can_bus = torch.zeros(3, 18)
    can_bus[:, 16] = math.pi / 6
    can_bus[0, :2] = 3 * torch.tensor([math.cos(math.pi / 6), math.sin(math.pi / 6)])  # 3 m forward
    can_bus[1, :2] = 3 * torch.tensor([math.sin(math.pi / 6), -math.cos(math.pi / 6)])  # 3 m to the right
    expected = torch.tensor([[0.0, 3 / 60], [3 / 30, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(shift_since_previous(can_bus, (30.0, 60.0)), expected)


def test_cells_and_their_heights_lie_row_by_row():
    places, points = cell_locations((20, 10), torch.device("cpu")), cell_points(GRID, torch.device("cpu"))
    assert points.shape == (200, 4, 3)
    torch.testing.assert_close(points[..., 2], torch.tensor([-1.5, -0.5, 0.5, 1.5]).expand(200, 4))
    torch.testing.assert_close(points[:, 0, :2], places * torch.tensor([30.0, 60.0]) - torch.tensor([15.0, 30.0]))
    torch.testing.assert_close(places[1] - places[0], torch.tensor([0.1, 0.0]))


def test_projection_is_the_matrix_product():
    points, matrices = cell_points(GRID, torch.device("cpu")), rig()[None]
    locations, visible = project(points, matrices, (64, 176))
    homogeneous = torch.cat((points, torch.ones_like(points[..., :1])), dim=-1)
    image = torch.einsum("nij,qzj->nqzi", matrices[0].double(), homogeneous.double())
    depth = image[..., 2]
    expected = image[..., :2] / depth.clamp(min=1e-5)[..., None] / torch.tensor([176.0, 64.0])
    inside = (depth > 1e-5) & (expected > 0).all(-1) & (expected < 1).all(-1)
    assert torch.equal(visible[0], inside)
    assert 0.02 < inside.float().mean() < 0.5
    torch.testing.assert_close(locations[0][inside].double(), expected[inside], atol=1e-5, rtol=1e-5)


def test_a_camera_view_lists_every_cell_that_is_seen_once():
    points = cell_points(GRID, torch.device("cpu"))
    matrices = torch.stack((rig(), rig().flip(0)))
    view = camera_view(points, matrices, (64, 176))
    locations, visible = project(points, matrices, (64, 176))
    for b, n in np.ndindex(2, 6):
        cells, seen = view.cells[b, n], view.seen[b, n]
        assert sorted(cells[seen].tolist()) == visible[b, n].any(dim=-1).nonzero().flatten().tolist()
        assert len(set(cells.tolist())) == len(cells)
        assert torch.equal(view.anchors[b, n], locations[b, n, cells])
    assert torch.equal(view.cameras, visible.any(dim=-1).sum(dim=1).clamp(min=1))


def test_the_point_nearest_to_the_corner_stands_for_a_line():
    lines = torch.rand(2, 5, 4, 2, generator=torch.Generator().manual_seed(0))
    for b, v in np.ndindex(2, 5):
        expected = min(lines[b, v], key=lambda point: float(point.norm()))
        assert torch.equal(nearest_to_corner(lines)[b, v], expected)
