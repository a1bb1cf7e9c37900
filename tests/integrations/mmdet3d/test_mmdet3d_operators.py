"""The operators against brute force: polygons of shapely, a dictionary of voxels, boxes taken apart by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import box as rectangle

from al_lightning.integrations.mmdet3d.overlap import (
    aligned_iou,
    rotated_intersections,
    rotated_iou,
    suppress,
    suppress_rotated,
)
from al_lightning.integrations.mmdet3d.points import fill_voxels, points_in_boxes, voxel_coordinates

SIZE, EXTENT = (0.5, 0.25, 4.0), (-4.0, -2.0, -3.0, 4.0, 2.0, 1.0)


def polygon(row):
    x, y, width, height, angle = row
    shape = rectangle(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return affinity.rotate(shape, angle, use_radians=True)


def random_boxes(count, rng):
    sizes = rng.uniform(0.2, 5.0, (count, 2))
    return torch.tensor(np.hstack([rng.uniform(-4, 4, (count, 2)), sizes, rng.uniform(-4, 4, (count, 1))]))


# --- voxels ---------------------------------------------------------------------------------------------------------


def voxels_by_dictionary(points, max_points, max_voxels):
    """Point by point, as the compiled operator is documented: in the order of arrival, what is too much is dropped."""
    found, order = {}, []
    counts = [round((high - low) / s) for low, high, s in zip(EXTENT[:3], EXTENT[3:], SIZE, strict=True)]
    for point in points:
        cell = tuple(
            math.floor((np.float32(v) - np.float32(low)) / np.float32(s))
            for v, low, s in zip(point, EXTENT, SIZE, strict=False)
        )
        if not all(0 <= c < n for c, n in zip(cell, counts, strict=True)):
            continue
        if cell not in found:
            if len(order) == max_voxels:
                continue
            found[cell] = []
            order.append(cell)
        if len(found[cell]) < max_points:
            found[cell].append(point)
    return order, found


@pytest.mark.parametrize(("max_points", "max_voxels"), [(1, 1000), (3, 1000), (3, 20), (50, 7), (2, 1)])
def test_voxels_fill_as_points_come(max_points, max_voxels):
    rng = np.random.default_rng(max_points)
    points = torch.tensor(rng.uniform([-5, -3, -4, 0], [5, 3, 2, 1], (700, 4)), dtype=torch.float32)
    order, found = voxels_by_dictionary(points.numpy(), max_points, max_voxels)
    voxels, cells, counts = fill_voxels(points, SIZE, EXTENT, max_points, max_voxels)
    assert cells.tolist() == [list(cell[::-1]) for cell in order]
    assert counts.tolist() == [len(found[cell]) for cell in order]
    assert (cells.dtype, counts.dtype, voxels.shape) == (torch.int32, torch.int32, (len(order), max_points, 4))
    for voxel, cell in zip(voxels, order, strict=True):
        held = len(found[cell])
        np.testing.assert_array_equal(voxel[:held], np.stack(found[cell]))
        assert not voxel[held:].any()


def test_voxels_without_points():
    for points in (torch.zeros(0, 5), torch.full((3, 5), 99.0)):
        voxels, cells, counts = fill_voxels(points, SIZE, EXTENT, 4, 10)
        assert (voxels.shape, cells.shape, counts.shape) == ((0, 4, 5), (0, 3), (0,))


def test_voxel_of_each_point_and_its_borders():
    points = torch.tensor([[-4.0, -2.0, -3.0], [3.99, 1.99, 0.99], [4.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    cells = voxel_coordinates(points, SIZE, EXTENT)
    assert cells.tolist() == [[0, 0, 0], [0, 15, 15], [-1, -1, -1], [0, 8, 8]]


# --- overlap --------------------------------------------------------------------------------------------------------


def test_overlap_of_rotated_rectangles_is_that_of_polygons():
    rng = np.random.default_rng(0)
    first, second = random_boxes(30, rng), random_boxes(25, rng)
    expected = [[polygon(a).intersection(polygon(b)).area / polygon(a).union(polygon(b)).area for b in second.tolist()]
                for a in first.tolist()]  # fmt: skip
    np.testing.assert_allclose(rotated_iou(first, second), expected, atol=1e-9)
    inside = [[polygon(a).intersection(polygon(b)).area / polygon(a).area for b in second.tolist()]
              for a in first.tolist()]  # fmt: skip
    np.testing.assert_allclose(rotated_iou(first, second, of_first=True), inside, atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4, math.pi / 2, math.pi, -2.0])
@pytest.mark.parametrize(("shift", "expected"), [(0.0, 1.0), (2.0, 1 / 3), (4.0, 0.0), (9.0, 0.0)])
def test_sides_that_lie_on_each_other(angle, shift, expected):
    """A rectangle of 4 x 2 pushed along its length: same, half over, side by side, apart; far from the origin too."""
    for x, y in ((0.0, 0.0), (1e5, -3e5)):
        one = torch.tensor([[x, y, 4.0, 2.0, angle]], dtype=torch.float64)
        other = one + torch.tensor([[shift * math.cos(angle), shift * math.sin(angle), 0, 0, 0]])
        assert rotated_iou(one, other).item() == pytest.approx(expected, abs=1e-6)


def test_one_inside_the_other_and_a_cross():
    inner, outer = torch.tensor([[0.1, 0.2, 1.0, 0.5, 0.7]]), torch.tensor([[0.0, 0.0, 4.0, 4.0, 0.2]])
    assert rotated_intersections(inner, outer).item() == pytest.approx(0.5)
    upright, flat = torch.tensor([[0.0, 0.0, 1.0, 6.0, 0.0]]), torch.tensor([[0.0, 0.0, 6.0, 1.0, 0.0]])
    assert rotated_intersections(upright, flat).item() == pytest.approx(1.0)


@given(
    st.lists(st.tuples(*[st.floats(-3, 3)] * 2, *[st.floats(0.01, 6)] * 2, st.floats(-7, 7)), min_size=1, max_size=6)
)
def test_overlap_is_symmetric_and_whole_with_itself(rows):
    boxes = torch.tensor(rows, dtype=torch.float64)
    iou = rotated_iou(boxes, boxes)
    torch.testing.assert_close(iou, iou.T, atol=1e-7, rtol=0)
    torch.testing.assert_close(iou.diagonal(), torch.ones(len(rows), dtype=torch.float64), atol=1e-7, rtol=0)


def test_no_boxes():
    none, some = torch.zeros(0, 5), torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0]])
    assert rotated_iou(none, some).shape == (0, 1)
    assert rotated_iou(some, none).shape == (1, 0)
    assert rotated_iou(torch.zeros(1, 5), torch.zeros(1, 5)).item() == 0
    assert suppress(torch.zeros(0, 0), torch.zeros(0), 0.5).tolist() == []


def test_aligned_overlap():
    boxes = torch.tensor([[0.0, 0, 2, 2], [1.0, 1, 3, 3], [5.0, 5, 6, 6]])
    iou = aligned_iou(boxes)
    assert iou[0].tolist() == pytest.approx([1, 1 / 7, 0])
    assert aligned_iou(boxes, offset=1.0)[0, 1].item() == pytest.approx(4 / 14)


# --- suppression ----------------------------------------------------------------------------------------------------


def test_suppression_box_by_box():
    rng = np.random.default_rng(1)
    boxes, scores = random_boxes(80, rng), torch.tensor(rng.permutation(80) / 80)
    iou = rotated_iou(boxes, boxes)
    for threshold in (0.05, 0.2, 0.7):
        kept = []
        for number in scores.argsort(descending=True).tolist():
            if all(iou[number, other] <= threshold for other in kept):
                kept.append(number)
        assert suppress(iou, scores, threshold).tolist() == kept
        assert suppress_rotated(boxes, scores, threshold).tolist() == kept


def test_suppression_apart_by_label():
    rng = np.random.default_rng(3)
    boxes, scores = random_boxes(60, rng), torch.tensor(rng.integers(0, 9, 60) / 9)
    labels = torch.tensor(rng.integers(0, 3, 60))
    iou = rotated_iou(boxes, boxes) * (labels[:, None] == labels)
    for threshold in (0.05, 0.4):
        expected = suppress(iou, scores, threshold).tolist()
        assert suppress_rotated(boxes, scores, threshold, labels).tolist() == expected
    assert suppress_rotated(boxes[:0], scores[:0], 0.5).tolist() == []


def test_equal_scores_keep_the_first_and_the_threshold_itself_stays():
    iou = torch.tensor([[1.0, 0.5, 0.5], [0.5, 1.0, 0.6], [0.5, 0.6, 1.0]], dtype=torch.float64)
    assert suppress(iou, torch.tensor([0.3, 0.9, 0.9]), 0.5).tolist() == [1, 0]


# --- points in boxes ------------------------------------------------------------------------------------------------


def test_points_in_boxes_by_hand():
    quarter = [1.0, 2.0, -1.0, 4.0, 2.0, 2.0, math.pi / 2]  # 4 m along y, 2 m along x, from z = -1 to 1
    points = torch.tensor(
        [[1.0, 3.9, 0.0], [1.0, 4.1, 0.0], [1.9, 2.0, 0.0], [2.1, 2.0, 0.0], [1.0, 2.0, 1.0], [1.0, 2.0, 1.01]],
        dtype=torch.float64,
    )
    inside = points_in_boxes(points, torch.tensor([quarter], dtype=torch.float64))
    assert inside[:, 0].tolist() == [True, False, True, False, True, False]


def test_points_in_turned_boxes_are_points_in_upright_boxes():
    rng = np.random.default_rng(2)
    points = torch.tensor(rng.uniform(-4, 4, (2, 300, 3)))
    boxes = torch.tensor(
        np.concatenate(
            [rng.uniform(-3, 3, (2, 5, 3)), rng.uniform(0.5, 4, (2, 5, 3)), rng.uniform(-4, 4, (2, 5, 1))], 2
        )
    )
    inside = points_in_boxes(points, boxes)
    assert inside.shape == (2, 300, 5)
    assert 0.01 < inside.double().mean() < 0.3
    for frame in range(2):
        for number, row in enumerate(boxes[frame].numpy()):
            cos, sin = np.cos(-row[6]), np.sin(-row[6])
            local = (points[frame].numpy() - row[:3]) @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
            low, high = np.array([-row[3] / 2, -row[4] / 2, 0]), np.array([row[3] / 2, row[4] / 2, row[5]])
            expected = ((local > low) & (local < high)).all(1)
            np.testing.assert_array_equal(inside[frame, :, number], expected)
