"""Whether cameras see voxels: what `visibility` finds by torch, found by machine code.

Shape letters: N cameras, X Y Z voxels. Lengths are in voxels: voxel i spans [i, i + 1).

`bundle_kernel` follows all lines of sight from a column of voxels to a camera together and leaves to `segment_kernel`
what is too close to tell.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.acquisition.bundle_kernel import EDGE, ONE, TALLEST, fill_columns, follow_bundles
from al_lightning.acquisition.segment_kernel import follow_segments
from al_lightning.compiled import in_parallel

SLAB = 4  # voxels in x that a thread takes at a time


def seen_by_cameras(occupied: Tensor, frustum: Tensor, cameras: Tensor, touch: float) -> Tensor:
    """Whether at least one camera sees a voxel of its frustum; the same, voxel by voxel, as `visibility` finds.

    Args:
        occupied: (X, Y, Z) bool, voxels that block the view; on the CPU. Grids higher than `TALLEST` take far longer.
        frustum: (N, X, Y, Z) bool, voxels that each camera may see.
        cameras: (N, 3) float64 positions of the cameras.
        touch: crossings closer than this share of a segment are one; far less than `bundle_kernel.CLOSE`.

    Returns:
        (X, Y, Z) bool.
    """
    X, Y, Z = occupied.shape
    blocks, inside, ends = (given.contiguous().numpy() for given in (occupied, frustum, cameras))
    seen, undecided = np.zeros((X, Y, Z), dtype=bool), np.full((X, Y, Z), Z > TALLEST)
    columns = np.zeros((X, Y), np.int64)
    axes = np.zeros((len(ends), 2, 2, max(X, Y), 4), np.int64)
    axes[:, 0, :, :X] = _crossings(ends[:, 0], X, Y)
    axes[:, 1, :, :Y] = _crossings(ends[:, 1], Y, 1)
    anywhere = fill_columns(blocks, columns) if Z <= TALLEST else 0

    def slab(first: int) -> None:
        stop = min(first + SLAB, X)
        if Z > TALLEST or follow_bundles(columns, anywhere, inside, ends, axes, first, stop, seen, undecided):
            follow_segments(blocks, undecided, inside, ends, touch, first, stop, seen)

    in_parallel(slab, range(0, X, SLAB))
    return torch.from_numpy(seen)


def _crossings(ends: NDArray[np.float64], size: int, stride: int) -> NDArray[np.int64]:
    """How segments to cameras at `ends` (N,) cross the planes of an axis of `size` cells.

    Returns:
        (N, 2, size, 4), from the centre of a cell and from its face that is turned to the camera: the step from column
        to column, 0 if no face is; and in s, where `ONE` is 1, the way between planes, the next one, and the end.
    """
    cells, end = np.arange(size), ends[:, None, None]
    offset = end - (cells + 0.5)
    start = cells + 0.5 + np.array([0.0, 0.5])[:, None] * np.sign(offset)
    forward = end > start
    between = 1 / np.maximum(np.abs(end - start), 1e-99)  # not infinite, since inf * 0 is not a number
    cross = between * np.where(forward, cells + 1 - start, start - cells)
    border = cross + between * np.where(forward, size - 1 - cells, cells)
    step = np.where(forward, stride, -stride)
    step[:, 1] *= np.abs(offset[:, 0]) > 0.5  # a camera between the planes of the two faces sees neither
    places = [np.minimum(s, 4) * ONE for s in (between, cross)]
    table: NDArray[np.int64] = np.stack([step, *places, np.minimum(border, 1) * ONE - EDGE], axis=-1).astype(np.int64)
    return table
