"""Single lines of sight as machine code, from voxel to voxel as in `visibility`: what `bundle_kernel` leaves undecided.

Shape letters: N cameras, X Y Z voxels. Lengths are in voxels: voxel i spans [i, i + 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from al_lightning.compiled import compiled

Cell = tuple[int, int, int]
Point = tuple[float, float, float]
Axis = tuple[int, float, float, float]

u64 = np.uint64


@compiled()
def follow_segments(
    occupied: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
    frustum: NDArray[np.bool_],
    cameras: NDArray[np.float64],
    touch: float,
    first: int,
    stop: int,
    seen: NDArray[np.bool_],
) -> None:
    """Fill in which of some voxels at least one camera sees.

    Args:
        occupied: (X, Y, Z), voxels that block the view.
        wanted: (X, Y, Z), the voxels in question.
        frustum: (N, X, Y, Z), voxels that each camera may see.
        cameras: (N, 3) positions.
        touch: crossings closer than this share of a segment are one.
        first: the first x in question.
        stop: the x after the last.
        seen: (X, Y, Z) to be filled in.
    """
    _, Y, Z = occupied.shape
    for x in range(first, stop):
        for y in range(Y):
            for z in range(Z):
                if wanted[x, y, z]:
                    for camera in range(len(cameras)):
                        if frustum[camera, x, y, z] and not seen[x, y, z]:
                            end = (cameras[camera, 0], cameras[camera, 1], cameras[camera, 2])
                            seen[x, y, z] = _in_sight(occupied, (x, y, z), end, touch)


@compiled()
def _in_sight(occupied: NDArray[np.bool_], cell: Cell, end: Point, touch: float) -> bool:
    """Whether the centre of a voxel can be seen or, where it is occupied, the centre of a face turned to the camera."""
    X, Y, Z = occupied.shape
    x, y, z = cell
    along_x, along_y, along_z = _axis(x, x + 0.5, end[0], X), _axis(y, y + 0.5, end[1], Y), _axis(z, z + 0.5, end[2], Z)
    if _clear(occupied, cell, end, along_x, along_y, along_z, touch):
        return True
    if not occupied[x, y, z]:
        return False
    dx, dy, dz = end[0] - (x + 0.5), end[1] - (y + 0.5), end[2] - (z + 0.5)
    # A camera between the planes of the two faces sees neither.
    face_x = _axis(x, x + 0.5 + 0.5 * np.sign(dx), end[0], X)
    if abs(dx) > 0.5 and _clear(occupied, cell, end, face_x, along_y, along_z, touch):
        return True
    face_y = _axis(y, y + 0.5 + 0.5 * np.sign(dy), end[1], Y)
    if abs(dy) > 0.5 and _clear(occupied, cell, end, along_x, face_y, along_z, touch):
        return True
    face_z = _axis(z, z + 0.5 + 0.5 * np.sign(dz), end[2], Z)
    return abs(dz) > 0.5 and _clear(occupied, cell, end, along_x, along_y, face_z, touch)


@compiled()
def _clear(
    occupied: NDArray[np.bool_], cell: Cell, end: Point, along_x: Axis, along_y: Axis, along_z: Axis, touch: float
) -> bool:
    """Whether the segment from a voxel to the camera meets no occupied voxel but these two.

    With s in [0, 1] the place on the segment, planes of an axis are crossed at equal steps of 1 / |extent| in s.
    """
    x, y, z = cell
    home = (int(np.floor(end[0])), int(np.floor(end[1])), int(np.floor(end[2])))
    step_x, between_x, cross_x, border_x = along_x
    step_y, between_y, cross_y, border_y = along_y
    step_z, between_z, cross_z, border_z = along_z
    last = min(border_x, border_y, border_z, 1.0) - touch
    nearest = min(cross_x, cross_y, cross_z)
    while nearest < last:
        crossed = nearest + touch
        if cross_x <= crossed:
            x, cross_x = x + step_x, cross_x + between_x
        if cross_y <= crossed:
            y, cross_y = y + step_y, cross_y + between_y
        if cross_z <= crossed:
            z, cross_z = z + step_z, cross_z + between_z
        if occupied[u64(x), u64(y), u64(z)] and (x, y, z) != home:
            return False
        nearest = min(cross_x, cross_y, cross_z)
    return True


@compiled()
def _axis(cell: int, start: float, end: float, size: int) -> Axis:
    """Of an axis: the step of its cell; in s the way between planes, the next one, the grid's end."""
    between = 1 / max(abs(end - start), 1e-99)  # not infinite, since inf * 0 is not a number
    if end > start:
        cross = between * (cell + 1 - start)
        return 1, between, cross, cross + between * (size - 1 - cell)
    cross = between * (start - cell)
    return -1, between, cross, cross + between * cell
