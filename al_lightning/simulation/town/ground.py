"""The ground raster: what every cell is, and what is painted on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from shapely.geometry import Polygon

from al_lightning.simulation.town.areas import STOP_LINE, ZEBRA, Streets, piece
from al_lightning.simulation.town.blocks import Block
from al_lightning.simulation.town.carparks import PLACE
from al_lightning.simulation.town.curves import offset, strip
from al_lightning.simulation.town.network import GUTTER, LANE_WIDTH, Network, Road
from al_lightning.simulation.town.raster import fill
from al_lightning.simulation.world import GROUND_CELL, Array, Ground, Label, Paint, Path

LINE = 0.3
"""Width of a painted line (metres); the raster shows nothing finer."""
DASH, PERIOD = 3.0, 9.0
"""Length of a dash, and from one to the next (metres)."""
BAR, BAR_PERIOD = 0.6, 1.2
"""Width of a zebra's bar, and from one to the next (metres)."""


def rasterize(network: Network, streets: Streets, blocks: Sequence[Block], driveable: Sequence[Polygon]) -> Ground:
    """Ground of the whole town."""
    shape = tuple(round(edge / GROUND_CELL) for edge in network.size[::-1])
    label = np.full(shape, Label.TERRAIN, np.uint8)
    paint = np.full(shape, Paint.NONE, np.uint8)
    for block in blocks:
        fill(label, block.walkways, Label.SIDEWALK, GROUND_CELL)
        fill(label, block.plazas, Label.OTHER_FLAT, GROUND_CELL)
    fill(label, streets.medians, Label.OTHER_FLAT, GROUND_CELL)
    fill(label, driveable, Label.DRIVEABLE_SURFACE, GROUND_CELL)
    crossed = {(number, first) for number, first, _ in streets.crossings}
    for number, road in enumerate(network.roads):
        gaps = [STOP_LINE[(number, first) in crossed] for first in (True, False)]
        fill(paint, _white_lines(road), Paint.WHITE, GROUND_CELL)
        fill(paint, _yellow_lines(road, *gaps), Paint.YELLOW, GROUND_CELL)
    fill(paint, (area for _, _, area in streets.stops), Paint.WHITE, GROUND_CELL)
    for number, first, area in streets.crossings:
        fill(paint, [area], Paint.NONE, GROUND_CELL)
        fill(paint, _bars(network.roads[number], first), Paint.ZEBRA, GROUND_CELL)
    for block in blocks:
        for place in block.places:
            fill(paint, _outline(place), Paint.PARKING, GROUND_CELL)
    paint[label != Label.DRIVEABLE_SURFACE] = Paint.NONE
    return Ground(label, paint)


def _white_lines(road: Road) -> Iterator[Polygon]:
    """Edge lines, and the dashes between lanes of one direction."""
    edge = road.half_width - GUTTER
    for side in (1, -1):
        yield _line(road.center, side * edge)
        for k in range(1, road.lanes):
            line = offset(road.center, side * (road.median / 2 + k * LANE_WIDTH))
            for start in np.arange(DASH, Path(line).length - DASH, PERIOD):
                yield _line(piece(line, start, start + DASH), 0.0)


def _yellow_lines(road: Road, start: float, end: float) -> Iterator[Polygon]:
    """The line between the directions, single or double, from stop line to stop line."""
    gap = road.median / 2 + LINE if road.median > 0 else LINE
    for at in (0.0,) if road.lanes == 1 else (-gap, gap):
        yield _line(piece(road.center, start, -end), at)


def _line(points: Array, at: float) -> Polygon:
    return strip(points, at - LINE / 2, at + LINE / 2)


def _bars(road: Road, first: bool) -> Iterator[Polygon]:
    along = piece(road.center if first else road.center[::-1], *ZEBRA)
    edge = road.half_width - GUTTER
    for start in np.arange(-edge, edge - BAR / 2, BAR_PERIOD):
        yield strip(along, float(start), float(start) + BAR)


def _outline(place: tuple[float, float, float]) -> Iterator[Polygon]:
    """The lines to the left and right of a parking place."""
    x, y, yaw = place
    half = np.array([np.cos(yaw), np.sin(yaw)]) * (PLACE[1] / 2)
    middle = np.array([x, y])
    line = np.stack([middle - half, middle + half])
    for side in (1, -1):
        yield _line(line, side * PLACE[0] / 2)
