"""Puts a town together."""

from __future__ import annotations

import numpy as np
import shapely
from shapely.geometry import LineString, Point, Polygon
from shapely.ops import nearest_points, unary_union

from al_lightning.simulation.town.areas import (
    ZEBRA,
    Streets,
    lane_divider_lines,
    polygons_of,
    road_divider_lines,
    street_areas,
    with_crossings,
)
from al_lightning.simulation.town.blocks import USES, Block, add_path, add_plaza, add_sites, plan_blocks
from al_lightning.simulation.town.buildings import build_houses, enclose, plant
from al_lightning.simulation.town.carparks import add_carparks
from al_lightning.simulation.town.furniture import furnish, signal
from al_lightning.simulation.town.ground import rasterize
from al_lightning.simulation.town.lanes import build_lanes
from al_lightning.simulation.town.network import Network, street_network
from al_lightning.simulation.world import Array, Path, Solids, SolidsBuilder, Town

DENSE = {
    "boston-seaport": 0.4,
    "singapore-onenorth": 0.2,
    "singapore-queenstown": 0.2,
    "singapore-hollandvillage": 0.1,
}
"""Share of dense blocks by location."""


def build_town(location: str, blocks: int, seed: int) -> Town:
    """A town with streets around ``blocks`` x ``blocks`` blocks of about 90 m; the same arguments give the same town.

    Args:
        location: one of the four locations of nuScenes.
        blocks: blocks a side, at least 2.
        seed: draws everything, with the location.

    Raises:
        ValueError: the location is not known, or there are fewer than two blocks a side.
    """
    if location not in DENSE:
        raise ValueError(f"location must be one of {', '.join(DENSE)}, got '{location}'")
    rng = np.random.default_rng([seed, list(DENSE).index(location)])
    network = street_network(blocks, rng)
    lanes = build_lanes(network)
    streets = street_areas(network, lanes, rng)
    land = plan_blocks(network.size, streets, DENSE[location], rng)
    _lay_out(land, network, streets, rng)
    driveable = _driveable(streets, land)
    return Town(
        location,
        network.size,
        with_crossings(lanes, streets),
        rasterize(network, streets, land, driveable),
        _solids(land, network, streets, rng),
        _layers(streets, land, driveable),
        [line for road in network.roads for line in road_divider_lines(road)],
        [line for road in network.roads for line in lane_divider_lines(road)],
        [block.ring for block in land],
        _crossing_paths(network, streets, land),
        _parking(network, streets, land),
        [site for block in land for site in block.sites],
    )


def _lay_out(blocks: list[Block], network: Network, streets: Streets, rng: np.random.Generator) -> None:
    """Everything flat on the blocks; at least one of them gets a plaza."""
    for block in blocks[:-1]:
        if block.use in (USES["commercial"], USES["industrial"]):
            add_carparks(block, network, streets, rng)
        if block.use == USES["park"]:
            add_path(block, rng)
    public = [block for block in blocks[:-1] if block.use in (USES["dense"], USES["park"], USES["commercial"])]
    for position in rng.permutation(len(public))[: max(1, len(public) // 3)]:
        add_plaza(public[position], rng)
    for block in blocks:
        add_sites(block, rng)


def _solids(blocks: list[Block], network: Network, streets: Streets, rng: np.random.Generator) -> Solids:
    solids = SolidsBuilder()
    signal(solids, network, streets)
    entries = [entry for block in blocks for entry in block.entries]
    keep_clear = unary_union(
        [*(area.buffer(3.5) for _, _, area in streets.crossings), *(e.buffer(2.5) for e in entries)]
    )
    shapely.prepare(keep_clear)
    for block in blocks:
        houses = build_houses(solids, block, rng)
        enclose(solids, block, houses, rng)
        furnish(solids, block, keep_clear, houses, rng)
        plant(solids, block, houses, rng)
    return solids.build()


def _driveable(streets: Streets, blocks: list[Block]) -> list[Polygon]:
    carparks = [area for block in blocks for area in (*block.carparks, *block.entries)]
    return polygons_of(unary_union([streets.paved, *carparks]).difference(unary_union(streets.medians)))


def _layers(streets: Streets, blocks: list[Block], driveable: list[Polygon]) -> dict[str, list[Polygon]]:
    return {
        "drivable_area": driveable,
        "road_segment": [*streets.roads, *streets.junctions],
        "junction": streets.junctions,
        "lane": streets.lanes,
        "ped_crossing": [area for _, _, area in streets.crossings],
        "walkway": [area for block in blocks for area in block.walkways],
        "stop_line": [area for _, _, area in streets.stops],
        "carpark_area": [area for block in blocks for area in block.carparks],
    }


def _crossing_paths(network: Network, streets: Streets, blocks: list[Block]) -> list[Path]:
    """From the middle of one sidewalk to that on the other side."""
    rings = unary_union([LineString(block.ring.points) for block in blocks])
    paths = []
    for number, first, _ in streets.crossings:
        road = network.roads[number]
        course = Path(road.center if first else road.center[::-1])
        x, y, yaw = course.pose(sum(ZEBRA) / 2)
        middle, across = np.array([x, y]), np.array([-np.sin(yaw), np.cos(yaw)])
        ends = []
        for side in (1, -1):
            kerb = middle + side * (road.half_width - 0.2) * across
            met = LineString([kerb, kerb + side * 9.0 * across]).intersection(rings)
            ends.append(np.array(nearest_points(Point(kerb), met)[1].coords[0]))
        paths.append(Path(np.array(ends)))
    return paths


def _parking(network: Network, streets: Streets, blocks: list[Block]) -> Array:
    """Places at the kerb, in the direction of traffic, and those of the car parks."""
    places = [place for block in blocks for place in block.places]
    for number, side, _ in streets.bays:
        road = network.roads[number]
        path = Path(road.center)
        for s in np.arange(17.0, path.length - 16.5, 6.2):
            x, y, yaw = path.pose(float(s))
            out = side * (road.half_width + 1.1)
            places.append((x - out * np.sin(yaw), y + out * np.cos(yaw), yaw + (np.pi if side > 0 else 0.0)))
    return np.array(places, dtype=np.float64).reshape(-1, 3)
