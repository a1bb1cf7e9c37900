"""Voxelization and points in boxes in plain torch, as mmcv's compiled operators have them.

Shape letters: P points, F numbers of a point, V voxels, M points kept of a voxel, N boxes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def voxel_coordinates(points: Tensor, voxel_size: Sequence[float], extent: Sequence[float]) -> Tensor:
    """In which voxel each point lies ("dynamic voxelization").

    Args:
        points: (P, F) x, y, z and more.
        voxel_size: edge lengths along x, y, z.
        extent: x, y, z of the lower corner, then of the upper one.

    Returns:
        (P, 3) int32 voxel numbers in the order z, y, x; -1, -1, -1 outside.
    """
    size, lower, upper = (points.new_tensor(list(values)) for values in (voxel_size, extent[:3], extent[3:]))
    counts = ((upper - lower) / size).round()
    cell = ((points[:, :3] - lower) / size).floor()
    inside = ((cell >= 0) & (cell < counts)).all(dim=1, keepdim=True)
    return torch.where(inside, cell, -1.0).to(torch.int32).flip(1)


def fill_voxels(
    points: Tensor, voxel_size: Sequence[float], extent: Sequence[float], max_points: int, max_voxels: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Points sorted into voxels of fixed capacity ("hard voxelization", the deterministic one).

    Voxels are numbered as their first points come; those past ``max_voxels`` are dropped, and so are the points past
    ``max_points`` of a voxel.

    Args:
        points: (P, F) x, y, z and more.
        voxel_size: edge lengths along x, y, z.
        extent: x, y, z of the lower corner, then of the upper one.
        max_points: M.
        max_voxels: most voxels.

    Returns:
        (V, M, F) points of each voxel, zeros behind the last one; (V, 3) int32 voxel numbers z, y, x; (V,) int32 how
        many points a voxel holds.
    """
    cells = voxel_coordinates(points, voxel_size, extent)
    inside = cells[:, 0] >= 0
    points, cells = points[inside], cells[inside]
    position = torch.arange(len(points), device=points.device)
    voxel, first = _numbered_by_arrival(cells, position)
    order = torch.sort(voxel, stable=True).indices  # by voxel, within it as they came
    counts = torch.bincount(voxel, minlength=len(first))
    starts = counts.cumsum(0) - counts
    slot = torch.empty_like(position)
    slot[order] = position - starts[voxel[order]]
    kept = (slot < max_points) & (voxel < max_voxels)
    filled = min(len(first), max_voxels)
    voxels = points.new_zeros(filled, max_points, points.shape[1])
    voxels[voxel[kept], slot[kept]] = points[kept]
    return voxels, cells[first[:filled]], counts[:filled].clamp(max=max_points).to(torch.int32)


def _numbered_by_arrival(cells: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """Number (P,) of each point's voxel, in the order of their first points, and these points' positions (V,)."""
    sizes = [int(size) for size in cells.max(dim=0).values + 1] if len(cells) else [1, 1, 1]
    key = (cells[:, 0].long() * sizes[1] + cells[:, 1]) * sizes[2] + cells[:, 2]
    unique, voxel = torch.unique(key, return_inverse=True)
    first = torch.full_like(unique, len(cells)).scatter_reduce(0, voxel, position, "amin")
    first, by_arrival = first.sort()
    number = torch.empty_like(by_arrival)
    number[by_arrival] = torch.arange(len(unique), device=cells.device)
    return number[voxel], first


def points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """Which points lie in which boxes; the faces at the sides do not belong to a box, bottom and top do.

    Args:
        points: (..., P, 3) x, y, z.
        boxes: (..., N, 7) centre of the bottom x, y, z, size along the box's own x, y, z, yaw counter-clockwise.

    Returns:
        (..., P, N) bool.
    """
    offset = points[..., :, None, :] - boxes[..., None, :, :3]
    size, yaw = boxes[..., None, :, 3:6], boxes[..., None, :, 6]
    cos, sin = yaw.cos(), yaw.sin()
    along = (offset[..., 0] * cos + offset[..., 1] * sin).abs()
    across = (offset[..., 1] * cos - offset[..., 0] * sin).abs()
    upright = (offset[..., 2] - size[..., 2] / 2).abs()
    return (along < size[..., 0] / 2) & (across < size[..., 1] / 2) & (upright <= size[..., 2] / 2)
