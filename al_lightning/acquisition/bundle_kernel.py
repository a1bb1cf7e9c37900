"""Lines of sight as machine code: a walk along the segments from all voxels of a column to a camera together.

Shape letters: N cameras, X Y Z voxels. Lengths are in voxels: voxel i spans [i, i + 1). Voxels of a column, and the
segments that start in them, are bits of an integer, from the floor up.

The segments of such a bundle cross the same columns at the same places, with s in [0, 1] the place on a segment; only
their heights differ. The walk leads from column to column. Where it meets occupied voxels, it works out which segments
run through them: the one from height z is at height z + s (end - z), thus at h if z = end + (h - end) / (1 - s). Voxels
that all segments miss can be left out until the next segment has risen or sunk to them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from al_lightning.compiled import compiled

CLOSE = 1e-6  # share of a segment that is too close to tell: far more than is lost by rounding, far more than a touch
TALLEST = 62  # voxels of a column whose bits an integer holds, beside its sign and the bit above them
ONE = 2**52  # s = 1: integers are compared and added up in a processor's cycle each
NEVER = 4 * ONE
EDGE = 2**16  # by which a walk ends before the grid: more than rounding adds up to over thousands of cells

u64 = np.uint64
Crossing = tuple[int, int, int, int]


class View(NamedTuple):
    """What all walks to a camera share.

    Attributes:
        anywhere: the occupied voxels of all columns together.
        end: height of the camera.
        close: difference of heights that is too close to tell.
        level: the place on a segment up to which it does not leave the height of its voxel.
        home: number of the column with the camera.
        home_voxel: the voxel with the camera, none if it is outside of the grid.
    """

    anywhere: int
    end: float
    close: float
    level: int
    home: int
    home_voxel: int


@compiled()
def fill_columns(occupied: NDArray[np.bool_], columns: NDArray[np.int64]) -> int:
    """Fill in the bits of the occupied voxels (X, Y); return those of all columns together."""
    anywhere = 0
    for x in range(len(columns)):
        for y in range(columns.shape[1]):
            columns[x, y] = _column(occupied, x, y)
            anywhere |= columns[x, y]
    return anywhere


@compiled(inline=True)
def _column(voxels: NDArray[np.bool_], x: int, y: int) -> int:
    bits = 0
    for z in range(voxels.shape[2]):
        bits |= int(voxels[u64(x), u64(y), u64(z)]) << z
    return bits


@compiled()
def follow_bundles(
    columns: NDArray[np.int64],
    anywhere: int,
    frustum: NDArray[np.bool_],
    cameras: NDArray[np.float64],
    axes: NDArray[np.int64],
    first: int,
    stop: int,
    seen: NDArray[np.bool_],
    undecided: NDArray[np.bool_],
) -> bool:
    """Fill in which voxels at least one camera sees.

    Args:
        columns: (X, Y), see `fill_columns`.
        anywhere: the bits of all columns together.
        frustum: (N, X, Y, Z), voxels that each camera may see.
        cameras: (N, 3) positions.
        axes: (N, 2, 2, ., 4), how segments from each x or y, from centres or faces, cross the planes of that axis; see
            `sight_kernel`.
        first: the first x in question.
        stop: the x after the last.
        seen: (X, Y, Z) to be filled in.
        undecided: (X, Y, Z) to be filled in: voxels that may be seen, too.

    Returns:
        Whether any voxel is undecided.
    """
    X, Y, Z = seen.shape
    flat = columns.reshape(-1)
    found = np.zeros((2, stop - first, Y), np.int64)
    for camera in range(len(cameras)):
        end = cameras[camera, 2]
        home = (int(np.floor(cameras[camera, 0])), int(np.floor(cameras[camera, 1])), int(np.floor(end)))
        within = 0 <= home[0] < X and 0 <= home[1] < Y and 0 <= home[2] < Z
        home_voxel = 1 << home[2] if within else 0
        reach = Z + abs(end)
        view = View(anywhere, end, CLOSE * reach, _fixed(0.4 / reach), home[0] * Y + home[1], home_voxel)
        above, below = 0, 0  # the voxels whose upper or lower face is turned to the camera
        for z in range(Z):
            above |= int(end - (z + 0.5) > 0.5) << z
            below |= int((z + 0.5) - end > 0.5) << z
        for x in range(first, stop):
            for y in range(Y):
                bundle = _column(frustum[camera], x, y) & ~found[0, x - first, y]
                if bundle:
                    clear, unsure = _see(flat, view, x, y, x * Y + y, axes[camera], bundle, above, below)
                    found[0, x - first, y] |= clear
                    found[1, x - first, y] |= unsure
    for x in range(first, stop):
        for y in range(Y):
            for z in range(Z):
                seen[x, y, z] = (found[0, x - first, y] >> z) & 1
            if found[1, x - first, y]:
                for z in range(Z):
                    undecided[x, y, z] = (found[1, x - first, y] >> z) & 1
    return bool(np.any(found[1]))


@compiled()
def _see(
    columns: NDArray[np.int64],
    view: View,
    x: int,
    y: int,
    place: int,
    axes: NDArray[np.int64],
    bundle: int,
    above: int,
    below: int,
) -> tuple[int, int]:
    """Of some voxels of a column, those that the camera sees by their centre or a face, and those that it may see."""
    center_x, center_y = _crossing(axes, 0, 0, x), _crossing(axes, 1, 0, y)
    seen, unsure = _walk(columns, view, place, center_x, center_y, bundle, 0.5)
    hidden = bundle & columns[u64(place)] & ~seen
    if not hidden:
        return seen, unsure
    # Faces that another voxel covers are left out at once.
    covers = _blockers(columns, view, place)
    for height, faces in ((1.0, above & ~(covers >> 1)), (0.0, below & ~(covers << 1))):
        if hidden & faces:
            clear, doubt = _walk(columns, view, place, center_x, center_y, hidden & faces, height)
            seen, unsure = seen | clear, unsure | doubt
    hidden &= ~seen
    face_x, face_y = _crossing(axes, 0, 1, x), _crossing(axes, 1, 1, y)
    for along_x, along_y, face in ((face_x, center_y, face_x), (center_x, face_y, face_y)):
        if hidden and face[0] != 0:
            covers = _blockers(columns, view, place + face[0]) if face[3] > 0 else 0
            clear, doubt = _walk(columns, view, place, along_x, along_y, hidden & ~covers, 0.5)
            seen, unsure, hidden = seen | clear, unsure | doubt, hidden & ~clear
    return seen, unsure & ~seen


@compiled(inline=True)
def _crossing(axes: NDArray[np.int64], axis: int, face: int, cell: int) -> Crossing:
    return axes[axis, face, cell, 0], axes[axis, face, cell, 1], axes[axis, face, cell, 2], axes[axis, face, cell, 3]


@compiled(inline=True)
def _blockers(columns: NDArray[np.int64], view: View, place: int) -> int:
    """The occupied voxels of a column; that of the camera does not block."""
    return int(columns[u64(place)]) & ~(view.home_voxel if place == view.home else 0)


@compiled()
def _walk(
    columns: NDArray[np.int64],
    view: View,
    place: int,
    along_x: Crossing,
    along_y: Crossing,
    bundle: int,
    height: float,
) -> tuple[int, int]:
    """The segments of a bundle that no occupied voxel blocks, and those of which this is too close to tell.

    Args:
        columns: (X * Y,), of which voxels are occupied.
        view: of the camera.
        place: the column in which the segments start.
        along_x: how they cross the planes of x.
        along_y: those of y.
        bundle: the voxels in which the segments start, which do not block their own.
        height: at which they start above the floor of their voxels.
    """
    step_x, between_x, cross_x, last_x = along_x
    step_y, between_y, cross_y, last_y = along_y
    last = min(last_x, last_y)
    leave = min(cross_x, cross_y)
    unsure, near, until = 0, -1, NEVER
    if leave > view.level:
        blockers = _blockers(columns, view, place)
        bundle, unsure, _, _ = _meet(blockers, True, 0, leave, bundle, unsure, near, until, view, height)
    if bundle == unsure:
        return 0, unsure
    while leave < last:
        enter = leave
        x_is_next = cross_x <= cross_y
        place += step_x if x_is_next else step_y
        cross_x += between_x if x_is_next else 0
        cross_y += 0 if x_is_next else between_y
        leave = min(cross_x, cross_y)
        if leave >= until:
            near, until = -1, NEVER
        if columns[u64(place)] & near:
            blockers = _blockers(columns, view, place) & near
            bundle, unsure, near, until = _meet(
                blockers, False, enter, leave, bundle, unsure, near, until, view, height
            )
            if bundle == unsure or (view.anywhere & near == 0 and until == NEVER):
                break
    return bundle & ~unsure, unsure


@compiled(inline=True)
def _meet(
    blockers: int,
    own: bool,
    enter: int,
    leave: int,
    bundle: int,
    unsure: int,
    near: int,
    until: int,
    view: View,
    height: float,
) -> tuple[int, int, int, int]:
    """Take the segments that run through blockers out of a bundle; of those that miss them, say for how long.

    Args:
        blockers: occupied voxels of a column.
        own: it is the column in which the segments start.
        enter: the place at which the segments enter it.
        leave: that at which they leave it.
        bundle: the segments that are not blocked before.
        unsure: those of them that may be blocked.
        near: voxels of any column that segments may meet before `until`.
        until: a place on the segments.
        view: of the camera.
        height: at which the segments start above the floor of their voxels.

    Returns:
        bundle, unsure, near and until from now on.
    """
    end, close = view.end, view.close
    s, t = enter / ONE, min(leave, ONE) / ONE
    certain = t - s >= CLOSE and close < 0.4
    stretches = 1 / (1 - s), 1 / max(1 - t, 1e-15)
    hit = False
    while blockers:
        first = blockers & -blockers
        beyond = first << 1 if own else (blockers + first) & -(blockers + first)  # a voxel, or as many as are adjacent
        starting = first if own else 0
        floor, ceiling = _lowest(first), _lowest(beyond)
        blockers &= ~(beyond - first)
        low, high = _starts(floor - close, ceiling + close, stretches, end, height)
        if bundle & ((1 << high) - (1 << low)) & ~starting:
            unsure |= ((1 << high) - (1 << low)) & ~starting
            if certain:
                low, high = _starts(floor + close, ceiling - close, stretches, end, height)
                bundle &= ~((1 << high) - (1 << low)) | starting
            hit = True
        if hit or blockers:  # among many blockers, what follows would take longer than to meet them again
            continue
        near &= ~(beyond - first)  # until the next segment below has risen, or the next one above has sunk, to them
        under = bundle & ((1 << low) - 1)
        over = bundle & ~under
        if under and end > floor - close:
            z = _highest(under) + height
            until = min(until, _fixed((floor - close - z) / (end - z)))
        if over and end < ceiling + close:
            z = _lowest(over) + height
            until = min(until, _fixed((z - ceiling - close) / (z - end)))
    return bundle, unsure & bundle, near, until


@compiled(inline=True)
def _starts(low: float, high: float, stretches: tuple[float, float], end: float, height: float) -> tuple[int, int]:
    """Of the segments that are anywhere between two heights: the lowest voxel, and the one above the highest."""
    below = end - height + min((low - end) * stretches[0], (low - end) * stretches[1])
    above = end - height + max((high - end) * stretches[0], (high - end) * stretches[1])
    return int(min(max(below + 1, 0.0), float(TALLEST))), int(min(max(above + 1, 0.0), float(TALLEST)))


@compiled(inline=True)
def _fixed(s: float) -> int:
    return int(min(s, 4.0) * ONE)


@compiled(inline=True)
def _lowest(bits: int) -> int:
    """Number of the lowest bit: the exponent of a float64 that has no other."""
    return int(np.float64(bits & -bits).view(np.int64) >> 52) - 1023


@compiled(inline=True)
def _highest(bits: int) -> int:
    """Number of the highest bit: without the lower of neighbours, rounding does not reach the one above."""
    return int(np.float64(bits & ~(bits >> 1)).view(np.int64) >> 52) - 1023
