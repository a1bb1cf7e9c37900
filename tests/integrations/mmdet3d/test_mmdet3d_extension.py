"""mmcv's own functions, on its compiled operators where they are installed, beside ours: both must say the same."""

import numpy as np
import pytest
import torch

from al_lightning.integrations.mmdet3d.libraries import require

pytest.importorskip("mmdet3d", reason="needs the extra mmdet3d: make test-mmdet3d")
require("these tests")

import mmcv.ops  # noqa: E402
from mmcv._ext import nms_rotated as first_operator  # noqa: E402
from mmdet3d.models.layers import box3d_multiclass_nms  # noqa: E402
from mmdet3d.structures import LiDARInstance3DBoxes  # noqa: E402

from al_lightning.integrations.mmdet3d.extension import ExtensionStandIn  # noqa: E402
from al_lightning.integrations.mmdet3d.overlap import rotated_iou, suppress_rotated  # noqa: E402
from al_lightning.integrations.mmdet3d.points import fill_voxels, points_in_boxes, voxel_coordinates  # noqa: E402

on_stand_in = pytest.mark.skipif(
    first_operator is not ExtensionStandIn.nms_rotated, reason="mmcv has its compiled operators here"
)


def boxes(count, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.hstack([rng.uniform(-5, 5, (count, 2)), rng.uniform(0.5, 4, (count, 2)), rng.uniform(-3, 3, (count, 1))])
    return torch.tensor(rows, dtype=torch.float32)


@on_stand_in
def test_missing_operators_say_how_to_get_them():
    with pytest.raises(NotImplementedError, match=r"'roi_align_forward' is compiled code.*docs/mmdet3d\.md"):
        mmcv.ops.roi_align(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5), (2, 2))


def test_overlap():
    one, other = boxes(70), boxes(50, 1)
    expected = rotated_iou(one, other).float()
    assert int((expected > 0).sum()) > 200
    torch.testing.assert_close(mmcv.ops.box_iou_rotated(one, other), expected)
    torch.testing.assert_close(mmcv.ops.box_iou_rotated(one[:50], other, aligned=True), expected[:50].diagonal())
    torch.testing.assert_close(
        mmcv.ops.box_iou_rotated(one, other, mode="iof"), rotated_iou(one, other, of_first=True).float()
    )


def test_overlap_of_angles_that_run_the_other_way():
    """Without ``clockwise`` mmcv negates all angles, which moves boxes that do not share a centre."""
    one, other = boxes(70), boxes(50, 1)
    turned = torch.tensor([1.0, 1.0, 1.0, 1.0, -1.0])
    expected = rotated_iou(one * turned, other * turned).float()
    assert (expected - rotated_iou(one, other).float()).abs().max() > 0.1
    torch.testing.assert_close(mmcv.ops.box_iou_rotated(one, other, clockwise=False), expected)


def test_rotated_suppression():
    rows, scores = boxes(70), torch.rand(70, generator=torch.manual_seed(0))
    expected = suppress_rotated(rows, scores, 0.3)
    assert 10 < len(expected) < 60
    assert mmcv.ops.nms_rotated(rows, scores, 0.3)[1].tolist() == expected.tolist()
    assert mmcv.ops.nms_rotated(boxes(1).repeat(4, 1), torch.tensor([0.2, 0.9, 0.5, 0.7]), 0.5)[1].tolist() == [1]


@on_stand_in  # the compiled operator minds labels on CUDA alone
def test_rotated_suppression_apart_by_label():
    rows = boxes(1).repeat(4, 1)
    scores, labels = torch.tensor([0.2, 0.9, 0.5, 0.7]), torch.tensor([0, 0, 1, 1])
    kept, numbers = mmcv.ops.nms_rotated(rows, scores, 0.5, labels)
    assert numbers.tolist() == [1, 3]
    torch.testing.assert_close(kept[:, 5], torch.tensor([0.9, 0.7]))


