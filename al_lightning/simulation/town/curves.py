"""Polylines in the plane: sampling, offsets and the curves that roads and turns are made of."""

from __future__ import annotations

import numpy as np
from shapely.geometry import Polygon

from al_lightning.simulation.world import Array

STEP = 0.75
"""Distance between the points of a resampled curve (metres)."""


def unit(vector: Array) -> Array:
    """The vectors (..., 2) at length one."""
    return np.asarray(vector / np.linalg.norm(vector, axis=-1, keepdims=True))


def left_of(direction: Array) -> Array:
    """The directions (..., 2) turned by a quarter to the left."""
    return np.stack([-direction[..., 1], direction[..., 0]], axis=-1)


def resampled(points: Array, step: float = STEP) -> Array:
    """Points (Q, 2) at equal distances of at most ``step`` along a polyline (P, 2), ends kept."""
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    s = np.linspace(0.0, lengths[-1], int(np.ceil(lengths[-1] / step)) + 1)
    return np.stack([np.interp(s, lengths, points[:, 0]), np.interp(s, lengths, points[:, 1])], axis=-1)


def bezier(start: Array, handle: Array, other_handle: Array, end: Array) -> Array:
    """A cubic Bezier curve as a polyline of `STEP`."""
    t = np.linspace(0.0, 1.0, 400)[:, None]
    points = (1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * handle + 3 * (1 - t) * t**2 * other_handle + t**3 * end
    return resampled(points)


def tangents(points: Array) -> Array:
    """Directions (P, 2) of a polyline at its points."""
    steps = unit(np.diff(points, axis=0))
    return unit(np.concatenate([steps[:1], steps[1:] + steps[:-1], steps[-1:]]))


def offset(points: Array, distance: float) -> Array:
    """The polyline (P, 2) shifted to its left by ``distance`` (metres)."""
    return np.asarray(points + distance * left_of(tangents(points)))


def strip(points: Array, right: float, left: float) -> Polygon:
    """The area between two offsets of a polyline, left positive."""
    return Polygon(np.concatenate([offset(points, right), offset(points, left)[::-1]]))


def turn(start: Array, direction: Array, end: Array, other_direction: Array) -> Array:
    """A curve from one pose to another: straight, an arc and straight where it bends, else a smooth shift sideways.

    Args:
        start: (2,).
        direction: (2,) of unit length, at the start.
        end: (2,).
        other_direction: (2,) of unit length, at the end.

    Returns:
        Points (P, 2), at most `STEP` apart.
    """
    across = float(direction[0] * other_direction[1] - direction[1] * other_direction[0])
    gap = end - start
    if abs(across) > 0.5:
        ahead = float(gap[0] * other_direction[1] - gap[1] * other_direction[0]) / across
        behind = float(direction[0] * gap[1] - direction[1] * gap[0]) / across
        if ahead > 0 and behind > 0:
            return _fillet(start, direction, end, other_direction, ahead, behind)
    reach = 0.4 * float(np.hypot(*gap))
    return resampled(bezier(start, start + reach * direction, end - reach * other_direction, end), 0.5)


def _fillet(start: Array, direction: Array, end: Array, other_direction: Array, ahead: float, behind: float) -> Array:
    corner = start + ahead * direction
    tangent = min(ahead, behind)
    angle = float(np.arccos(np.clip(direction @ other_direction, -1.0, 1.0)))
    radius = tangent / np.tan(angle / 2)
    side = 1.0 if direction[0] * other_direction[1] > direction[1] * other_direction[0] else -1.0
    first = corner - tangent * direction
    center = first + side * radius * left_of(direction)
    steps = np.linspace(0.0, side * angle, max(int(np.ceil(radius * angle / 0.5)), 4) + 1)
    spoke = first - center
    arc = center + np.stack(
        [np.cos(steps) * spoke[0] - np.sin(steps) * spoke[1], np.sin(steps) * spoke[0] + np.cos(steps) * spoke[1]], -1
    )
    parts = [arc]
    if ahead - tangent > 0.05:
        parts.insert(0, resampled(np.stack([start, first]), 0.5)[:-1])
    if behind - tangent > 0.05:
        parts.append(resampled(np.stack([corner + tangent * other_direction, end]), 0.5)[1:])
    points: Array = np.concatenate(parts)
    points[0], points[-1] = start, end
    return points
