"""Which voxels the cameras see, from calibration and predicted occupancy alone: no label is read.

Shape letters: B samples, N cameras, X Y Z voxels, R rays, H W pixels of the network's input.

A voxel is visible to a camera if its centre projects into the image and the straight segment from the camera to the
centre runs through no other occupied voxel. Voxels that the segment only touches (a face, an edge, a corner) do not
block it, nor does the voxel that holds the camera.
"""

from __future__ import annotations

import torch
from torch import Tensor

from al_lightning.types import CameraInputs, VoxelGrid

MIN_DEPTH = 1e-3  # metres in front of the camera
TOUCH = 1e-9  # crossings closer than this share of the segment are one: the segment passes through an edge or corner
COMPACT_EVERY = 8  # steps of the traversal between two removals of the rays that have ended


def in_frustum(grid: VoxelGrid, inputs: CameraInputs) -> Tensor:
    """Whether the centre of a voxel lies in front of a camera and projects into its image, after all augmentation.

    Args:
        grid: the voxels, in the augmented ego frame.
        inputs: cameras of a batch.

    Returns:
        (B, N, X, Y, Z) bool.
    """
    height, width = inputs.images.shape[-2:]
    projection = _projection(inputs)
    x, y, z = (axis.to(projection) for axis in _center_axes(grid))
    visible = torch.empty((*projection.shape[:2], *grid.shape), dtype=torch.bool, device=projection.device)
    for sample, cameras in enumerate(projection):
        for camera, matrix in enumerate(cameras):
            # (u d, v d, d) is affine in the centre, so it is a sum over the axes; d > 0 spares the division.
            u, v, depth = ((row[0] * x + row[3])[:, None, None] + (row[1] * y)[:, None] + row[2] * z for row in matrix)
            inside = (u >= 0) & (u < width * depth) & (v >= 0) & (v < height * depth)
            visible[sample, camera] = inside & (depth > MIN_DEPTH)
    return visible


def line_of_sight(occupied: Tensor, grid: VoxelGrid, origin: Tensor) -> Tensor:
    """Whether the segment from a point to the centre of a voxel runs through no other occupied voxel.

    Args:
        occupied: (X, Y, Z) bool.
        grid: the voxels.
        origin: (3,) metres, inside or outside the grid.

    Returns:
        (X, Y, Z) bool.

    Raises:
        ValueError: ``occupied`` does not have the shape of the grid.
    """
    _check_shape(occupied, grid)
    targets = torch.ones_like(occupied).nonzero()
    origins = _to_voxels(grid, origin.to(targets.device)).expand(len(targets), 3)
    return _unblocked(occupied, targets, origins).reshape(grid.shape)


def frustum_visibility(occupied: Tensor, grid: VoxelGrid, inputs: CameraInputs) -> Tensor:
    """Whether at least one camera sees a voxel: it lies in the camera's frustum and in its line of sight.

    Args:
        occupied: (B, X, Y, Z) bool, voxels that block the view.
        grid: the voxels, in the augmented ego frame.
        inputs: cameras of a batch.

    Returns:
        (B, X, Y, Z) bool.

    Raises:
        ValueError: ``occupied`` does not have the shape of the grid.
    """
    cameras = _to_voxels(grid, _camera_poses(inputs)[..., :3, 3])
    visible = torch.zeros_like(occupied)
    for sample, frustum in enumerate(in_frustum(grid, inputs)):
        _check_shape(occupied[sample], grid)
        rays = frustum.nonzero()  # (R, 4): camera, x, y, z
        seen = rays[_unblocked(occupied[sample], rays[:, 1:], cameras[sample, rays[:, 0]])]
        visible[sample, seen[:, 1], seen[:, 2], seen[:, 3]] = True
    return visible


def _check_shape(occupied: Tensor, grid: VoxelGrid) -> None:
    if occupied.shape != grid.shape or occupied.dtype != torch.bool:
        raise ValueError(
            f"occupied must be bool of the grid's shape {grid.shape}, got {occupied.dtype} {tuple(occupied.shape)}"
        )


def _camera_poses(inputs: CameraInputs) -> Tensor:
    """Camera frame to augmented ego frame (B, N, 4, 4) float64."""
    return inputs.bda.double()[:, None] @ inputs.camera2ego.double()


def _projection(inputs: CameraInputs) -> Tensor:
    """Augmented ego frame to (u d, v d, d) with d the depth and u, v a pixel of the network's input, (B, N, 3, 4)."""
    augmentation = torch.eye(3, dtype=torch.float64).repeat(*inputs.intrinsics.shape[:2], 1, 1).to(inputs.bda.device)
    augmentation[..., :2, :2] = inputs.post_rotation[..., :2, :2]
    augmentation[..., :2, 2] = inputs.post_translation[..., :2]
    ego_to_camera: Tensor = torch.linalg.inv(_camera_poses(inputs))[..., :3, :]
    return augmentation @ inputs.intrinsics.double() @ ego_to_camera


def _center_axes(grid: VoxelGrid) -> list[Tensor]:
    return [
        low + size * (torch.arange(count, dtype=torch.float64) + 0.5)
        for low, size, count in zip(grid.lower, grid.voxel_size, grid.shape, strict=True)
    ]


def _to_voxels(grid: VoxelGrid, points: Tensor) -> Tensor:
    """Metres (..., 3) to voxel units (..., 3): voxel i spans [i, i + 1)."""
    points = points.double()
    return (points - points.new_tensor(grid.lower)) / points.new_tensor(grid.voxel_size)


def _unblocked(occupied: Tensor, targets: Tensor, origins: Tensor) -> Tensor:
    """Exact voxel traversal (Amanatides and Woo) of all rays together, from the target's centre to the origin.

    With s in [0, 1] the place on the segment, a ray crosses its n-th plane of an axis at s = (n + 1/2) / |extent|.

    Args:
        occupied: (X, Y, Z) bool.
        targets: (R, 3) int64 voxels.
        origins: (R, 3) float64 in voxel units.

    Returns:
        (R,) bool.
    """
    blockers = occupied.contiguous()
    shape, strides = (targets.new_tensor(v)[:, None] for v in (blockers.shape, blockers.stride()))
    blockers = blockers.flatten()
    cells, ends = targets.t(), origins.t()  # (3, R)
    extent = ends - (cells + 0.5)
    between = 1 / extent.abs().clamp_min(1e-99)  # of two planes of an axis; not infinite, since inf * 0 is not a number
    crossing = between / 2
    leaving = crossing + between * torch.where(extent > 0, shape - 1 - cells, cells)  # the border of the grid
    last = leaving.amin(0).clamp_max(1) - TOUCH
    stride = torch.where(extent > 0, strides, -strides)
    cell = (cells * strides).sum(0)
    home = ends.floor().long()
    camera = torch.where(((home >= 0) & (home < shape)).all(0), (home * strides).sum(0), -1)
    ray = torch.arange(len(targets), device=targets.device)
    clear = torch.ones_like(ray, dtype=torch.bool)
    keep = crossing.amin(0) < last
    while bool(keep.any()):
        crossing, between, stride = crossing[:, keep], between[:, keep], stride[:, keep]
        cell, camera, last, ray = cell[keep], camera[keep], last[keep], ray[keep]
        crossed = crossing <= crossing.amin(0) + TOUCH
        cell = cell + torch.where(crossed, stride, 0).sum(0)
        crossing = torch.where(crossed, crossing + between, crossing)
        blocked = blockers[cell] & (cell != camera)
        clear[ray[blocked]] = False
        keep = ~blocked & (crossing.amin(0) < last)
    return clear
