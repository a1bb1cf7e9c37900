"""The raster of road users against which open-loop planning is scored (ST-P3, VAD), as plain functions.

Shape letters: A agents, T steps of 0.5 s, P polygons.

Positions are metres in the LiDAR frame of the current keyframe, x right, y forward. A footprint is (x, y, yaw, length,
width), yaw counterclockwise from +x. The raster has cells of 0.5 m over [-50, 50]^2: column = (x + 50) / 0.5,
row = (50 - y) / 0.5, so that forward is up.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

CELLS = 200
CELL_SIZE = 0.5
REACH = 50.0
FARTHEST = 1e6
_FIXED_POINT = 16  # bits after the point in which the official rasterizer steps along edges
_NO_CROSSING = 2**40


def agent_raster(footprints: Tensor, present: Tensor) -> Tensor:
    """Cells that agents cover.

    Args:
        footprints: (..., A, T, 5); any values where ``present`` is false.
        present: (..., A, T) bool, the agents that exist at a step and count.

    Returns:
        (..., T, 200, 200) bool, rows from front to back, columns from left to right.

    Raises:
        ValueError: shapes do not fit, or a footprint that is present is not finite or more than 1000 km away.
    """
    if footprints.dim() < 3 or footprints.shape != (*present.shape, 5):
        raise ValueError(
            f"footprints (..., A, T, 5) and present (..., A, T) needed, "
            f"got {tuple(footprints.shape)} and {tuple(present.shape)}"
        )
    *leading, _, steps = present.shape
    layers = math.prod(leading) * steps
    layer = torch.arange(layers, device=present.device).view(*leading, 1, steps).expand(present.shape)[present.bool()]
    polygons = footprints[present.bool()]
    if not bool((polygons.abs() <= FARTHEST).all()):
        raise ValueError("a footprint of an agent that is present is not finite, or more than 1000 km away")
    return fill_polygons(footprint_corners(polygons), layer, layers).view(*leading, steps, CELLS, CELLS)


def footprint_corners(footprints: Tensor) -> Tensor:
    """Corners (P, 4, 2) int64 (column, row) of footprints (P, 5), rounded half to even."""
    x, y, yaw, length, width = footprints[..., None].unbind(-2)
    along = torch.cat([length, -length, -length, length], dim=-1) / 2
    across = torch.cat([width, width, -width, -width], dim=-1) / 2
    right = yaw.cos() * along - yaw.sin() * across + x
    forward = yaw.sin() * along + yaw.cos() * across + y
    return ((torch.stack([right, -forward], dim=-1).double() + REACH) / CELL_SIZE).round().long()


def fill_polygons(corners: Tensor, layer: Tensor, layers: int) -> Tensor:
    """Draw quadrilaterals with their borders, as OpenCV 4.7 (and 4.5.5, 4.12, 5.0, not 4.8 to 4.10) fills them.

    Cells outside the raster are dropped. OpenCV cuts an edge that leaves the raster before it draws it, which can move
    cells of that edge, 50 m away, by one.

    Args:
        corners: (P, 4, 2) int64 column and row of each corner, in order around the quadrilateral.
        layer: (P,) int64 the raster that each is drawn on.
        layers: number of rasters.

    Returns:
        (layers, 200, 200) bool.
    """
    raster = _interior(corners, layer, layers)
    if len(corners):
        polygon, column, row = _border(corners)
        inside = (column >= 0) & (column < CELLS) & (row >= 0) & (row < CELLS)
        raster[layer[polygon[inside]], row[inside], column[inside]] = True
    return raster


def _border(corners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Polygon, column and row of every cell on an edge: Bresenham lines from the left end point, 8-connected."""
    other = corners.roll(-1, dims=1)
    swap = (other[..., :1] < corners[..., :1]).expand_as(corners)
    start, end = torch.where(swap, other, corners), torch.where(swap, corners, other)
    width, height = (end - start).unbind(-1)
    down = height.sign()
    major, minor = torch.maximum(width, height.abs()), torch.minimum(width, height.abs())
    k = torch.arange(int(major.max()) + 1, device=corners.device)
    # Steps taken along the minor axis after k along the major: minor * k / major, halves rounded down.
    side = (2 * minor[..., None] * k + major[..., None] - 1) // (2 * major[..., None]).clamp(min=1)
    flat = (width >= height.abs())[..., None]
    column = start[..., :1] + torch.where(flat, k, side)
    row = start[..., 1:] + down[..., None] * torch.where(flat, side, k)
    drawn = k <= major[..., None]
    return drawn.nonzero()[:, 0], column[drawn], row[drawn]


def _interior(corners: Tensor, layer: Tensor, layers: int) -> Tensor:
    """Rasters (layers, 200, 200) bool of the insides: in each row the cells between pairs of crossed edges."""
    starts = torch.zeros(layers, CELLS, CELLS + 1, dtype=torch.int16, device=corners.device)
    if len(corners):
        polygon, row, left, right = _spans(corners)
        kept = (row >= 0) & (row < CELLS) & (left <= right) & (right >= 0) & (left < CELLS)
        place = (layer[polygon[kept]], row[kept])
        one = torch.ones_like(place[1], dtype=torch.int16)
        starts.index_put_((*place, left[kept].clamp(min=0)), one, accumulate=True)
        starts.index_put_((*place, right[kept].clamp(max=CELLS - 1) + 1), -one, accumulate=True)
    return starts.cumsum(-1, dtype=torch.int16)[..., :CELLS] > 0


def _spans(corners: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Polygon, row, first and last column of every run of inner cells."""
    other = corners.roll(-1, dims=1)
    swap = (other[..., 1:] < corners[..., 1:]).expand_as(corners)
    low, high = torch.where(swap, other, corners), torch.where(swap, corners, other)
    run, rise = ((high - low) * torch.tensor([2**_FIXED_POINT, 1], device=corners.device)).unbind(-1)
    slope = torch.div(run, rise.clamp(min=1), rounding_mode="trunc")
    top, bottom = corners[..., 1].amin(1), corners[..., 1].amax(1)
    row = top[:, None] + torch.arange(int((bottom - top).max()), device=corners.device)
    above = row[..., None] - low[:, None, :, 1]
    crossing = (low[:, None, :, 0] << _FIXED_POINT) + above * slope[:, None]
    crossed = (above >= 0) & (row[..., None] < high[:, None, :, 1])
    pairs = torch.where(crossed, crossing, _NO_CROSSING).sort(-1).values.reshape(*row.shape, 2, 2)
    polygon, line, pair = (pairs[..., 1] < _NO_CROSSING).nonzero().unbind(1)
    left, right = pairs[polygon, line, pair].unbind(-1)
    return polygon, row[polygon, line], (left + 2**_FIXED_POINT - 1) >> _FIXED_POINT, right >> _FIXED_POINT
