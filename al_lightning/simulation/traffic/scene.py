"""Runs the traffic of one scene."""

from __future__ import annotations

import numpy as np

from al_lightning.simulation.traffic.events import (
    EGO_CENTER,
    EVENTS,
    CutIn,
    HardBraking,
    Jaywalking,
    NarrowGap,
    Nothing,
    Script,
    Unsuitable,
)
from al_lightning.simulation.traffic.furniture import Furnisher
from al_lightning.simulation.traffic.motion import BRAKING_LIMIT, HORIZON, Traffic, poses_along
from al_lightning.simulation.traffic.obstacles import Obstacles, find_obstacles
from al_lightning.simulation.traffic.pedestrians import Crowd
from al_lightning.simulation.traffic.phrases import describe
from al_lightning.simulation.traffic.population import REACH, Size, draw_size
from al_lightning.simulation.traffic.routes import SPACING, Route, build_route, draw_lanes, speed_profile
from al_lightning.simulation.traffic.safety import check_contact, check_critical
from al_lightning.simulation.traffic.tracks import Run, collect_tracks, in_reach, prune
from al_lightning.simulation.traffic.vehicles import HITCH, Vehicle, build_traffic, draw_manner, draw_vehicles
from al_lightning.simulation.traffic.walks import draw_walks
from al_lightning.simulation.world import TIME_STEP, Array, Drive, Path, Town

WARM_UP = 40
"""Steps before the scene begins."""
ATTEMPTS = 400
"""Draws of a scene before giving up."""
GAP_TRIES = 8
"""Draws of a narrow gap at one place."""
STANDING_SPEED = 1.0
STANDING_SHARE = 0.4
"""Of the scenes in which the ego vehicle is slower than that on average, this share is kept."""


def drive(town: Town, steps: int, seed: int, event: str = "") -> Drive:
    """Simulate a scene.

    Args:
        town: the map.
        steps: time steps of `TIME_STEP`.
        seed: the same seed gives the same scene, bit by bit.
        event: ``cut_in``, ``hard_braking``, ``jaywalking``, ``narrow_gap`` or ``""``; happens around the middle.

    Raises:
        ValueError: the event is unknown, or the steps are too few.
        RuntimeError: no draw can host the scene in this town.
    """
    if event not in EVENTS:
        raise ValueError(f"event must be one of {EVENTS}, not {event!r}")
    if steps < 10:
        raise ValueError(f"a scene needs at least 10 steps, not {steps}")
    reasons: dict[str, int] = {}
    for attempt in range(ATTEMPTS):
        try:
            return _attempt(town, steps, event, np.random.default_rng([seed, attempt]))
        except Unsuitable as reason:
            reasons[str(reason)] = reasons.get(str(reason), 0) + 1
    raise RuntimeError(f"no scene with event {event!r} in {ATTEMPTS} draws: {reasons}")


def _attempt(town: Town, steps: int, event: str, rng: np.random.Generator) -> Drive:
    duration = (steps + WARM_UP) * TIME_STEP
    route, s = draw_ego(town, duration, rng)
    obstacles = find_obstacles(town.solids, expected_way(route, s, duration), REACH)
    route, script, leader = draw_script(town, route, s, steps, event, obstacles, rng)
    way = expected_way(route, s, duration)
    vehicles = draw_vehicles(town, way, duration, route, s, rng)
    if leader:
        vehicles = [leader, *(v for v in vehicles if not _in_front(v, leader))]
    furnisher = Furnisher(town, way, obstacles, rng)
    furnisher.park()
    furnisher.build_sites()
    furnisher.furnish_sidewalks()
    manner = (1.8, 2.0, float(rng.uniform(0.6, 0.8) if event == "hard_braking" else rng.uniform(1.2, 1.7)))
    traffic = build_traffic(town, route, s, manner, vehicles)
    around = obstacles.joined(*furnisher.outlines())
    crowd = Crowd(draw_walks(town, way, duration, around, rng))
    run = simulate(traffic, crowd, script, vehicles, steps, len(town.crossings))
    tracks = collect_tracks(run, vehicles, crowd, script, furnisher.placed, rng)
    actors = 1 if leader else len(script.actors)
    for track in tracks[: len(script.actors)]:
        check_room(obstacles, track.poses, track.size)
    tracks = in_reach(prune(tracks, actors), run.ego)
    check_contact(run.ego, tracks)
    if event:
        check_critical(event, run.ego, run.speed, tracks[:actors])
    elif run.acceleration.min() < BRAKING_LIMIT:
        raise Unsuitable("emergency braking without an event")
    if run.speed.mean() < STANDING_SPEED and rng.random() > STANDING_SHARE:
        raise Unsuitable("the ego vehicle stands")
    yaw_rate = np.gradient(run.ego[:, 2], TIME_STEP)
    lanes = tuple(n for n, begin, end in zip(route.lanes, route.starts, route.starts[1:], strict=False)
                  if end > run.s[0] and begin < run.s[-1])  # fmt: skip
    return Drive(town.location, run.ego, run.speed, run.acceleration, yaw_rate, lanes, tuple(tracks), event,
                 describe(town, lanes, run.speed, run.ego, tracks, event))  # fmt: skip


