"""Voxel labels on coarser grids and in flipped frames.

Shape letters: x y z voxels of the fine volume, X Y Z of the coarse one, K classes, one of them empty space. `IGNORE`
marks a voxel without a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.types import IGNORE, VoxelGrid

Pooling = Literal["occupied_first", "majority"]


def check_grid(grid: VoxelGrid, native: VoxelGrid) -> None:
    """That labels on the voxels of a data set can be pooled to a grid.

    Raises:
        ValueError: the grid spans another range, or its shape does not divide the native one.
    """
    if not np.allclose((grid.lower, grid.upper), (native.lower, native.upper), atol=1e-4):
        raise ValueError(
            f"grid must span the range of the labels, {native.lower} to {native.upper} m, "
            f"got {grid.lower} to {grid.upper}"
        )
    if any(fine % coarse for fine, coarse in zip(native.shape, grid.shape, strict=True)):
        raise ValueError(f"grid.shape must divide {native.shape}, got {grid.shape}")


def pool_any(values: NDArray[np.bool_], shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Whether any fine voxel of each coarse voxel is true: (x, y, z) bool to (X, Y, Z) bool.

    Raises:
        ValueError: the shape does not divide that of the values.
    """
    pooled: NDArray[np.bool_] = _reduce(np.logical_or, values, shape, np.bool_)
    return pooled


def pool_semantics(
    semantics: NDArray[np.uint8],
    shape: tuple[int, int, int],
    num_classes: int,
    pooling: Pooling = "majority",
    empty: int = 0,
) -> NDArray[np.uint8]:
    """Labels on a coarser grid: (x, y, z) uint8 to (X, Y, Z) uint8.

    Voxels marked `IGNORE` do not vote; a coarse voxel without a vote is `IGNORE`. Ties go to the lowest class.

    Args:
        semantics: classes 0..K-1, or `IGNORE`.
        shape: (X, Y, Z), dividing (x, y, z).
        num_classes: K.
        pooling: ``majority``: the most frequent label, empty included. ``occupied_first``: the most frequent occupied
            label, if any fine voxel is occupied. The latter keeps surfaces, which are one or two fine voxels thick
            and lose against the empty space around them in a plain majority.
        empty: the class of empty space: 0 in SemanticKITTI, the last one in Occ3D.

    Raises:
        ValueError: the shape does not divide that of the labels, or the pooling is not known.
    """
    if pooling not in get_args(Pooling):
        raise ValueError(f"pooling must be one of {', '.join(get_args(Pooling))}, got '{pooling}'")
    if shape == semantics.shape:
        return semantics.copy()
    pooled = np.where(pool_any(semantics != IGNORE, shape), np.uint8(empty), np.uint8(IGNORE)).reshape(-1)

    # Few voxels are occupied: count votes only in the coarse voxels that they touch.
    occupied = np.flatnonzero((semantics != empty) & (semantics != IGNORE))
    fine = np.unravel_index(occupied, semantics.shape)
    cell = np.ravel_multi_index(
        [axis // f for axis, f in zip(fine, _factors(semantics.shape, shape), strict=True)], shape
    )
    touched = np.zeros(len(pooled), dtype=bool)
    touched[cell] = True
    position = np.cumsum(touched) - 1  # of a coarse voxel among the touched ones
    ballots = position[cell] * num_classes + semantics.reshape(-1)[occupied]
    votes = np.bincount(ballots, minlength=np.count_nonzero(touched) * num_classes).reshape(-1, num_classes)
    if pooling == "majority":
        votes[:, empty] = _reduce(np.add, semantics == empty, shape, np.int32).reshape(-1)[touched]
    pooled[touched] = votes.argmax(axis=1)
    return pooled.reshape(shape)


def _factors(fine: tuple[int, ...], coarse: tuple[int, int, int]) -> list[int]:
    """Fine voxels in a coarse one along each axis."""
    if len(fine) != 3 or any(f % c for f, c in zip(fine, coarse, strict=True)):
        raise ValueError(f"a grid of {coarse} voxels does not divide one of {fine}")
    return [f // c for f, c in zip(fine, coarse, strict=True)]


def _reduce(ufunc: np.ufunc, values: NDArray[Any], shape: tuple[int, int, int], dtype: type) -> NDArray[Any]:
    """Reduce the fine voxels of each coarse voxel, (x, y, z) to (X, Y, Z).

    One axis after the other, the longest contiguous rows first: reducing three axes at once takes ten times as long.
    """
    fx, fy, fz = _factors(values.shape, shape)
    X, Y, Z = shape
    rows = ufunc.reduce(values.reshape(X, fx, -1), axis=1, dtype=dtype)
    columns = ufunc.reduce(rows.reshape(X, Y, fy, -1), axis=2, dtype=dtype)
    reduced: NDArray[Any] = ufunc.reduce(columns.reshape(X, Y, Z, fz), axis=3, dtype=dtype)
    return reduced


def flip_matrix(grid: VoxelGrid, axes: Sequence[int]) -> Tensor:
    """The reflection (4, 4) of the ego frame that goes with flipping the arrays of a grid along these axes.

    It mirrors at the middle of the grid, which need not be the origin: x runs from 0 in SemanticKITTI.
    """
    matrix = torch.eye(4)
    for axis in axes:
        matrix[axis, axis] = -1.0
        matrix[axis, 3] = grid.lower[axis] + grid.upper[axis]
    return matrix


def flip_volume(volume: NDArray[Any], axes: Sequence[int]) -> Tensor:
    """An array [x, y, z] as a tensor, flipped along these axes."""
    return torch.from_numpy(np.ascontiguousarray(np.flip(volume, axes)))
