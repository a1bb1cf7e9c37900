"""Upright boxes seen from above: exact overlap by separating axes, and clearance between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.compiled import compiled
from al_lightning.simulation.world import Array

FAR = 25.0
"""Clearances are not followed beyond this distance (metres)."""


@compiled
def boxes_overlap(a: Array, a_half: Array, b: Array, b_half: Array) -> bool:
    """Whether two boxes, poses (3,) x, y, yaw and half (length, width), share an area; separating-axis test."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    reach = np.hypot(a_half[0], a_half[1]) + np.hypot(b_half[0], b_half[1])
    if dx * dx + dy * dy > reach * reach:
        return False
    cos = abs(np.cos(b[2] - a[2]))
    sin = abs(np.sin(b[2] - a[2]))
    ca, sa, cb, sb = np.cos(a[2]), np.sin(a[2]), np.cos(b[2]), np.sin(b[2])
    return bool(
        abs(dx * ca + dy * sa) < a_half[0] + b_half[0] * cos + b_half[1] * sin
        and abs(dy * ca - dx * sa) < a_half[1] + b_half[0] * sin + b_half[1] * cos
        and abs(dx * cb + dy * sb) < b_half[0] + a_half[0] * cos + a_half[1] * sin
        and abs(dy * cb - dx * sb) < b_half[1] + a_half[0] * sin + a_half[1] * cos
    )


@compiled
def point_clearance(x: float, y: float, box: Array, half: Array) -> float:
    """Distance of a point to a box, 0 inside."""
    dx, dy = x - box[0], y - box[1]
    c, s = np.cos(box[2]), np.sin(box[2])
    along = max(abs(dx * c + dy * s) - half[0], 0.0)
    across = max(abs(dy * c - dx * s) - half[1], 0.0)
    return float(np.hypot(along, across))


@compiled
def _corner_clearance(a: Array, a_half: Array, b: Array, b_half: Array) -> float:
    best = np.inf
    c, s = np.cos(a[2]), np.sin(a[2])
    for i in (-1.0, 1.0):
        for j in (-1.0, 1.0):
            x = a[0] + i * a_half[0] * c - j * a_half[1] * s
            y = a[1] + i * a_half[0] * s + j * a_half[1] * c
            best = min(best, point_clearance(x, y, b, b_half))
    return best


@compiled
def clearances(ego: Array, ego_half: Array, poses: Array, halves: Array) -> Array:
    """Distance (N, T) of the box of the ego vehicle to each other one; 0 where they overlap, infinite where `FAR`.

    Args:
        ego: (T, 3) middle of its box.
        ego_half: (2,) half length and half width.
        poses: (N, T, 3).
        halves: (N, 2).
    """
    result = np.full((poses.shape[0], poses.shape[1]), np.inf)
    for n in range(poses.shape[0]):
        for t in range(poses.shape[1]):
            if abs(poses[n, t, 0] - ego[t, 0]) > FAR or abs(poses[n, t, 1] - ego[t, 1]) > FAR:
                continue
            if boxes_overlap(ego[t], ego_half, poses[n, t], halves[n]):
                result[n, t] = 0.0
            else:
                result[n, t] = min(
                    _corner_clearance(ego[t], ego_half, poses[n, t], halves[n]),
                    _corner_clearance(poses[n, t], halves[n], ego[t], ego_half),
                )
    return result


@compiled
def overlapping_pairs(poses: Array, halves: Array, moving: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which boxes (N, N) overlap at some step; of two that stand, only the first step is looked at."""
    count, steps = poses.shape[0], poses.shape[1]
    result = np.zeros((count, count), np.bool_)
    low, high = np.empty((count, 2)), np.empty((count, 2))
    for i in range(count):
        for axis in range(2):
            low[i, axis] = poses[i, :, axis].min() - halves[i, 0] - halves[i, 1]
            high[i, axis] = poses[i, :, axis].max() + halves[i, 0] + halves[i, 1]
    for i in range(count):
        for j in range(i):
            if (low[i] > high[j]).any() or (low[j] > high[i]).any():
                continue
            for t in range(steps if moving[i] or moving[j] else 1):
                if boxes_overlap(poses[i, t], halves[i], poses[j, t], halves[j]):
                    result[i, j] = result[j, i] = True
                    break
    return result
