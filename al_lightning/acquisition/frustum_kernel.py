"""Which voxels project into an image, as machine code: the sums of `visibility` without a tensor for each of them.

Shape letters: N cameras of all samples, X Y Z voxels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.compiled import compiled, in_parallel

ROUNDING = 1e-12  # share of the terms of a sum that rounding cannot reach


def centers_in_images(projections: Tensor, centers: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Whether the centres of voxels lie in front of a camera and in its image; as `visibility` finds, bit by bit.

    Args:
        projections: (N, 3, 4) float64, points to (u d, v d, d) with the depth d; on the CPU.
        centers: (X,), (Y,), (Z,) float64, ascending, none of them empty.
        size: height and width of the images, pixels.

    Returns:
        (N, X, Y, Z) bool.
    """
    inside = torch.empty((len(projections), *(len(axis) for axis in centers)), dtype=torch.bool)
    x, y, z = (axis.numpy() for axis in centers)
    cameras = zip(projections.numpy(), inside.numpy(), strict=True)
    in_parallel(lambda camera: _project(x, y, z, float(size[0]), float(size[1]), *camera), cameras)
    return inside


@compiled()
def _project(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
    height: float,
    width: float,
    projection: NDArray[np.float64],
    inside: NDArray[np.bool_],
) -> None:
    """Fill in inside (X, Y, Z) of a camera (3, 4)."""
    along_z = np.empty((3, len(z)))
    for row in range(3):
        for k in range(len(z)):
            along_z[row, k] = projection[row, 2] * z[k]
    bounds, reached = _bounds(x, y, z, height, width, projection), np.empty(len(y), np.bool_)
    for i in range(len(x)):
        u_x = projection[0, 0] * x[i] + projection[0, 3]
        v_x = projection[1, 0] * x[i] + projection[1, 3]
        depth_x = projection[2, 0] * x[i] + projection[2, 3]
        _reached(x[i], y, bounds, reached)
        inside[i] = False
        for j in np.flatnonzero(reached):
            u_xy, v_xy = u_x + projection[0, 1] * y[j], v_x + projection[1, 1] * y[j]
            depth_xy = depth_x + projection[2, 1] * y[j]
            for k in range(len(z)):
                u, v, depth = u_xy + along_z[0, k], v_xy + along_z[1, k], depth_xy + along_z[2, k]
                inside[i, j, k] = (u >= 0) & (u < width * depth) & (v >= 0) & (v < height * depth)


@compiled()
def _bounds(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
    height: float,
    width: float,
    projection: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(4, 3): factors of x, y and 1 of what is not negative wherever any voxel of a column is in the image.

    u, width d - u, v and height d - v, each at that end of the column where it is largest.
    """
    bounds = np.empty((4, 3))
    for which in range(4):
        row, size = which // 2, height if which > 1 else width
        factors = projection[row] if which % 2 == 0 else size * projection[2] - projection[row]
        sizes = np.abs(projection[row]) + size * np.abs(projection[2])
        lost = sizes[0] * np.max(np.abs(x)) + sizes[1] * np.max(np.abs(y)) + sizes[2] * np.max(np.abs(z)) + sizes[3]
        bounds[which, :2] = factors[:2]
        bounds[which, 2] = factors[3] + max(factors[2] * z[0], factors[2] * z[-1]) + ROUNDING * lost
    return bounds


@compiled()
def _reached(x: float, y: NDArray[np.float64], bounds: NDArray[np.float64], reached: NDArray[np.bool_]) -> None:
    """Fill in which columns (Y,) at x may have a voxel in the image."""
    left, right = bounds[0, 0] * x + bounds[0, 2], bounds[1, 0] * x + bounds[1, 2]
    top, bottom = bounds[2, 0] * x + bounds[2, 2], bounds[3, 0] * x + bounds[3, 2]
    for j in range(len(y)):
        reached[j] = (
            (left + bounds[0, 1] * y[j] >= 0)
            & (right + bounds[1, 1] * y[j] >= 0)
            & (top + bounds[2, 1] * y[j] >= 0)
            & (bottom + bounds[3, 1] * y[j] >= 0)
        )
