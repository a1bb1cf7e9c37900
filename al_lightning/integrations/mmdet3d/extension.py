"""A stand-in for ``mmcv._ext``, mmcv's compiled operators, where mmcv is installed without them (mmcv-lite).

It takes the arguments of the compiled functions, which write into tensors that they are given. Operators that it does
not have raise a `NotImplementedError` when they are called, so that everything that does not call them works.
"""

# ruff: noqa: ARG004  # the arguments are mmcv's

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from al_lightning.integrations.mmdet3d.overlap import aligned_iou, rotated_iou, suppress, suppress_rotated
from al_lightning.integrations.mmdet3d.points import fill_voxels, points_in_boxes, voxel_coordinates

ADVICE = "install mmcv 2.1 with its operators, compiled (docs/mmdet3d.md, 'The compiled operators')"


class ExtensionStandIn(ModuleType):
    """The module that mmcv imports as ``mmcv._ext``."""

    def __init__(self) -> None:
        super().__init__("mmcv._ext", "Stand-in for mmcv's compiled operators.")

    def __getattr__(self, name: str) -> Any:
        """An operator that is not there: it says so when it is called."""
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: Any, **__: Any) -> Any:
            raise NotImplementedError(f"mmcv's operator '{name}' is compiled code that is not here: {ADVICE}")

        return missing

    @staticmethod
    def dynamic_voxelize_forward(
        points: Tensor, voxel_size: Tensor, coors_range: Tensor, coors: Tensor, NDim: int = 3
    ) -> None:
        """Fill ``coors`` (P, 3)."""
        coors.copy_(voxel_coordinates(points, voxel_size.tolist(), coors_range.tolist()))

    @staticmethod
    def hard_voxelize_forward(
        points: Tensor,
        voxel_size: Tensor,
        coors_range: Tensor,
        voxels: Tensor,
        coors: Tensor,
        num_points_per_voxel: Tensor,
        voxel_num: Tensor,
        max_points: int,
        max_voxels: int,
        NDim: int = 3,
        deterministic: bool = True,
    ) -> None:
        """Fill ``voxels`` (V, M, F), ``coors`` (V, 3) and ``num_points_per_voxel`` (V,) up to ``voxel_num`` ()."""
        filled, cells, counts = fill_voxels(points, voxel_size.tolist(), coors_range.tolist(), max_points, max_voxels)
        voxels[: len(filled)], coors[: len(filled)], num_points_per_voxel[: len(filled)] = filled, cells, counts
        voxel_num.fill_(len(filled))

    @staticmethod
    def box_iou_rotated(boxes1: Tensor, boxes2: Tensor, ious: Tensor, mode_flag: int, aligned: bool) -> None:
        """Fill ``ious``: (N,) of pairs if aligned, else (N N')."""
        iou = rotated_iou(boxes1, boxes2, of_first=mode_flag == 1)
        ious.copy_((iou.diagonal() if aligned else iou).reshape(ious.shape))

    @staticmethod
    def nms_rotated(
        dets: Tensor,
        scores: Tensor,
        order: Tensor,
        dets_sorted: Tensor,
        labels: Tensor,
        iou_threshold: float,
        multi_label: bool,
    ) -> Tensor:
        """Numbers of the kept boxes; with ``multi_label``, boxes of other labels do not count."""
        return suppress_rotated(dets[:, :5], scores, iou_threshold, labels if multi_label else None)

    @staticmethod
    def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
        """Numbers of the kept axis-aligned boxes."""
        return suppress(aligned_iou(boxes, offset), scores, iou_threshold)

    @staticmethod
    def points_in_boxes_cpu_forward(boxes: Tensor, points: Tensor, indices: Tensor) -> None:
        """Fill ``indices`` (N, P) with 0 and 1."""
        indices.copy_(points_in_boxes(points, boxes).transpose(-1, -2))


def points_in_boxes_all(points: Tensor, boxes: Tensor) -> Tensor:
    """In place of mmcv's function of this name, which runs on CUDA alone: (B, P, N) int32, 0 or 1."""
    return points_in_boxes(points, boxes).to(torch.int32)


def points_in_boxes_part(points: Tensor, boxes: Tensor) -> Tensor:
    """In place of mmcv's function of this name, which runs on CUDA alone: (B, P) int32, the first box or -1."""
    inside = points_in_boxes(points, boxes)
    if not inside.shape[-1]:
        return inside.new_full(inside.shape[:-1], -1, dtype=torch.int32)
    return torch.where(inside.any(-1), inside.to(torch.uint8).argmax(-1), -1).to(torch.int32)
