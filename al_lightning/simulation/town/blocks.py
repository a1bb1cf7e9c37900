"""The land between the streets: its use, sidewalks, plazas, paths and places for construction zones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from shapely.geometry import LineString, Polygon, box
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient
from shapely.ops import unary_union

from al_lightning.simulation.town.areas import SEAM, Streets, polygons_of
from al_lightning.simulation.town.curves import resampled
from al_lightning.simulation.world import Array, Path, Site


@dataclass(frozen=True)
class Use:
    """How a block is built up; ranges are smallest and largest, lengths in metres.

    Attributes:
        verge: strip of grass between road and sidewalk.
        walk: width of the sidewalk.
        setback: from sidewalk to houses.
        frontage, depth, height: of houses.
        gap: between houses.
        houses: share of the places for a house that have one.
        trees: per square metre of open land.
        bushes: likewise.
        street_trees: distance between trees along the sidewalk.
        fence: ``hedge``, ``wall``, ``fence`` or ``""`` between sidewalk and land.
    """

    verge: float
    walk: float
    setback: tuple[float, float]
    frontage: tuple[float, float]
    depth: tuple[float, float]
    height: tuple[float, float]
    gap: tuple[float, float]
    houses: float
    trees: float
    bushes: float
    street_trees: float
    fence: str


USES = {
    "dense": Use(0.0, 3.0, (0.2, 0.8), (10, 22), (9, 14), (9, 25), (0.1, 2.0), 0.97, 0.030, 0.010, 6.5, "wall"),
    "residential": Use(1.4, 2.0, (2.0, 4.5), (8, 14), (7, 11), (5, 9), (1.5, 5.0), 0.97, 0.030, 0.040, 6.5, "hedge"),
    "park": Use(1.8, 2.4, (4.0, 9.0), (8, 12), (7, 9), (4, 6), (20.0, 60.0), 0.15, 0.026, 0.030, 6.0, "hedge"),
    "commercial": Use(0.0, 2.6, (0.8, 2.5), (14, 30), (10, 16), (5, 14), (2.0, 7.0), 0.95, 0.025, 0.024, 6.5, "fence"),
    "industrial": Use(1.4, 2.0, (3.0, 6.0), (18, 34), (12, 20), (6, 11), (3.0, 9.0), 0.95, 0.018, 0.024, 8.0, "wall"),
}
AROUND = "residential"
"""Use of the land around the town."""


@dataclass
class Block:
    """A block of land with the streets around it.

    Attributes:
        use: key of `USES`.
        area: from kerb to kerb.
        walkways: areas of the sidewalks.
        ring: middle line of the sidewalk, closed, with the land to its left.
        land: what lies inside the sidewalk and is free for houses and plants.
        carparks: areas of car parks without the ways in.
        entries: ways into the car parks, from the road.
        plazas: paved places.
        places: parking places in the car parks, as x, y, yaw.
        sites: construction zones beside the sidewalk.
    """

    use: Use
    area: Polygon
    walkways: list[Polygon]
    ring: Path
    land: BaseGeometry
    carparks: list[Polygon] = field(default_factory=list)
    entries: list[Polygon] = field(default_factory=list)
    plazas: list[Polygon] = field(default_factory=list)
    places: list[tuple[float, float, float]] = field(default_factory=list)
    sites: list[Site] = field(default_factory=list)

    def beside(self, s: float, inwards: float) -> tuple[float, float, float]:
        """x, y, yaw beside the middle line of the sidewalk, towards the land or (negative) towards the road."""
        x, y, yaw = self.ring.pose(s)
        return float(x - inwards * np.sin(yaw)), float(y + inwards * np.cos(yaw)), float(yaw)


def rectangle(x: float, y: float, yaw: float, half_length: float, half_width: float) -> Polygon:
    """A rectangle about its middle, its length along ``yaw``."""
    along = np.array([np.cos(yaw), np.sin(yaw)])
    across = np.array([-along[1], along[0]])
    corners = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    return Polygon([(x, y) + a * half_length * along + b * half_width * across for a, b in corners])


def plan_blocks(size: tuple[float, float], streets: Streets, dense: float, rng: np.random.Generator) -> list[Block]:
    """All blocks: those inside the streets, then the land around the town.

    Args:
        size: of the map.
        streets: areas of the streets.
        dense: share of dense blocks.
        rng: draws the uses.
    """
    inner = sorted((Polygon(ring) for ring in streets.paved.interiors), key=lambda face: tuple(face.centroid.coords))
    uses = [USES[name] for name in _draw_uses(len(inner), dense, rng)]
    blocks = [
        _block(face, use, face.buffer(-_middle(use)), True, streets) for face, use in zip(inner, uses, strict=True)
    ]
    return [*blocks, _surroundings(size, streets)]


def _surroundings(size: tuple[float, float], streets: Streets) -> Block:
    filled, town = Polygon(streets.paved.exterior), box(0.0, 0.0, *size)
    use = USES[AROUND]
    around = _block(town.buffer(20.0).difference(filled), use, filled.buffer(_middle(use)), False, streets)
    around.walkways = [walk for walk in around.walkways if walk.intersects(town)]
    around.land = around.land.intersection(town)
    return around


def _draw_uses(count: int, dense: float, rng: np.random.Generator) -> list[str]:
    others = ["commercial", "residential", "park", "residential", "industrial", "commercial", "residential", "dense"]
    towns = max(1, round(dense * count))
    uses = ["dense"] * towns + [others[n % len(others)] for n in range(count - towns)]
    return [uses[n] for n in rng.permutation(count)]


def _middle(use: Use) -> float:
    return use.verge + use.walk / 2


def _block(area: Polygon, use: Use, ring: Polygon, inside: bool, streets: Streets) -> Block:
    land = area.buffer(-use.verge - use.walk)
    reach = use.verge + 1.0
    across = [zone.buffer(reach, cap_style="flat", join_style="mitre") for _, _, zone in streets.crossings]
    landings = unary_union([zone for zone in across if zone.intersects(area)]).intersection(area)
    walkways = polygons_of(unary_union([area.buffer(-use.verge), landings]).difference(land))
    course = orient(Polygon(ring.exterior), 1.0 if inside else -1.0).exterior
    return Block(use, area, walkways, Path(resampled(np.array(course.coords))), land)


def add_plaza(block: Block, rng: np.random.Generator) -> None:
    """A paved place beside the sidewalk, where there is room for one."""
    for s in rng.uniform(0, block.ring.length, 24):
        half = rng.uniform(5, 9, 2)
        x, y, yaw = block.beside(float(s), block.use.walk / 2 + half[1])
        plaza = rectangle(x, y, yaw, *half)
        if block.land.buffer(1.0).contains(plaza):
            paved = polygons_of(plaza.intersection(block.land))
            block.plazas += paved
            block.land = block.land.difference(unary_union(paved))
            return


def add_path(block: Block, rng: np.random.Generator) -> None:
    """A foot path across the block."""
    length = block.ring.length
    s = float(rng.uniform(0, length))
    ends = np.array([block.beside(t, 0.0)[:2] for t in (s, (s + length * rng.uniform(0.4, 0.6)) % length)])
    sway = np.array([-1.0, 1.0]) * np.diff(ends, axis=0)[0][::-1] * rng.uniform(-0.2, 0.2)
    t = np.linspace(0.0, 1.0, 24)[:, None]
    line = (1 - t) * ends[0] + t * ends[1] + 4 * t * (1 - t) * sway
    path = LineString(line).buffer(1.2)
    block.walkways = polygons_of(
        unary_union([*block.walkways, *polygons_of(path.intersection(block.land.buffer(SEAM)))])
    )
    block.land = block.land.difference(path)


def add_sites(block: Block, rng: np.random.Generator) -> None:
    """Construction zones along the sidewalk, about one every 120 m."""
    for s in np.arange(rng.uniform(10, 60), block.ring.length - 10, 120.0):
        length, width = rng.uniform(8, 14), rng.uniform(2.6, 4.0)
        x, y, yaw = block.beside(float(s), block.use.walk / 2 + width / 2 + 0.3)
        zone = rectangle(x, y, yaw, length / 2, width / 2)
        if block.land.contains(zone):
            block.sites.append(Site(x, y, yaw, float(length), float(width)))
            block.land = block.land.difference(zone.buffer(0.3))


def scatter(area: BaseGeometry, density: float, rng: np.random.Generator) -> Array:
    """Random points (P, 2) in an area, about ``density`` per square metre."""
    if area.is_empty:
        return np.zeros((0, 2))
    left, bottom, right, top = area.bounds
    points = rng.uniform((left, bottom), (right, top), (round(density * (right - left) * (top - bottom)), 2))
    shapely.prepare(area)
    return np.asarray(points[shapely.contains_xy(area, points)])


def union_of(polygons: Sequence[Polygon], margin: float) -> BaseGeometry:
    """All polygons widened by a margin (metres), as one."""
    return unary_union([polygon.buffer(margin) for polygon in polygons])
