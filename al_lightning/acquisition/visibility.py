"""Which voxels the cameras see, from calibration and predicted occupancy alone: no label is read.

Shape letters: B samples, N cameras, X Y Z voxels, R rays, H W pixels of the network's input.

A voxel is visible to a camera if its centre projects into the image and a straight segment from the camera reaches it
without running through another occupied voxel. The segment ends at the centre of the voxel; an occupied voxel is seen
by its surface, so it also counts if a segment reaches the centre of a face turned to the camera. (By its centre alone
nearly all of a road would be hidden: a flat ray passes through the road in front to the centre of a voxel of the road.)
Voxels that a segment only touches (a face, an edge, a corner) do not block it, nor does the voxel with the camera.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from al_lightning.acquisition.frustum_kernel import centers_in_images
from al_lightning.acquisition.sight_kernel import seen_by_cameras
from al_lightning.acquisition.threads import one_thread
from al_lightning.types import CameraInputs, VoxelGrid

TOUCH = 1e-9  # crossings closer than this share of the segment are one: the segment passes through an edge or corner


def in_frustum(grid: VoxelGrid, inputs: CameraInputs) -> Tensor:
    """Whether the centre of a voxel lies in front of a camera and projects into its image, after all augmentation.

    Args:
        grid: the voxels, in the augmented ego frame.
        inputs: cameras of a batch.

    Returns:
        (B, N, X, Y, Z) bool.
    """
    return _in_frustum(grid, inputs).to(inputs.bda.device)


def _in_frustum(grid: VoxelGrid, inputs: CameraInputs) -> Tensor:
    """That on the CPU."""
    projection = _projection(inputs)
    height, width = inputs.images.shape[-2:]
    inside = centers_in_images(projection.flatten(0, 1), _center_axes(grid), (height, width))
    return inside.view(*projection.shape[:2], *grid.shape)


@one_thread()
def together_in_images(projections: Tensor, centers: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """What `frustum_kernel.centers_in_images` finds: the reference of that kernel."""
    height, width = size
    x, y, z = centers
    inside = []
    for matrix in projections:
        # (u d, v d, d) is affine in the centre: a sum over the axes. Without dividing by the depth d, the bounds
        # 0 <= u d < width d hold only in front of the camera.
        u, v, depth = ((row[0] * x + row[3])[:, None, None] + (row[1] * y)[:, None] + row[2] * z for row in matrix)
        inside.append((u >= 0) & (u < width * depth) & (v >= 0) & (v < height * depth))
    return torch.stack(inside)


def frustum_visibility(occupied: Tensor, grid: VoxelGrid, inputs: CameraInputs) -> Tensor:
    """Whether at least one camera sees a voxel: it lies in the camera's frustum and in its line of sight.

    This is found on the CPU whatever the device of ``occupied``. On a GPU, following all lines of sight together would
    be 10,000 to 20,000 operations of a few voxels each for a sample of Occ3D, and one wait for the device a step.

    Args:
        occupied: (B, X, Y, Z) bool, voxels that block the view.
        grid: the voxels, in the augmented ego frame.
        inputs: cameras of a batch.

    Returns:
        (B, X, Y, Z) bool.

    Raises:
        ValueError: ``occupied`` does not have the shape of the grid.
    """
    _check_shape(occupied, grid)
    cameras = _to_voxels(grid, _camera_poses(inputs)[..., :3, 3])
    samples = zip(occupied.cpu(), _in_frustum(grid, inputs), cameras, strict=True)
    return torch.stack([seen_by_cameras(*sample, TOUCH) for sample in samples]).to(occupied.device)


@one_thread()
def together_seen_by_cameras(occupied: Tensor, frustum: Tensor, cameras: Tensor) -> Tensor:
    """What `sight_kernel.seen_by_cameras` finds, all voxels together: the reference of that kernel."""
    rays = frustum.nonzero()  # (R, 4): camera, x, y, z
    seen = rays[_in_sight(occupied, rays[:, 1:], cameras[rays[:, 0]])]
    visible = torch.zeros_like(occupied)
    visible[seen[:, 1], seen[:, 2], seen[:, 3]] = True
    return visible


def _check_shape(occupied: Tensor, grid: VoxelGrid) -> None:
    if occupied.shape[1:] != grid.shape or occupied.dtype != torch.bool:
        raise ValueError(
            f"occupied must be bool of the grid's shape {grid.shape}, got {occupied.dtype} {tuple(occupied.shape[1:])}"
        )


def _camera_poses(inputs: CameraInputs) -> Tensor:
    """Camera frame to augmented ego frame (B, N, 4, 4) float64, on the CPU."""
    return inputs.bda.cpu().double()[:, None] @ inputs.camera2ego.cpu().double()


def _projection(inputs: CameraInputs) -> Tensor:
    """Augmented ego frame to (u d, v d, d) with d the depth and u, v a pixel of the network's input, (B, N, 3, 4).

    Of small matrices, and on the CPU, so that all devices find the same.
    """
    augmentation = torch.eye(3, dtype=torch.float64).repeat(*inputs.intrinsics.shape[:2], 1, 1)
    augmentation[..., :2, :2] = inputs.post_rotation[..., :2, :2]
    augmentation[..., :2, 2] = inputs.post_translation[..., :2]
    ego_to_camera: Tensor = torch.linalg.inv(_camera_poses(inputs))[..., :3, :]
    return augmentation @ inputs.intrinsics.cpu().double() @ ego_to_camera


def _center_axes(grid: VoxelGrid) -> list[Tensor]:
    return [
        low + size * (torch.arange(count, dtype=torch.float64) + 0.5)
        for low, size, count in zip(grid.lower, grid.voxel_size, grid.shape, strict=True)
    ]


def _to_voxels(grid: VoxelGrid, points: Tensor) -> Tensor:
    """Metres (..., 3) to voxel units (..., 3): voxel i spans [i, i + 1)."""
    points = points.double()
    return (points - points.new_tensor(grid.lower)) / points.new_tensor(grid.voxel_size)


def _in_sight(occupied: Tensor, targets: Tensor, origins: Tensor) -> Tensor:
    """Whether voxels ``targets`` (R, 3) can be seen from ``origins`` (R, 3), in voxel units; (R,) bool."""
    seen = _clear(occupied, targets.t(), targets.t() + 0.5, origins.t())
    for axis in range(3):
        hidden = (~seen & occupied[targets.unbind(1)]).nonzero()[:, 0]
        cells, ends = targets[hidden].t(), origins[hidden].t()
        faces = cells + 0.5
        offset = ends[axis] - faces[axis]
        faces[axis] += 0.5 * offset.sign()
        # A camera between the planes of the two faces sees neither.
        seen[hidden] = _clear(occupied, cells, faces, ends) & (offset.abs() > 0.5)
    return seen


def _clear(occupied: Tensor, cells: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """Exact voxel traversal (Amanatides and Woo) of all segments together: whether they meet no occupied voxel.

    With s in [0, 1] the place on a segment, planes of an axis are crossed at equal steps of 1 / |extent| in s.

    Args:
        occupied: (X, Y, Z) bool.
        cells: (3, R) int64 voxels in which the segments start; they do not block.
        starts: (3, R) float64 in voxel units, inside the cell or on its surface.
        ends: (3, R) float64 in voxel units; the voxel of an end does not block.

    Returns:
        (R,) bool.
    """
    blockers = occupied.contiguous()
    shape, strides = (cells.new_tensor(v)[:, None] for v in (blockers.shape, blockers.stride()))
    blockers = blockers.flatten()
    extent = ends - starts
    between = 1 / extent.abs().clamp_min(1e-99)  # not infinite, since inf * 0 is not a number
    crossing = between * torch.where(extent > 0, cells + 1 - starts, starts - cells)  # of the next plane of each axis
    border = crossing + between * torch.where(extent > 0, shape - 1 - cells, cells)  # of the end of the grid
    last = border.amin(0).clamp_max(1) - TOUCH
    stride = torch.where(extent > 0, strides, -strides)
    cell = (cells * strides).sum(0)
    home = ends.floor().long()
    camera = torch.where(((home >= 0) & (home < shape)).all(0), (home * strides).sum(0), -1)
    ray = torch.arange(len(cell), device=cell.device)
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