def check_room(obstacles: Obstacles, poses: Array, size: Size) -> None:
    """Make sure that a body that follows a script, at poses (T, 3), passes through nothing that stands.

    Raises:
        Unsuitable: it does.
    """
    if any(obstacles.touch(pose, size) for pose in poses):
        raise Unsuitable("something stands in the way of the event")


def draw_ego(town: Town, duration: float, rng: np.random.Generator) -> tuple[Route, float]:
    """Route and start of the ego vehicle."""
    roads = [n for n, lane in enumerate(town.lanes) if lane.road >= 0 and lane.successors]
    if not roads:
        raise Unsuitable("no road leads anywhere")
    start = int(rng.choice(roads))
    s = float(rng.uniform(2.0, max(town.lanes[start].path.length * 0.7, 2.1)))
    length = s + duration * max(lane.speed_limit for lane in town.lanes) + HORIZON
    lanes = draw_lanes(town.lanes, start, length, rng, even=True)
    route = build_route(town.lanes, lanes, float(rng.uniform(0.85, 1.0)))
    if route.length < s + 0.7 * duration * float(np.mean(route.speed)) + HORIZON:
        raise Unsuitable("the route is too short")
    return route, s


def expected_s(route: Route, s: float, seconds: float) -> float:
    """Arc length reached after so many seconds on a free road."""
    begin = int(s / SPACING)
    elapsed = np.cumsum(SPACING / (0.9 * route.speed[begin:]))
    return s + SPACING * float(np.searchsorted(elapsed, seconds))


def expected_way(route: Route, s: float, duration: float) -> Array:
    """Places (Q, 2) that a vehicle will pass."""
    end = max(expected_s(route, s, duration), s + 1)
    return np.array([route.pose(v)[:2] for v in np.append(np.arange(s, end, 10.0), end)])


