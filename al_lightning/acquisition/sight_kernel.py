"""Lines of sight as machine code: the walk of `visibility` along each segment, without the tensors between the steps.

Shape letters: N cameras, X Y Z voxels. Lengths are in voxels: voxel i spans [i, i + 1).
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

Point = tuple[float, float, float]


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
    slab = partial(_slab, occupied.contiguous().numpy(), frustum.numpy(), cameras.numpy(), touch, seen.numpy())
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(slab, range(len(occupied))))
    return seen


@compiled()
def _slab(
    occupied: NDArray[Any],
    frustum: NDArray[Any],
    cameras: NDArray[np.float64],
    touch: float,
    seen: NDArray[Any],
    x: int,
) -> None:
    """Fill in what is seen of the voxels (x, :, :)."""
    for camera in range(len(cameras)):
        end = (cameras[camera, 0], cameras[camera, 1], cameras[camera, 2])
        for y in range(occupied.shape[1]):
            for z in range(occupied.shape[2]):
                if frustum[camera, x, y, z] and not seen[x, y, z]:
                    seen[x, y, z] = _in_sight(occupied, (x, y, z), end, touch)


@compiled()
def _in_sight(occupied: NDArray[Any], cell: tuple[int, int, int], end: Point, touch: float) -> bool:
    """Whether the centre of a voxel can be seen or, where it is occupied, the centre of a face turned to the camera."""
    x, y, z = cell[0] + 0.5, cell[1] + 0.5, cell[2] + 0.5
    if _clear(occupied, cell, (x, y, z), end, touch):
        return True
    if not occupied[cell]:
        return False
    dx, dy, dz = end[0] - x, end[1] - y, end[2] - z
    # A camera between the planes of the two faces sees neither.
    return (
        (abs(dx) > 0.5 and _clear(occupied, cell, (x + 0.5 * np.sign(dx), y, z), end, touch))
        or (abs(dy) > 0.5 and _clear(occupied, cell, (x, y + 0.5 * np.sign(dy), z), end, touch))
        or (abs(dz) > 0.5 and _clear(occupied, cell, (x, y, z + 0.5 * np.sign(dz)), end, touch))
    )


@compiled()
def _clear(occupied: NDArray[Any], cell: tuple[int, int, int], start: Point, end: Point, touch: float) -> bool:
    """Whether the segment from a voxel to the camera meets no occupied voxel but these two.

    With s in [0, 1] the place on the segment, planes of an axis are crossed at equal steps of 1 / |extent| in s.
    """
    X, Y, Z = occupied.shape
    x, y, z = cell
    step_x, between_x, cross_x, border_x = _axis(x, start[0], end[0], X)
    step_y, between_y, cross_y, border_y = _axis(y, start[1], end[1], Y)
    step_z, between_z, cross_z, border_z = _axis(z, start[2], end[2], Z)
    last = min(border_x, border_y, border_z, 1.0) - touch
    home_x, home_y, home_z = np.floor(end[0]), np.floor(end[1]), np.floor(end[2])
    nearest = min(cross_x, cross_y, cross_z)
    while nearest < last:
        crossed = nearest + touch
        if cross_x <= crossed:
            x, cross_x = x + step_x, cross_x + between_x
        if cross_y <= crossed:
            y, cross_y = y + step_y, cross_y + between_y
        if cross_z <= crossed:
            z, cross_z = z + step_z, cross_z + between_z
        if occupied[x, y, z] and not (x == home_x and y == home_y and z == home_z):
            return False
        nearest = min(cross_x, cross_y, cross_z)
    return True


@compiled()
def _axis(cell: int, start: float, end: float, size: int) -> tuple[int, float, float, float]:
    """Of an axis: the step of its cell, and in s the way between two planes, the next plane and the grid's end."""
    extent = end - start
    between = 1 / max(abs(extent), 1e-99)  # not infinite, since inf * 0 is not a number
    if extent > 0:
        cross = between * (cell + 1 - start)
        return 1, between, cross, cross + between * (size - 1 - cell)
    cross = between * (start - cell)
    return -1, between, cross, cross + between * cell
