"""What the ground of a town is divided into: carriageways, junctions, crossings, sidewalks, blocks, car parks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from shapely.geometry import LineString, MultiPolygon, Point, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from al_lightning.simulation.town.curves import offset, strip
from al_lightning.simulation.town.network import LANE_WIDTH, Network, Road
from al_lightning.simulation.world import Array, Lane, Path

KERB_RADIUS = 7.0
"""Of the corners of a junction (metres)."""
ZEBRA = (1.0, 4.6)
"""From where to where a crossing reaches, from the edge of the junction (metres)."""
STOP_LINE = {True: 5.3, False: 1.0}
"""Distance of a stop line from the junction (metres), with a crossing between or not."""
STOP = 0.5
"""Width of a stop line (metres)."""
BAY = 2.3
"""Width of kerb-side parking (metres)."""
BAY_END = 13.0
"""Distance of kerb-side parking from the junctions (metres)."""
MEDIAN_END = 6.5
"""Distance of a median from the junctions (metres)."""
NECK = 0.04
"""Narrower parts of an area are cut off (metres)."""
SEAM = 0.05
"""By how much areas that touch overlap, so that no slit is left between them (metres)."""


@dataclass
class Streets:
    """Areas of the streets.

    Attributes:
        roads: carriageway of each road with its median, without parking.
        junctions: area of each junction.
        lanes: area of each lane.
        medians: islands between the directions of a road.
        crossings: (road, whether at its start, area from kerb to kerb).
        stops: (road, whether at its start, area).
        bays: (road, side, area) of kerb-side parking; side 1 is the left of the road's middle line.
        paved: union of all driveable areas and medians.
    """

    roads: list[Polygon] = field(default_factory=list)
    junctions: list[Polygon] = field(default_factory=list)
    lanes: list[Polygon] = field(default_factory=list)
    medians: list[Polygon] = field(default_factory=list)
    crossings: list[tuple[int, bool, Polygon]] = field(default_factory=list)
    stops: list[tuple[int, bool, Polygon]] = field(default_factory=list)
    bays: list[tuple[int, int, Polygon]] = field(default_factory=list)
    paved: Polygon = field(default_factory=Polygon)


def polygons_of(geometry: BaseGeometry, smallest: float = 0.5) -> list[Polygon]:
    """The polygons of a geometry, without necks of a few centimetres and parts below an area (square metres)."""
    clean = geometry.buffer(-NECK / 2, join_style="mitre").buffer(NECK / 2, join_style="mitre")
    parts = clean.geoms if isinstance(clean, MultiPolygon) else [clean]
    return [part for part in parts if part.area > smallest]


def piece(points: Array, start: float, end: float) -> Array:
    """Part of a polyline between two arc lengths (metres); negative ones count from its end."""
    path = Path(points)
    start, end = (s + path.length if s < 0 else s for s in (start, end))
    s = np.linspace(start, end, max(int(np.ceil((end - start) / 0.75)), 1) + 1)
    return path.pose(s)[:, :2]


def street_areas(network: Network, lanes: Sequence[Lane], rng: np.random.Generator) -> Streets:
    """All areas that belong to the streets."""
    streets = Streets()
    streets.roads = [strip(road.center, -road.half_width, road.half_width) for road in network.roads]
    streets.lanes = [strip(lane.path.points, -lane.width / 2, lane.width / 2) for lane in lanes]
    streets.junctions = [_junction(network, streets, lanes, number) for number in range(len(network.nodes))]
    for number, road in enumerate(network.roads):
        _cross_road(streets, number, road, rng)
        _park_along(streets, number, road, rng)
    bays = [bay for _, _, bay in streets.bays]
    paved = unary_union([*streets.roads, *streets.junctions, *bays]).buffer(0.02).buffer(-0.02)
    streets.paved = max(polygons_of(paved), key=lambda part: float(part.area))
    return streets


def _junction(network: Network, streets: Streets, lanes: Sequence[Lane], number: int) -> Polygon:
    parts, own = [], []
    for road, first in network.arms[number]:
        width = network.roads[road].half_width
        stub = network.roads[road].stubs[0 if first else 1]
        parts.append(strip(piece(stub, 0.0, Path(stub).length + SEAM), -width, width))
        own.append(streets.roads[road])
    ways = [area for lane, area in zip(lanes, streets.lanes, strict=True) if lane.junction == number]
    star = unary_union([*parts, *(way.buffer(0.3) for way in ways)]).buffer(KERB_RADIUS).buffer(-KERB_RADIUS)
    return max(
        polygons_of(star.difference(unary_union(own).buffer(-SEAM, join_style="mitre"))),
        key=lambda part: float(part.area),
    )


def _cross_road(streets: Streets, number: int, road: Road, rng: np.random.Generator) -> None:
    """Crossings and stop lines at both ends, and the median between them."""
    width = road.half_width
    for first in (True, False):
        inwards = road.center if first else road.center[::-1]
        crossing = rng.random() < 0.75
        line = STOP_LINE[crossing]
        if crossing:
            streets.crossings.append((number, first, strip(piece(inwards, *ZEBRA), -width, width)))
        stop = strip(piece(inwards, line, line + STOP), road.median / 2 + 0.2, width - 0.3)
        streets.stops.append((number, first, stop))
    if road.median > 0:
        line = LineString(piece(road.center, MEDIAN_END + 1, -MEDIAN_END - 1))
        streets.medians.append(line.buffer(road.median / 2))


def _park_along(streets: Streets, number: int, road: Road, rng: np.random.Generator) -> None:
    length = Path(road.center).length
    for side in (1, -1):
        if road.lanes == 1 and length > 2 * BAY_END + 20 and rng.random() < 0.45:
            along = piece(road.center, BAY_END, -BAY_END)
            edges = sorted((side * (road.half_width - 0.1), side * (road.half_width + BAY)))
            streets.bays.append((number, side, strip(along, *edges)))


def with_crossings(lanes: Sequence[Lane], streets: Streets) -> tuple[Lane, ...]:
    """The lanes with the arc lengths where they run over the crossings of their road."""
    areas: dict[int, list[Polygon]] = {}
    for road, _, area in streets.crossings:
        areas.setdefault(road, []).append(area)
    finished = []
    for lane in lanes:
        spans = []
        line = LineString(lane.path.points)
        for area in areas.get(lane.road, []) if lane.road >= 0 else []:
            ends = np.array(line.intersection(area).coords)[[0, -1]]
            start, end = sorted(float(line.project(Point(end))) for end in ends)
            spans.append((start, end))
        finished.append(replace(lane, crossings=tuple(sorted(spans))))
    return tuple(finished)


def road_divider_lines(road: Road) -> list[LineString]:
    """The line between the opposite directions of a road."""
    return [LineString(road.center)]


def lane_divider_lines(road: Road) -> list[LineString]:
    """The lines between the lanes of the same direction."""
    return [
        LineString(offset(road.center, side * (road.median / 2 + k * LANE_WIDTH)))
        for side in (1, -1)
        for k in range(1, road.lanes)
    ]