def draw_script(
    town: Town, route: Route, s: float, steps: int, event: str, obstacles: Obstacles, rng: np.random.Generator
) -> tuple[Route, Script, Vehicle | None]:
    """The event's script, the route with the ego vehicle's manner in it, and the vehicle ahead if it takes part."""
    if not event:
        return route, Nothing(), None
    place = expected_s(route, s, (WARM_UP + steps // 2) * TIME_STEP)
    lane = town.lanes[route.lane_at(place)]
    if event == "hard_braking":
        size = draw_size("vehicle.car", rng)
        slow = Route(route.lanes, route.starts, route.points, 0.9 * route.speed)
        leader = Vehicle("vehicle.car", size, slow, s + float(rng.uniform(11, 14)), draw_manner(rng),
                         int(rng.integers(2**31)))  # fmt: skip
        return route, HardBraking(int(0.4 * steps), rng), leader
    if lane.road < 0:
        raise Unsuitable("the event falls on a junction")
    if event == "cut_in":
        return route, CutIn(route, *draw_cut_in(town, route, place, rng), rng), None
    if np.ptp(route.points[int((place - 12) / SPACING) : int((place + 12) / SPACING), 2]) > 0.05:
        raise Unsuitable("the event falls on a curve")
    if event == "jaywalking":
        side = float(rng.choice([-1.0, 1.0]))
        return route, Jaywalking(route, place, side * (lane.width / 2 + 0.7), rng), None
    return _slowed(route, place, rng), draw_gap(route, place, obstacles, rng), None


def _slowed(route: Route, place: float, rng: np.random.Generator) -> Route:
    """The same route, driven slowly around a place."""
    limit = np.full(len(route.speed), np.inf)
    limit[int((place - 10) / SPACING) : int((place + 10) / SPACING)] = rng.uniform(4.0, 6.0)
    speed = np.minimum(route.speed, speed_profile(route.points, limit))
    return Route(route.lanes, route.starts, route.points, speed)


def draw_gap(route: Route, place: float, obstacles: Obstacles, rng: np.random.Generator) -> NarrowGap:
    """A narrow gap about an arc length, where its vehicles have room beside the road.

    Raises:
        Unsuitable: they have none.
    """
    for _ in range(GAP_TRIES):
        gap = NarrowGap(route, place + float(rng.uniform(-3, 3)), rng)
        bodies = zip(gap.poses(), gap.actors, strict=True)
        if not any(obstacles.touch(pose, size) for pose, (_, size) in bodies):
            return gap
    raise Unsuitable("no room for a narrow gap")


def draw_cut_in(town: Town, route: Route, place: float, rng: np.random.Generator) -> tuple[float, float]:
    """Where a car stands that will pull out: arc length and offset of a parking place, or of the next lane.

    Raises:
        Unsuitable: there is no such place.
    """
    lane = town.lanes[route.lane_at(place)]
    if max(lane.left, lane.right) >= 0:
        return place + 15.0, lane.width if lane.left >= 0 else -lane.width
    stretch = route.points[int(place / SPACING) : int((place + 30) / SPACING)]
    along, offset = Path(stretch[:, :2]).project(town.parking[:, :2])
    turned = np.cos(town.parking[:, 2] - np.interp(along, np.arange(len(stretch)) * SPACING, stretch[:, 2]))
    free = np.flatnonzero((turned > 0.97) & (offset < 0) & (offset > -5.0) & (along > 2) & (along < 28))
    if not len(free):
        raise Unsuitable("nothing to cut in from")
    chosen = int(rng.choice(free))
    return place + float(along[chosen]), float(offset[chosen])


def _in_front(vehicle: Vehicle, leader: Vehicle) -> bool:
    return bool(np.hypot(*(vehicle.route.pose(vehicle.s) - leader.route.pose(leader.s))[:2]) < 25.0)


def simulate(
    traffic: Traffic, crowd: Crowd, script: Script, vehicles: list[Vehicle], steps: int, crossings: int
) -> Run:
    """Warm up, then record."""
    pulling = np.array([n + 1 for n, v in enumerate(vehicles) if v.trailer], np.int64)
    lengths = np.array([v.trailer[1] for v in vehicles if v.trailer])
    widths = np.array([v.trailer[0] for v in vehicles if v.trailer])
    rows = []
    for step in range(-WARM_UP, steps):
        script.advance(step, traffic)
        poses = traffic.poses()
        behind = traffic.s[pulling] - traffic.half[pulling, 0] - HITCH - lengths / 2
        trailers = poses_along(traffic.points[pulling], behind, 0.3 * lengths)
        if step >= 0:
            rows.append((traffic.s[0], traffic.v[0], traffic.a[0], poses[0], poses[1:], trailers, traffic.v[1:],
                         crowd.poses, crowd.velocity, script.poses()))  # fmt: skip
        boxes = poses.copy()
        boxes[0, :2] += EGO_CENTER * np.array([np.cos(poses[0, 2]), np.sin(poses[0, 2])])
        own = np.column_stack([boxes, traffic.half, traffic.v])
        towed = np.column_stack([trailers, lengths / 2, widths / 2, traffic.v[pulling]])
        others = np.concatenate([crowd.bodies(), script.bodies()])
        owners = np.concatenate([np.arange(len(own)), pulling, np.full(len(others), -1)])
        traffic.step(step, np.concatenate([own, towed, others]), owners, crowd.crossers(), script.bounds(len(own)))
        crowd.step(traffic.busy(crossings))
    return Run(*(np.array(column) for column in zip(*rows, strict=True)))
