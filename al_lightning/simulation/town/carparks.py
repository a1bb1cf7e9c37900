"""Car parks inside the blocks."""

from __future__ import annotations

import numpy as np
from shapely.geometry import LineString, Polygon
from shapely.ops import unary_union

from al_lightning.simulation.town.areas import BAY_END, Streets, polygons_of
from al_lightning.simulation.town.blocks import Block, rectangle
from al_lightning.simulation.town.network import Network, Road
from al_lightning.simulation.world import Array, Path

ENTRY = 6.4
"""Width of the way into a car park (metres)."""
PLACE = (2.6, 5.0)
"""Width and length of a parking place (metres)."""
AISLE = 6.4
"""Between the rows of parking places (metres)."""
MOST = 2
"""Car parks in a block, at most."""


def add_carparks(block: Block, network: Network, streets: Streets, rng: np.random.Generator) -> None:
    """Car parks along the roads around the block, where they fit and no cars are parked at the kerb."""
    busy = {(road, side) for road, side, _ in streets.bays}
    for number in rng.permutation(len(network.roads)):
        road = network.roads[number]
        near = block.area.distance(LineString(road.center)) < road.half_width + 0.5
        for side in (1, -1):
            free = near and (number, side) not in busy and Path(road.center).length > 2 * BAY_END
            if free and len(block.carparks) < MOST:
                _try(block, road, side, int(rng.integers(8, 15)))


def _try(block: Block, road: Road, side: int, columns: int) -> None:
    """A car park with two rows of parking places and an aisle between, reached from the middle of the road."""
    x, y, along = Path(road.center).pose(Path(road.center).length / 2)
    yaw = float(along + side * np.pi / 2)
    near = road.half_width + block.use.verge + block.use.walk + 2.5
    depth = 2 * PLACE[1] + AISLE
    middle = np.array([x, y]) + (near + depth / 2) * _direction(yaw)
    area = rectangle(float(middle[0]), float(middle[1]), yaw, depth / 2, columns * PLACE[0] / 2)
    if not block.land.buffer(-0.4).contains(area):
        return
    gate = _gate(np.array([x, y]), yaw, road.half_width - 0.2, near + 0.2)
    block.carparks.append(area)
    block.entries.append(gate)
    block.walkways = [part for walk in block.walkways for part in polygons_of(walk.difference(gate))]
    block.land = block.land.difference(unary_union([area.buffer(0.6), gate.buffer(0.6)]))
    for column in range(columns):
        across = (column + 0.5 - columns / 2) * PLACE[0]
        for row, turn in ((-1, np.pi), (1, 0.0)):
            if row == 1 or abs(across) > (ENTRY + PLACE[0]) / 2:
                spot = middle + row * (depth - PLACE[1]) / 2 * _direction(yaw) + across * _direction(yaw + np.pi / 2)
                block.places.append((float(spot[0]), float(spot[1]), yaw + turn))


def _gate(origin: Array, yaw: float, start: float, end: float) -> Polygon:
    x, y = origin + (start + end) / 2 * _direction(yaw)
    return rectangle(float(x), float(y), yaw, (end - start) / 2, ENTRY / 2)


def _direction(yaw: float) -> Array:
    return np.array([np.cos(yaw), np.sin(yaw)])
