"""Routes: lane after lane as one smooth way with a speed profile, and where it meets junctions and crossings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from al_lightning.simulation.world import Array, Lane, Path, Town

SPACING = 0.5
"""Distance of the samples of a route (metres)."""
SMOOTHING = 1.5
"""Standard deviation of the smoothing along a route (metres), so that curvature has no jumps."""
LATERAL_COMFORT = 2.0
"""Acceleration across the way that drivers accept in curves (metres a second squared)."""
BRAKING_COMFORT = 1.2
"""Deceleration ahead of curves and lower limits."""
LINE_SETBACK = 1.0
"""Vehicles stop so far ahead of a crossing or of a junction (metres)."""
APPROACH = 9.0
"""A crossing that ends within this distance ahead of a junction is waited for together with it (metres)."""


@dataclass(frozen=True)
class Route:
    """A way over several lanes.

    Attributes:
        lanes: numbers of the lanes.
        starts: arc length at which each lane begins, and at the last position where the route ends.
        points: (K, 3) x, y, yaw every `SPACING`.
        speed: (K,) highest comfortable speed.
    """

    lanes: tuple[int, ...]
    starts: Array
    points: Array
    speed: Array

    @property
    def length(self) -> float:
        """Metres."""
        return float(self.starts[-1])

    def pose(self, s: float) -> Array:
        """x, y, yaw (3,) at an arc length within the route."""
        at = np.arange(len(self.points)) * SPACING
        return np.array([np.interp(s, at, self.points[:, column]) for column in range(3)])

    def lane_at(self, s: float) -> int:
        """Number of the lane at an arc length."""
        position = int(np.searchsorted(self.starts, s, side="right")) - 1
        return self.lanes[min(max(position, 0), len(self.lanes) - 1)]

    def beside(self, s: float, offset: float) -> Array:
        """Pose (3,) at so much to the left of the route."""
        x, y, yaw = self.pose(s)
        return np.array([x - offset * np.sin(yaw), y + offset * np.cos(yaw), yaw])


def draw_lanes(
    lanes: Sequence[Lane], start: int, length: float, rng: np.random.Generator, *, even: bool
) -> tuple[int, ...]:
    """Numbers of lanes one after the other, from ``start`` on, at least ``length`` long where the town allows.

    Args:
        lanes: lanes of the town.
        start: number of the first lane.
        length: metres.
        rng: draws the successors.
        even: give straight on, left and right equal weight, however many lanes lead there.
    """
    chosen = [start]
    total = lanes[start].path.length
    while total < length and lanes[chosen[-1]].successors:
        options = lanes[chosen[-1]].successors
        alive = [n for n in options if _leads_on(lanes, n)] or list(options)
        turns = [lanes[n].turn for n in alive]
        weights = np.array([1 / turns.count(turn) if even else 1.0 for turn in turns])
        chosen.append(int(rng.choice(alive, p=weights / weights.sum())))
        total += lanes[chosen[-1]].path.length
    return tuple(chosen)


def _leads_on(lanes: Sequence[Lane], number: int) -> bool:
    return any(lanes[after].successors for after in lanes[number].successors)


def build_route(
    lanes: Sequence[Lane], numbers: tuple[int, ...], haste: float = 1.0, offset: float = 0.0, cap: float = np.inf
) -> Route:
    """Join lanes into one smooth way.

    Args:
        lanes: lanes of the town.
        numbers: the lanes of the route in order.
        haste: factor on the speed limits.
        offset: metres to the left of the middle of the lanes.
        cap: highest speed of the vehicle.
    """
    parts = [lanes[n].path.points for n in numbers]
    points = np.concatenate([parts[0], *(part[1:] for part in parts[1:])])
    ends = np.cumsum([len(part) - 1 for part in parts])
    steps = np.hypot(*np.diff(points, axis=0).T)
    if not bool((steps > 0).all()):
        raise ValueError(f"the lanes {numbers} have two equal points in a row")
    raw = np.concatenate([[0.0], np.cumsum(steps)])
    smooth = smooth_way(points, raw, offset)
    starts = np.interp(np.concatenate([[0.0], raw[ends]]), smooth[:, 3], smooth[:, 2])
    at = np.arange(0.0, smooth[-1, 2], SPACING)
    yaw = np.unwrap(np.arctan2(*np.gradient(smooth[:, :2], axis=0).T[::-1]))
    sampled = np.stack([np.interp(at, smooth[:, 2], v) for v in (smooth[:, 0], smooth[:, 1], yaw)], axis=-1)
    limits = haste * _limits(lanes, numbers)
    lane_of = np.clip(np.searchsorted(starts, at, side="right") - 1, 0, len(numbers) - 1)
    return Route(numbers, starts, sampled, speed_profile(sampled, np.minimum(limits[lane_of], cap)))


def _limits(lanes: Sequence[Lane], numbers: Sequence[int]) -> Array:
    """Speed limit on each lane; over a junction that of the road before, as curves are taken care of on their own."""
    limits = [lanes[n].speed_limit for n in numbers]
    for position in range(1, len(numbers)):
        if lanes[numbers[position]].junction >= 0:
            limits[position] = max(limits[position], limits[position - 1])
    return np.array(limits)


def smooth_way(points: Array, raw: Array, offset: float = 0.0) -> Array:
    """x, y, smoothed arc length and raw arc length (Q, 4) of a polyline without jumps in its curvature.

    Args:
        points: (P, 2).
        raw: (P,) its arc length.
        offset: metres to the left.
    """
    fine = np.linspace(0.0, raw[-1], max(int(raw[-1] / (SPACING / 2)), 4))
    line = np.stack([np.interp(fine, raw, points[:, axis]) for axis in (0, 1)], axis=-1)
    sigma = SMOOTHING / (fine[1] - fine[0])
    margin = min(int(4 * sigma), len(fine) - 1)
    padded = np.pad(line, ((margin, margin), (0, 0)), mode="reflect", reflect_type="odd")
    line = gaussian_filter1d(padded, sigma, axis=0, mode="nearest")[margin : len(padded) - margin]
    if offset:
        direction = np.gradient(line, axis=0)
        direction /= np.hypot(*direction.T)[:, None]
        line = line + offset * np.stack([-direction[:, 1], direction[:, 0]], axis=-1)
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    return np.column_stack([line, length, fine])


def speed_profile(points: Array, limits: Array) -> Array:
    """Highest speed (K,) that keeps to the limits, is comfortable in curves, and brakes comfortably ahead of them."""
    curvature = np.abs(np.gradient(points[:, 2], SPACING))
    squared = np.minimum(limits**2, LATERAL_COMFORT / np.maximum(curvature, 1e-6))
    ramp = 2 * BRAKING_COMFORT * SPACING * np.arange(len(points))
    reachable: Array = np.minimum.accumulate((squared + ramp)[::-1])[::-1] - ramp
    speed: Array = np.sqrt(np.maximum(reachable, 1.0))
    return speed


@dataclass(frozen=True)
class Stops:
    """Where a route may have to wait.

    Attributes:
        junctions: (J, 4) stop line, entry, exit (arc lengths), and number of the lane over the junction.
        crossings: (C, 3) start, end (arc lengths), and number of the crossing.
    """

    junctions: Array
    crossings: Array


def find_stops(town: Town, route: Route) -> Stops:
    """All junctions and pedestrian crossings on a route."""
    crossings = []
    for position, number in enumerate(route.lanes):
        begin = route.starts[position]
        for start, end in town.lanes[number].crossings:
            middle = town.lanes[number].path.pose((start + end) / 2)[:2]
            crossings.append((begin + start, begin + end, nearest_crossing(town.crossings, middle)))
    junctions = []
    for position, number in enumerate(route.lanes):
        if town.lanes[number].junction >= 0:
            entry, leave = route.starts[position], route.starts[position + 1]
            before = [start for start, end, _ in crossings if entry - APPROACH < end and start < entry + 1.0]
            line = min([entry, *before]) - LINE_SETBACK
            junctions.append((line, entry, leave, number))
    return Stops(np.array(junctions).reshape(-1, 4), np.array(crossings).reshape(-1, 3))


def nearest_crossing(crossings: Sequence[Path], point: Array) -> int:
    """Number of the crossing that passes nearest to a point (2,); crossings are straight.

    Raises:
        ValueError: there is no crossing.
    """
    if not crossings:
        raise ValueError("a lane runs over a crossing, but the town has none")
    start, end = (np.array([path.points[k] for path in crossings]) for k in (0, -1))
    along = end - start
    share = np.clip(((point - start) * along).sum(axis=1) / (along**2).sum(axis=1), 0, 1)
    return int(np.argmin(((point - start - share[:, None] * along) ** 2).sum(axis=1)))


CONFLICT_DISTANCE = 2.6
"""Ways over a junction that come nearer than this to each other cannot be used at the same time (metres)."""
MERGED = 5.0
"""Of two ways that end in the same lane, one is free again when the other's user is so far into the shared part."""


def find_conflicts(lanes: Sequence[Lane], numbers: Sequence[int]) -> Array:
    """Where lanes over junctions exclude each other.

    Those that begin together do not: their users follow each other.

    Returns:
        (M, M) arc length on the row's lane behind which it is clear of the column's; negative without a conflict.
    """
    result = np.full((len(numbers), len(numbers)), -np.inf)
    for i, a in enumerate(numbers):
        for j, b in enumerate(numbers):
            if (
                a == b
                or lanes[a].junction != lanes[b].junction
                or set(lanes[a].predecessors) & set(lanes[b].predecessors)
            ):
                continue
            difference = lanes[a].path.points[:, None] - lanes[b].path.points[None]
            near = np.flatnonzero((np.hypot(difference[..., 0], difference[..., 1]) < CONFLICT_DISTANCE).any(axis=1))
            if len(near):
                merge = set(lanes[a].successors) & set(lanes[b].successors)
                begin, end = lanes[a].path.s[near[[0, -1]]]
                result[i, j] = min(begin + MERGED, end) if merge else end
    return result
