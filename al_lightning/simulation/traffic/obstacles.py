"""What of a town is in the way of things on the ground: footprints of its solids, and ways around them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from al_lightning.simulation.compiled import compiled
from al_lightning.simulation.traffic.boxes import boxes_overlap, point_clearance
from al_lightning.simulation.traffic.routes import SPACING
from al_lightning.simulation.world import Array, Shape, Solids

CROWN_BASE = 1.0
"""Foliage that begins higher than this gives way (metres)."""
OFFSETS = np.linspace(-1.2, 1.2, 25)
"""So far to the left of the middle of a sidewalk people walk (metres)."""
MARGIN = 0.1
"""Room that people leave beside what stands in their way (metres)."""
BLOCKED = 100.0
"""Cost of walking into something; that of being a metre beside one's line is 1."""
SWAY = 2.0
"""Cost of a change of the offset by a metre, squared."""
MOST_SWAY = 2
"""Largest change of the offset within `SPACING`, in steps of `OFFSETS`."""


@dataclass(frozen=True)
class Obstacles:
    """Footprints of N solids.

    Attributes:
        pose: (N, 3) x, y, yaw.
        half: (N, 2) half length and half width.
        round: (N,) whether the footprint is a circle, its radius being the half length.
        bottom: (N,) height at which the solid begins (metres).
    """

    pose: Array
    half: Array
    round: NDArray[np.bool_]
    bottom: Array

    def touch(self, pose: Array, size: tuple[float, float, float]) -> bool:
        """Whether an upright box, at a pose (3,) and of a width, length and height, shares an area with one of them."""
        half = np.array([size[1] / 2, size[0] / 2])
        return bool(_touched(pose, half, self.pose, self.half, self.round, self.bottom < size[2]))

    def near(self, points: Array, reach: float) -> Obstacles:
        """Those that come as near as ``reach`` to the box around the points (P, 2)."""
        extent = (np.hypot(self.half[:, 0], self.half[:, 1]) + reach)[:, None]
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        middle = self.pose[:, :2]
        return self._take(((middle > low - extent) & (middle < high + extent)).all(axis=1))

    def joined(self, poses: Array, sizes: Array) -> Obstacles:
        """Together with boxes on the ground: poses (M, 3), and sizes (M, 3) as width, length, height."""
        return Obstacles(
            np.concatenate([self.pose, poses]),
            np.concatenate([self.half, sizes[:, 1::-1] / 2]),
            np.concatenate([self.round, np.zeros(len(poses), np.bool_)]),
            np.concatenate([self.bottom, np.zeros(len(poses))]),
        )

    def _take(self, chosen: NDArray[np.bool_]) -> Obstacles:
        return Obstacles(**{column.name: getattr(self, column.name)[chosen] for column in fields(self)})


def find_obstacles(solids: Solids, way: Array, reach: float) -> Obstacles:
    """Footprints of the solids within ``reach`` of a way (Q, 2), without the crowns of trees."""
    bottom = solids.center[:, 2] - solids.half[:, 2]
    crown = (solids.shape == Shape.ELLIPSOID) & (bottom > CROWN_BASE)
    extent = np.hypot(solids.half[:, 0], solids.half[:, 1])
    near = cKDTree(way).query(solids.center[:, :2])[0] < reach + extent
    kept = near & ~crown
    pose = np.column_stack([solids.center[:, :2], solids.yaw])
    return Obstacles(pose[kept], solids.half[kept, :2], (solids.shape != Shape.BOX)[kept], bottom[kept])


def steer(way: Array, offset: float, size: tuple[float, float, float], obstacles: Obstacles) -> Array | None:
    """The way (K, 3) beside another one that keeps an offset, but goes around obstacles.

    Args:
        way: (K, 3) x, y, yaw every `SPACING`.
        offset: metres to the left.
        size: width, length, height of who walks.
        obstacles: what stands about.

    Returns:
        The way, or None where there is no room to pass.
    """
    near = obstacles.near(way, float(OFFSETS[-1]) + size[1] + size[0])
    low = near.bottom < size[2]
    half = np.array([size[1] / 2, size[0] / 2])
    costs = _costs(way, float(offset), half + MARGIN, OFFSETS, near.pose, near.half, near.round, low)
    smooth = gaussian_filter1d(OFFSETS[_cheapest(costs)], 1.0, mode="nearest")
    x, y, yaw = way.T
    turned = yaw + np.arctan(np.gradient(smooth, SPACING))
    result = np.stack([x - smooth * np.sin(yaw), y + smooth * np.cos(yaw), turned], axis=-1)
    return None if any(_touched(pose, half, near.pose, near.half, near.round, low) for pose in result) else result


@compiled
def _touched(
    box: Array, box_half: Array, pose: Array, half: Array, circle: NDArray[np.bool_], low: NDArray[np.bool_]
) -> bool:
    reach = box_half[0] + box_half[1]
    for n in range(len(pose)):
        extent = reach + half[n, 0] + half[n, 1]
        if not low[n] or abs(pose[n, 0] - box[0]) > extent or abs(pose[n, 1] - box[1]) > extent:
            continue
        if circle[n]:
            if point_clearance(pose[n, 0], pose[n, 1], box, box_half) < half[n, 0]:
                return True
        elif boxes_overlap(box, box_half, pose[n], half[n]):
            return True
    return False


@compiled
def _costs(
    way: Array, wish: float, box_half: Array, offsets: Array, pose: Array, half: Array, circle: NDArray[np.bool_],
    low: NDArray[np.bool_],
) -> Array:  # fmt: skip
    """Cost (K, M) of being at each offset (M,) at each sample of a way."""
    result = np.empty((len(way), len(offsets)))
    for k in range(len(way)):
        sin, cos = np.sin(way[k, 2]), np.cos(way[k, 2])
        for m in range(len(offsets)):
            box = np.array([way[k, 0] - offsets[m] * sin, way[k, 1] + offsets[m] * cos, way[k, 2]])
            result[k, m] = (offsets[m] - wish) ** 2
            if _touched(box, box_half, pose, half, circle, low):
                result[k, m] += BLOCKED
    return result


@compiled
def _cheapest(costs: Array) -> NDArray[np.int64]:
    """Position of the offset at each sample (K,) so that the sum of costs (K, M) and sway is smallest."""
    count, options = costs.shape
    total = costs.copy()
    origin = np.zeros((count, options), np.int64)
    for k in range(1, count):
        for m in range(options):
            best = np.inf
            for before in range(max(m - MOST_SWAY, 0), min(m + MOST_SWAY + 1, options)):
                cost = total[k - 1, before] + SWAY * (OFFSETS[m] - OFFSETS[before]) ** 2
                if cost < best:
                    best, origin[k, m] = cost, before
            total[k, m] += best
    result = np.empty(count, np.int64)
    result[-1] = np.argmin(total[-1])
    for k in range(count - 1, 0, -1):
        result[k - 1] = origin[k, result[k]]
    return result