def test_plain_suppression():
    rows = torch.tensor([[0.0, 0, 10, 10], [1.0, 1, 10, 10], [20.0, 20, 30, 30]])
    kept, numbers = mmcv.ops.nms(rows, torch.tensor([0.5, 0.9, 0.3]), 0.5)
    assert numbers.tolist() == [1, 2]
    assert kept.shape == (2, 5)


def test_hard_and_dynamic_voxels():
    points = torch.rand(300, 4) * torch.tensor([8.0, 8.0, 4.0, 1.0]) - torch.tensor([4.0, 4.0, 2.0, 0.0])
    size, extent = [0.5, 0.5, 4.0], [-3.0, -3.0, -2.0, 3.0, 3.0, 2.0]
    voxels, cells, counts = mmcv.ops.Voxelization(size, extent, max_num_points=4, max_voxels=50)(points)
    for made, expected in zip((voxels, cells, counts), fill_voxels(points, size, extent, 4, 50), strict=True):
        torch.testing.assert_close(made, expected)
    dynamic = mmcv.ops.Voxelization(size, extent, max_num_points=-1)(points)
    torch.testing.assert_close(dynamic, voxel_coordinates(points, size, extent))


def test_points_in_boxes():
    rows = torch.cat((boxes(40)[:, :2], torch.zeros(40, 1), boxes(40)[:, 2:4], torch.ones(40, 1), boxes(40)[:, 4:]), 1)
    points = torch.rand(500, 3) * torch.tensor([10.0, 10.0, 2.0]) - torch.tensor([5.0, 5.0, 0.5])
    expected = points_in_boxes(points[None], rows[None])
    assert int(expected.sum()) > 100
    assert mmcv.ops.points_in_boxes_cpu(points[None], rows[None]).bool().equal(expected)


def test_boxes_of_mmdet3d_overlap_themselves():
    found = LiDARInstance3DBoxes(torch.tensor([[0.0, 0, 0, 4, 2, 2, 0.5], [30.0, 0, 0, 1, 1, 1, 0]]))
    torch.testing.assert_close(found.overlaps(found, found), torch.eye(2))


@on_stand_in  # the compiled operator runs on CUDA alone
def test_boxes_of_mmdet3d_find_their_points():
    rows = torch.tensor([[0.0, 0, 0, 4, 2, 2, 0.5], [0.5, 0, 0, 4, 2, 2, 0.5], [30.0, 0, 0, 1, 1, 1, 0]])
    found = LiDARInstance3DBoxes(rows)
    points = torch.cat((found.gravity_center, torch.tensor([[99.0, 0, 0]])))
    assert found.points_in_boxes_all(points).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert found.points_in_boxes_part(points).tolist() == [0, 0, 2, -1]
    assert found[:0].points_in_boxes_part(points).tolist() == [-1] * 4
    cpu = mmcv.ops.points_in_boxes_cpu(points[None], rows[None])
    assert cpu[0].tolist() == found.points_in_boxes_all(points).tolist()
    torch.testing.assert_close(found.overlaps(found, found).diagonal(), torch.ones(3))


def test_suppression_in_a_detectors_head():
    rows = torch.tensor([[0.0, 0, 0, 4, 2, 2, 0.5], [0.2, 0, 0, 4, 2, 2, 0.5], [30.0, 0, 0, 1, 1, 1, 0]])
    scores = torch.tensor([[0.9, 0.0], [0.8, 0.0], [0.0, 0.6]])
    config = type("Config", (), {"use_rotate_nms": True, "nms_thr": 0.2, "nms_pre": 10})
    bev = LiDARInstance3DBoxes(rows).bev
    padded = torch.cat((scores, torch.zeros(3, 1)), dim=1)
    kept, values, labels, *_ = box3d_multiclass_nms(rows, bev, padded, 0.1, 10, config)
    assert (values.tolist(), labels.tolist()) == (pytest.approx([0.9, 0.6]), [0, 1])
    torch.testing.assert_close(kept, rows[[0, 2]])
