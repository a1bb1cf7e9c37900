"""Lines of sight as machine code: the walk of `visibility` along each segment, without the tensors between the steps.

Shape letters: N cameras, X Y Z voxels. Lengths are in voxels: voxel i spans [i, i + 1).

Most of a walk leads through free space. `free_levels` says how much there is around a voxel; a walk leaves it at once.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.acquisition.compiled import compiled

Cell = tuple[int, int, int]
Axis = tuple[int, float, float, float, float]
Axes = tuple[Axis, Axis, Axis]

RADII = (0, 0, 4, 8, 16, 32, 64)  # voxels to all sides that are free at each level of `free_levels`
SLAB = 8  # voxels in x that a thread takes at a time
MARGIN = 1e-6  # share of a segment by which a walk stays inside of free space: far more than is lost by rounding


def seen_by_cameras(occupied: Tensor, frustum: Tensor, cameras: Tensor, touch: float) -> Tensor:
    """Whether at least one camera sees a voxel of its frustum; the same, voxel by voxel, as `visibility` finds.

    Args:
        occupied: (X, Y, Z) bool, voxels that block the view; on the CPU.
        frustum: (N, X, Y, Z) bool, voxels that each camera may see.
        cameras: (N, 3) float64 positions of the cameras.
        touch: crossings closer than this share of a segment are one.

    Returns:
        (X, Y, Z) bool.
    """
    seen = torch.zeros_like(occupied, memory_format=torch.contiguous_format)
    levels = free_levels(occupied.contiguous().numpy())
    slab = partial(_slab, levels.reshape(-1), frustum.numpy(), cameras.numpy(), touch, seen.numpy())
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(slab, range(0, len(occupied), SLAB)))
    return seen


def free_levels(occupied: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """How much free space there is around voxels (X, Y, Z); around the grid, all is free.

    Returns:
        (2, X, Y, Z): 0 if occupied, 1 if free, and one more for each of the `RADII` as far as which all voxels in x and
        y are free, of the same height and, for walks that rise, the one above; for those that sink, the one below.
    """
    levels = np.repeat((~occupied)[None].view(np.uint8), 2, axis=0)
    lower, upper = slice(None, -1), slice(1, None)
    for level, here, beside in zip(levels, (lower, upper), (upper, lower), strict=True):
        blocked = occupied.copy()
        blocked[..., here] |= occupied[..., beside]
        radius = 0
        for wider in (1, 2, *RADII[2:]):  # what is blocked as far as the radius from voxels so much farther
            by = wider - radius
            for turned in (blocked, blocked.swapaxes(0, 1)):
                turned[:-by] |= turned[by:]
                turned[by:] |= turned[:-by]
            radius = wider
            if wider in RADII:
                level += ~blocked
    return levels


@compiled()
def _slab(
    levels: NDArray[np.uint8],
    frustum: NDArray[Any],
    cameras: NDArray[np.float64],
    touch: float,
    seen: NDArray[Any],
    first: int,
) -> None:
    """Fill in what is seen of the voxels (first : first + SLAB, :, :)."""
    X, Y, Z = seen.shape
    for camera in range(len(cameras)):
        end = (cameras[camera, 0], cameras[camera, 1], cameras[camera, 2])
        cell = (int(np.floor(end[0])), int(np.floor(end[1])), int(np.floor(end[2])))
        within = 0 <= cell[0] < X and 0 <= cell[1] < Y and 0 <= cell[2] < Z
        home = _number(cell, (X, Y, Z)) if within else -1
        for x in range(first, min(first + SLAB, X)):
            along_x = _axis(x, x + 0.5, end[0], X)
            for y in range(Y):
                along_y = _axis(y, y + 0.5, end[1], Y)
                for z in range(Z):
                    if frustum[camera, x, y, z] and not seen[x, y, z]:
                        axes = along_x, along_y, _axis(z, z + 0.5, end[2], Z)
                        seen[x, y, z] = _in_sight(levels, (x, y, z), home, end, axes, (X, Y, Z), touch)


@compiled()
def _in_sight(
    levels: NDArray[np.uint8],
    cell: Cell,
    home: int,
    end: tuple[float, float, float],
    axes: Axes,
    shape: Cell,
    touch: float,
) -> bool:
    """Whether the centre of a voxel can be seen or, where it is occupied, the centre of a face turned to the camera."""
    place = _number(cell, shape)
    if _clear(levels, place, home, axes, shape, touch):
        return True
    if levels[np.uint64(place)] > 0:
        return False
    x, y, z = cell
    dx, dy, dz = end[0] - (x + 0.5), end[1] - (y + 0.5), end[2] - (z + 0.5)
    # A camera between the planes of the two faces sees neither.
    face_x = _axis(x, x + 0.5 + 0.5 * np.sign(dx), end[0], shape[0])
    if abs(dx) > 0.5 and _clear(levels, place, home, (face_x, axes[1], axes[2]), shape, touch):
        return True
    face_y = _axis(y, y + 0.5 + 0.5 * np.sign(dy), end[1], shape[1])
    if abs(dy) > 0.5 and _clear(levels, place, home, (axes[0], face_y, axes[2]), shape, touch):
        return True
    face_z = _axis(z, z + 0.5 + 0.5 * np.sign(dz), end[2], shape[2])
    return abs(dz) > 0.5 and _clear(levels, place, home, (axes[0], axes[1], face_z), shape, touch)


@compiled()
def _number(cell: Cell, shape: Cell) -> int:
    return (cell[0] * shape[1] + cell[1]) * shape[2] + cell[2]


@compiled()
def _clear(levels: NDArray[np.uint8], place: int, home: int, axes: Axes, shape: Cell, touch: float) -> bool:
    """Whether the segment from a voxel to the camera meets no occupied voxel but these two.

    With s in [0, 1] the place on the segment, planes of an axis are crossed at equal steps of 1 / |extent| in s.

    Args:
        levels: (2 * X * Y * Z,), see `free_levels`.
        place: number of the voxel.
        home: number of the camera's voxel, negative outside of the grid.
        axes: of the segment, see `_axis`.
        shape: X, Y and Z.
        touch: crossings closer than this in s are one.
    """
    step_x, extent_x, between_x, cross_x, border_x = axes[0]
    step_y, extent_y, between_y, cross_y, border_y = axes[1]
    step_z, _, between_z, cross_z, border_z = axes[2]
    if step_z < 0:
        place, home = place + len(levels) // 2, home + len(levels) // 2 if home >= 0 else home
    step_x, step_y = step_x * shape[1] * shape[2], step_y * shape[2]
    last = min(border_x, border_y, border_z, 1.0) - touch
    nearest = min(cross_x, cross_y, cross_z)
    while nearest < last:
        crossed = nearest + touch
        if cross_x <= crossed:
            place, cross_x = place + step_x, cross_x + between_x
        if cross_y <= crossed:
            place, cross_y = place + step_y, cross_y + between_y
        if cross_z <= crossed:
            place, cross_z = place + step_z, cross_z + between_z
        level = levels[np.uint64(place)]
        if level == 0 and place != home:
            return False
        if level > 1:  # all that is crossed before `leave` is free, in whatever order
            radius = RADII[level]
            leave = min(cross_x + radius * between_x, cross_y + radius * between_y, cross_z + between_z) - MARGIN
            if leave >= last:
                return True
            if cross_x < leave:
                planes = int((leave - cross_x) * extent_x) + 1
                place, cross_x = place + planes * step_x, cross_x + planes * between_x
            if cross_y < leave:
                planes = int((leave - cross_y) * extent_y) + 1
                place, cross_y = place + planes * step_y, cross_y + planes * between_y
            if cross_z < leave:
                place, cross_z = place + step_z, cross_z + between_z
        nearest = min(cross_x, cross_y, cross_z)
    return True


@compiled()
def _axis(cell: int, start: float, end: float, size: int) -> Axis:
    """Of an axis: the step of its cell and the extent; in s the way between planes, the next one, the grid's end."""
    extent = abs(end - start)
    between = 1 / max(extent, 1e-99)  # not infinite, since inf * 0 is not a number
    if end > start:
        cross = between * (cell + 1 - start)
        return 1, extent, between, cross, cross + between * (size - 1 - cell)
    cross = between * (start - cell)
    return -1, extent, between, cross, cross + between * cell
