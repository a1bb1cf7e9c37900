"""RayIoU: occupancy compared along the rays of a virtual LiDAR (SparseOcc, section 3.4), as plain functions.

Shape letters: K classes, O ray origins, R directions, N = O * R rays, T distance thresholds, X Y Z voxels.
Distances in metres unless said otherwise.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from al_lightning.types import VoxelGrid

FARTHEST = 1e4
"""Metres from which no ray is followed: it would be voxel by voxel."""
THRESHOLDS = (1.0, 2.0, 4.0)


def lidar_directions() -> Tensor:
    """The metric's unit directions (14040, 3) float32: 39 elevations x 360 azimuths of 1 degree.

    The lowest ten elevations meet flat ground at 1, 2, ..., 10 sensor heights; their last increment continues upwards
    to the first elevation of at least 0.21 rad.
    """
    elevations = [math.atan(k + 1) - math.pi / 2 for k in range(10)]
    increment = elevations[-1] - elevations[-2]
    while elevations[-1] < 0.21:
        elevations.append(elevations[-1] + increment)
    azimuth = torch.arange(360, dtype=torch.float64).deg2rad().repeat(len(elevations))
    elevation = torch.tensor(elevations, dtype=torch.float64).repeat_interleave(360)
    x, y = elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin()
    return torch.stack([x, y, elevation.sin()], dim=1).float()


def select_ray_origins(positions: Tensor, reach: float = 39.0, limit: int = 8) -> Tensor:
    """Choose the ray origins of a keyframe.

    Args:
        positions: (F, 3) LiDAR positions of all keyframes of the scene, in time order, in this keyframe's ego frame.
        reach: only positions with |x| and |y| below it are used.
        limit: at most this many, evenly spaced in the list.

    Returns:
        (O, 3), O <= limit.
    """
    near = positions[(positions[:, :2].abs() < reach).all(1)]
    if len(near) <= limit:
        return near
    return near[torch.linspace(0, len(near) - 1, limit, dtype=torch.float64).round().long()]


class RayHits(NamedTuple):
    """Where rays end.

    Attributes:
        labels: (N,) int64 class of the first voxel that is not free; the free class where there is none.
        depth: (N,) float32 distance at which the ray leaves that voxel (without a hit: the grid).
    """

    labels: Tensor
    depth: Tensor


class _Walk(NamedTuple):
    """Rays on their way through the grid, all (N, 3), in voxel units.

    Attributes:
        cell: int64 index of the current voxel.
        step: +1 or -1, change of the index at the next border of each axis.
        border: float64 distance from the origin to the next border of each axis; infinite along a parallel axis.
        spacing: float64 distance between two borders of each axis.
    """

    cell: Tensor
    step: Tensor
    border: Tensor
    spacing: Tensor


def _set_out(origins: Tensor, directions: Tensor, grid: VoxelGrid) -> _Walk:
    """Rays at their origins; float64 on float32 end points, as in the official kernel."""
    size, lower = grid.voxel_size[0], torch.tensor(grid.lower, device=origins.device)
    start = ((origins - lower) / size).double().repeat_interleave(len(directions), dim=0)
    end = ((origins[:, None] + directions - lower) / size).double().reshape(-1, 3)
    heading = torch.nn.functional.normalize(end - start, dim=1, eps=0.0)
    cell = start.floor().long()
    step = torch.where(heading >= 0, 1, -1)
    return _Walk(
        cell,
        step,
        border=torch.where(heading == 0, torch.inf, (cell + (step > 0) - start) / heading),
        spacing=torch.where(heading == 0, torch.inf, step / heading),
    )


def cast_rays(semantics: Tensor, origins: Tensor, directions: Tensor, grid: VoxelGrid, free: int) -> RayHits:
    """Follow every direction from every origin to the first voxel that is not free.

    Steps from voxel to voxel (Amanatides and Woo, 1987); where two borders are crossed at once, the later axis goes
    first, as in the official kernel. The depth of a hit is the distance to the far side of its voxel.

    Args:
        semantics: (X, Y, Z) class ids.
        origins: (O, 3).
        directions: (R, 3) unit vectors.
        grid: place and shape of the volume; its voxels must be cubes.
        free: id of the free class.

    Returns:
        Rays in the order of origins, then directions. A ray that never enters the grid is free with depth 0.

    Raises:
        ValueError: the shape is not the grid's, the voxels are not cubes, an origin is not finite or more than
            10 km away, or a direction has no length.
    """
    if tuple(semantics.shape) != grid.shape:
        raise ValueError(f"semantics {tuple(semantics.shape)} do not have the shape of the grid, {grid.shape}")
    if max(grid.voxel_size) - min(grid.voxel_size) > 1e-6 * max(grid.voxel_size):
        raise ValueError(f"RayIoU needs cubic voxels, got edges of {grid.voxel_size} m")
    device = semantics.device
    flat, shape = semantics.reshape(-1), torch.tensor(grid.shape, device=device)
    strides = torch.tensor([grid.shape[1] * grid.shape[2], grid.shape[2], 1], device=device)
    walk = _set_out(origins.to(device).float(), directions.to(device).float(), grid)
    if not bool((origins.abs() <= FARTHEST).all()) or bool(walk.border.isnan().any()):
        raise ValueError("an origin of rays is not finite or more than 10 km away, or a direction has no length")
    ray = torch.arange(len(walk.cell), device=device)  # the rays still on their way
    labels = torch.full_like(ray, free)
    depth = torch.zeros(len(ray), dtype=torch.float64, device=device)
    while len(ray):
        cell, step, border, spacing = walk
        x, y, z = border.unbind(1)
        crossed = torch.stack([(x < y) & (x < z), (y <= x) & (y < z), (z <= x) & (z <= y)], dim=1)  # one true per row
        inside = ((cell >= 0) & (cell < shape)).all(1)
        label = flat[(cell * strides).sum(1).clamp(0, len(flat) - 1)].long()
        hit = inside & (label != free)
        labels[ray[hit]] = label[hit]
        depth[ray] = torch.where(inside, border.amin(1), depth[ray])
        # A ray on the far side of a border that it moves away from will not come back.
        gone = torch.where(step > 0, cell >= shape, cell < 0).any(1)
        moved = _Walk(cell + torch.where(crossed, step, 0), step, border + torch.where(crossed, spacing, 0.0), spacing)
        going = ~(hit | gone)
        ray, walk = ray[going], _Walk(*(values[going] for values in moved))
    return RayHits(labels, depth.float() * grid.voxel_size[0])


class RayCounts(NamedTuple):
    """Rays by class; the counts of several samples add up.

    Attributes:
        matched: (T, K) int64 rays with the right class and a depth error below the threshold.
        predicted: (K,) int64.
        true: (K,) int64.
    """

    matched: Tensor
    predicted: Tensor
    true: Tensor


def ray_counts(
    prediction: RayHits, target: RayHits, num_classes: int, free: int, thresholds: tuple[float, ...] = THRESHOLDS
) -> RayCounts:
    """Compare the same rays cast into prediction and truth; rays that are free in the truth are dropped.

    Raises:
        ValueError: a label lies outside 0..K-1.
    """
    for name, labels in (("predicted", prediction.labels), ("true", target.labels)):
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
            raise ValueError(f"a {name} class lies outside 0..{num_classes - 1}: {sorted(set(labels.tolist()))}")
    kept = target.labels != free
    predicted, true = prediction.labels[kept], target.labels[kept]
    error = (prediction.depth[kept] - target.depth[kept]).abs()
    matched = [true[(predicted == true) & (error < threshold)] for threshold in thresholds]
    return RayCounts(
        torch.stack([torch.bincount(labels, minlength=num_classes) for labels in matched]),
        torch.bincount(predicted, minlength=num_classes),
        torch.bincount(true, minlength=num_classes),
    )


class RayScores(NamedTuple):
    """Scores of `ray_iou`.

    Attributes:
        ray_iou: scalar, mean over thresholds and classes; NaN where no class occurs.
        at: (T,) mean over classes at each threshold.
        classes_present: number of classes in the means.
        iou: (T, K), the free class included; NaN for a class that occurs neither in truth nor in prediction.
    """

    ray_iou: Tensor
    at: Tensor
    classes_present: Tensor
    iou: Tensor


def ray_iou(counts: RayCounts, free: int = -1) -> RayScores:
    """RayIoU of a dataset: ``TP / (true + predicted - TP)`` per class and threshold, averaged without the free class.

    Args:
        counts: rays of the whole dataset.
        free: index of the free class; the last one by default.
    """
    iou = counts.matched.double() / (counts.true + counts.predicted - counts.matched)
    semantic = torch.ones(iou.shape[1], dtype=torch.bool, device=iou.device)
    semantic[free] = False
    scores = iou[:, semantic]
    return RayScores(scores.nanmean(), scores.nanmean(1), (~scores[0].isnan()).sum(), iou)
