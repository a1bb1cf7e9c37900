"""Draws the moving vehicles of a scene and sets up their state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from al_lightning.simulation.traffic import population
from al_lightning.simulation.traffic.events import EGO_CENTER, EGO_HALF
from al_lightning.simulation.traffic.motion import HORIZON, Traffic
from al_lightning.simulation.traffic.population import Size, draw_category, draw_size
from al_lightning.simulation.traffic.routes import (
    BRAKING_COMFORT,
    Route,
    Stops,
    build_route,
    draw_lanes,
    find_conflicts,
    find_stops,
)
from al_lightning.simulation.world import Array, Town

HITCH = 0.8
"""Between a truck and its trailer (metres)."""
SPEED_CAPS = {"vehicle.bicycle": 5.0, "vehicle.construction": 6.0}
SPAWN_GAP = 5.0
"""Room between vehicles at the beginning (metres)."""
NEAREST_BICYCLE = 30.0
"""No bicycle begins so near ahead of the ego vehicle, which would follow it all the way (metres)."""


@dataclass(frozen=True)
class Vehicle:
    """A vehicle that begins to drive.

    Attributes:
        category: one of nuScenes.
        size: width, length, height.
        route: where to.
        s: arc length of its reference at the beginning.
        manner: acceleration, comfortable deceleration, time headway.
        seed: of the body.
        trailer: size of the trailer that it pulls.
    """

    category: str
    size: Size
    route: Route
    s: float
    manner: tuple[float, float, float]
    seed: int
    trailer: Size | None = None

    @property
    def tail(self) -> float:
        """From its middle to the end of the trailer, if any (metres)."""
        return self.size[1] / 2 + (HITCH + self.trailer[1] if self.trailer else 0.0)


def draw_manner(rng: np.random.Generator) -> tuple[float, float, float]:
    """Acceleration, comfortable deceleration and time headway of a driver."""
    return float(rng.uniform(1.2, 2.0)), float(rng.uniform(1.6, 2.2)), float(rng.uniform(1.0, 1.7))


def draw_vehicles(town: Town, way: Array, duration: float, ego: Route, ego_s: float,
                  rng: np.random.Generator) -> list[Vehicle]:  # fmt: skip
    """Moving vehicles on the lanes around the ego vehicle's way.

    Args:
        town: the map.
        way: (Q, 2) places that the ego vehicle is expected to pass.
        duration: seconds that the routes must suffice for.
        ego: route of the ego vehicle.
        ego_s: arc length where it begins.
        rng: draws everything.
    """
    density = population.MOVING_PER_100_M / 100 * rng.lognormal(-(population.MOVING_SPREAD**2) / 2,
                                                                population.MOVING_SPREAD)  # fmt: skip
    begun = [(ego.lane_at(ego_s), ego_s - ego.starts[ego.lanes.index(ego.lane_at(ego_s))] + EGO_CENTER, 4.1)]
    result = []
    for number, lane in enumerate(town.lanes):
        if lane.road < 0 or np.min(np.hypot(*(lane.path.points[::8, None] - way[None]).T)) > population.REACH:
            continue
        for s in np.sort(rng.uniform(4.0, max(lane.path.length - 4.0, 4.1), rng.poisson(density * lane.path.length))):
            vehicle = draw_vehicle(town, number, float(s), duration, rng)
            ahead = number == ego.lanes[0] and 0 < s - begun[0][1] < NEAREST_BICYCLE
            if (ahead and vehicle.category == "vehicle.bicycle") or not _has_room(number, vehicle, begun):
                continue
            begun.append((number, float(s), 2 * vehicle.tail))
            result.append(vehicle)
    return result


def _has_room(number: int, vehicle: Vehicle, begun: Sequence[tuple[int, float, float]]) -> bool:
    extent = 2 * vehicle.tail
    return all(other != number or abs(s - vehicle.s) > (extent + length) / 2 + SPAWN_GAP for other, s, length in begun)


def draw_vehicle(town: Town, number: int, s: float, duration: float, rng: np.random.Generator) -> Vehicle:
    """A vehicle that begins at ``s`` of a lane."""
    category = draw_category(population.MOVING_SHARES, rng)
    lane = town.lanes[number]
    length = s + duration * lane.speed_limit * 1.1 + HORIZON
    lanes = draw_lanes(town.lanes, number, length, rng, even=False)
    offset = -(lane.width / 2 - 0.5) if category == "vehicle.bicycle" else 0.0
    haste = float(rng.uniform(0.8, 1.05))
    route = build_route(town.lanes, lanes, haste, offset, SPEED_CAPS.get(category, np.inf))
    pulls = category == "vehicle.truck" and rng.random() < population.TRAILER_BEHIND_TRUCK
    trailer = draw_size("vehicle.trailer", rng) if pulls else None
    return Vehicle(category, draw_size(category, rng), route, s, draw_manner(rng), int(rng.integers(2**31)), trailer)


def build_traffic(town: Town, ego: Route, ego_s: float, manner: tuple[float, float, float],
                  vehicles: Sequence[Vehicle]) -> Traffic:  # fmt: skip
    """State of the ego vehicle, number 0, and all others, in their order, at a speed that suits the place."""
    routes = [ego, *(v.route for v in vehicles)]
    stops = [find_stops(town, route) for route in routes]
    ways = sorted({int(number) for stop in stops for number in stop.junctions[:, 3]})
    half = np.array([EGO_HALF, *((v.size[1] / 2, v.size[0] / 2) for v in vehicles)])
    front = np.array([EGO_HALF[0] + EGO_CENTER, *(v.size[1] / 2 for v in vehicles)])
    s = np.array([ego_s, *(v.s for v in vehicles)])
    junctions = _padded([_local(stop, ways) for stop in stops], 4)
    speed = [_first_speed(route, stop, at) for route, stop, at in zip(routes, stops, s + front, strict=True)]
    count = max(len(route.points) for route in routes)
    return Traffic(
        points=np.array([np.pad(r.points, ((0, count - len(r.points)), (0, 0)), mode="edge") for r in routes]),
        profile=np.array([np.pad(r.speed, (0, count - len(r.speed))) for r in routes]),
        ends=np.array([r.length - 1.0 for r in routes]),
        half=half,
        front=front,
        tail=np.array([EGO_HALF[0] - EGO_CENTER, *(v.tail for v in vehicles)]),
        chord=np.array([0.0, *(0.3 * v.size[1] for v in vehicles)]),
        manner=np.array([manner, *(v.manner for v in vehicles)]),
        s=s,
        v=np.array(speed),
        a=np.zeros(len(routes)),
        junctions=junctions,
        granted=np.zeros(junctions.shape[:2], np.bool_),
        requested=np.full(junctions.shape[:2], np.iinfo(np.int64).max),
        crossings=_padded([stop.crossings for stop in stops], 3),
        clear=find_conflicts(town.lanes, ways),
    )


def _local(stops: Stops, ways: Sequence[int]) -> Array:
    return np.column_stack([stops.junctions[:, :3], np.searchsorted(ways, stops.junctions[:, 3])])


def _padded(rows: Sequence[Array], columns: int) -> Array:
    count = max(1, *(len(row) for row in rows))
    result = np.full((len(rows), count, columns), np.inf)
    for number, row in enumerate(rows):
        result[number, : len(row)] = row
    return result


def _first_speed(route: Route, stops: Stops, bumper: float) -> float:
    """Speed from which the next stop line can be kept."""
    lines = stops.junctions[stops.junctions[:, 1] > bumper, 0]
    room = max(min(lines, default=np.inf) - bumper, 0.0)
    profile = float(np.interp(bumper / 0.5, np.arange(len(route.speed)), route.speed))
    return float(0.8 * min(profile, np.sqrt(2 * BRAKING_COMFORT * room)))
