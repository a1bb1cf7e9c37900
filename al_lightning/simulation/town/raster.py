"""From polygons to the ground raster: a cell belongs to an area that holds its middle."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon

from al_lightning.simulation.world import Array


def fill(
    raster: NDArray[np.uint8],
    polygons: Iterable[Polygon],
    value: int,
    cell: float,
    corner: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Write ``value`` into the cells whose middle lies in one of the polygons.

    Args:
        raster: (H, W), row 0 at the bottom, written to.
        polygons: the areas.
        value: what to write.
        cell: edge of a cell (metres).
        corner: where the lower left corner of the raster lies.
    """
    for polygon in polygons:
        left, bottom, right, top = (np.array(polygon.bounds) - np.tile(corner, 2)) / cell
        first = np.clip(np.floor([bottom, left]).astype(int), 0, raster.shape)
        last = np.clip(np.ceil([top, right]).astype(int), 0, raster.shape)
        if (last > first).all():
            window = raster[first[0] : last[0], first[1] : last[1]]
            window[inside(polygon, window.shape, corner + first[::-1] * cell, cell)] = value


def inside(polygon: Polygon, shape: tuple[int, ...], corner: Array, cell: float) -> NDArray[np.bool_]:
    """Which cells of a raster (H, W) with its lower left corner at ``corner`` have their middle in the polygon."""
    toggles = np.zeros((shape[0], shape[1] + 1), np.uint8)
    for ring in (polygon.exterior, *polygon.interiors):
        rows, columns = _crossings((np.array(ring.coords) - corner) / cell - 0.5, shape)
        np.bitwise_xor.at(toggles, (rows, columns), np.uint8(1))
    return np.asarray(np.bitwise_xor.accumulate(toggles, axis=1)[:, :-1].astype(bool))


def _crossings(points: Array, shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row that an edge of a ring crosses, the first column to the right; points are in cells."""
    start, end = points[:-1], points[1:]
    low = np.ceil(np.minimum(start[:, 1], end[:, 1])).clip(0, shape[0]).astype(np.int64)
    high = np.ceil(np.maximum(start[:, 1], end[:, 1])).clip(0, shape[0]).astype(np.int64)
    counts = high - low
    edge = np.repeat(np.arange(len(start)), counts)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + low[edge]
    slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
    x = start[edge, 0] + (rows - start[edge, 1]) * slope
    return rows, np.ceil(x).clip(0, shape[1]).astype(np.int64)
