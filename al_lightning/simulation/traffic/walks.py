"""Draws who walks, rides or stands on the sidewalks of a scene, and who wants to cross."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from al_lightning.simulation.traffic import population
from al_lightning.simulation.traffic.obstacles import Obstacles, steer
from al_lightning.simulation.traffic.pedestrians import Walk
from al_lightning.simulation.traffic.population import Size, draw_category, draw_size
from al_lightning.simulation.traffic.routes import SPACING, smooth_way
from al_lightning.simulation.world import Array, Path, Town

CROSSING_END = 1.2
"""So far before the end of a crossing one is on the sidewalk again (metres)."""
SPOTS = 8
"""Places that are tried for somebody who stands."""
LAG = 0.9
"""Those who walk together are so far behind each other, for where they have to go in single file (metres)."""
CLOSED = 1.5
"""Sidewalks whose ends are nearer than this to each other are rings (metres)."""


def draw_walks(town: Town, way: Array, duration: float, obstacles: Obstacles, rng: np.random.Generator) -> list[Walk]:
    """Everybody on foot around the ego vehicle's way; whoever finds no room is left out.

    Args:
        town: the map.
        way: (Q, 2) places that the ego vehicle is expected to pass.
        duration: seconds that the ways must suffice for.
        obstacles: what is to be walked around.
        rng: draws everything.
    """
    tree = cKDTree(way)
    spread = population.PEDESTRIANS_SPREAD
    density = population.PEDESTRIANS_PER_100_M / 100 * rng.lognormal(-(spread**2) / 2, spread)
    walks: list[Walk] = []
    cyclists = int(rng.random() < population.SIDEWALK_BICYCLES)
    for path in town.sidewalks:
        if tree.query(path.points)[0].min() > population.REACH:
            continue
        heads = rng.poisson(density * path.length)
        while heads > 0:
            group = min(heads, int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])))
            heads -= group
            walks += _draw_group(path, group, duration, obstacles, rng)
        if cyclists:
            cyclists -= 1
            walks += _draw_cyclist(path, duration, obstacles, rng)
    for number, crossing in enumerate(town.crossings):
        if tree.query(crossing.points)[0].min() < population.REACH:
            for _ in range(rng.poisson(population.CROSSERS_PER_CROSSING * duration / 20)):
                walks += _draw_crossers(town.sidewalks, crossing, number, duration, obstacles, rng)
    return walks


def attributes(category: str, still: str = "pedestrian.standing") -> tuple[str, str]:
    """Attributes while not moving and while moving."""
    if category in ("vehicle.bicycle", "vehicle.motorcycle"):
        return "cycle.with_rider", "cycle.with_rider"
    if not category.startswith("human."):
        return "", ""
    return still, "pedestrian.moving"


def _draw_group(path: Path, heads: int, duration: float, obstacles: Obstacles, rng: np.random.Generator) -> list[Walk]:
    """People who walk or stand together."""
    start, onward = float(rng.uniform(0, path.length)), bool(rng.integers(2))
    stands = rng.random() < population.STANDING_SHARE
    sits = rng.random() < population.SITTING_SHARE
    speed = float(rng.uniform(0.8, 1.8))
    side = float(rng.uniform(0.1, 0.7))
    way = sidewalk_way(path, start, onward, speed * duration + 8.0)
    result = []
    for k in range(heads):
        category = draw_category(population.PEDESTRIAN_SHARES, rng)
        still, moving = attributes(category, "pedestrian.sitting_lying_down" if sits else "pedestrian.standing")
        size, offset, seed = draw_size(category, rng), -side + 0.75 * k, int(rng.integers(2**31))
        if stands or sits:
            spot = _free_spot(shifted(way[:2], offset), size, obstacles, rng)
            result += [Walk(category, size, spot, 0.0, 0.0, still, moving, seed)] if spot is not None else []
            continue
        gait = speed * float(rng.uniform(0.97, 1.03))
        line = steer(way, offset, size, obstacles)
        result += [Walk(category, size, line, LAG * k, gait, still, moving, seed)] if line is not None else []
    return result


def _free_spot(points: Array, size: Size, obstacles: Obstacles, rng: np.random.Generator) -> Array | None:
    """The points (K, 3), moved and turned so that there is room at the first one; None if no such draw comes up."""
    for _ in range(SPOTS):
        spot: Array = points + rng.uniform(-1, 1, 3) * (0.5, 0.5, np.pi)
        if not obstacles.touch(spot[0], size):
            return spot
    return None


def _draw_cyclist(path: Path, duration: float, obstacles: Obstacles, rng: np.random.Generator) -> list[Walk]:
    speed = float(rng.uniform(2.5, 4.5))
    points = sidewalk_way(path, float(rng.uniform(0, path.length)), bool(rng.integers(2)), speed * duration + 8.0)
    size = draw_size("vehicle.bicycle", rng)
    rider = "cycle.with_rider"
    seed, line = int(rng.integers(2**31)), steer(points, 0.5, size, obstacles)
    return [] if line is None else [Walk("vehicle.bicycle", size, line, 0.0, speed, rider, rider, seed)]


def sidewalk_way(path: Path, start: float, onward: bool, length: float) -> Array:
    """Poses (K, 3) every `SPACING` along a sidewalk; around rings, else to its end, from where there is more room."""
    ring = bool(np.hypot(*(path.points[0] - path.points[-1])) < CLOSED)
    if not ring and (path.length - start if onward else start) < length:
        onward = start < path.length / 2
    points = path.points if onward else path.points[::-1]
    begin = start if onward else path.length - start
    if ring:
        laps = int((begin + length) / path.length) + 1
        points = np.concatenate([points[:-1]] * (laps + 1))
    return resampled(points, begin, length)


def resampled(points: Array, begin: float = 0.0, length: float = np.inf) -> Array:
    """Poses (K, 3), K >= 2, every `SPACING` along a polyline, from ``begin`` for at most ``length``; smooth."""
    keep = np.concatenate([[True], np.hypot(*np.diff(points, axis=0).T) > 1e-6])
    points = points[keep]
    raw = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    smooth = smooth_way(points, raw)
    begin = min(begin, smooth[-1, 2] - 2 * SPACING)
    at = np.arange(begin, max(min(begin + length, smooth[-1, 2]), begin + 1.01 * SPACING), SPACING)
    yaw = np.unwrap(np.arctan2(*np.gradient(smooth[:, :2], axis=0).T[::-1]))
    return np.stack([np.interp(at, smooth[:, 2], v) for v in (smooth[:, 0], smooth[:, 1], yaw)], axis=-1)


def shifted(points: Array, offset: float) -> Array:
    """Poses (K, 3) moved to the left."""
    yaw = points[:, 2]
    side: Array = np.stack([-np.sin(yaw), np.cos(yaw), np.zeros_like(yaw)], axis=-1)
    return points + offset * side


def _draw_crossers(
    sidewalks: Sequence[Path], crossing: Path, number: int, duration: float, obstacles: Obstacles,
    rng: np.random.Generator,
) -> list[Walk]:  # fmt: skip
    """People who come along a sidewalk, cross, and walk on."""
    points = crossing.points if rng.integers(2) else crossing.points[::-1]
    speed = float(rng.uniform(1.0, 1.7))
    before = arm(sidewalks, points[0], float(rng.uniform(0.0, 0.8)) * duration * speed, bool(rng.integers(2)))[::-1]
    after = arm(sidewalks, points[-1], duration * speed, bool(rng.integers(2)))
    way = resampled(np.concatenate([before, points, after]))
    lead = float(np.hypot(*np.diff(before, axis=0).T).sum()) if len(before) > 1 else 0.0
    result = []
    for k in range(int(rng.integers(1, 4))):
        category = draw_category({"human.pedestrian.adult": 0.95, "human.pedestrian.child": 0.05}, rng)
        still, moving = attributes(category)
        size, seed = draw_size(category, rng), int(rng.integers(2**31))
        line = steer(way, -0.6 + 0.8 * (k - 1) if k else -0.6, size, obstacles)
        if line is None:
            continue
        kerb, beyond = lead + 0.2, lead + crossing.length - CROSSING_END
        result.append(Walk(category, size, line, 0.0, speed, still, moving, seed, kerb, beyond, number))
    return result


def arm(sidewalks: Sequence[Path], point: Array, length: float, onward: bool) -> Array:
    """Points (P, 2) of the sidewalk away from the place next to a point, which is the first."""
    offsets = [abs(float(path.project(point)[1])) for path in sidewalks]
    if length < 1.0 or not offsets or min(offsets) > 3.0:
        return np.asarray(point)[None]
    path = sidewalks[int(np.argmin(offsets))]
    way = sidewalk_way(path, float(path.project(point)[0]), onward, length)
    return np.concatenate([np.asarray(point)[None], way[2:, :2]])
