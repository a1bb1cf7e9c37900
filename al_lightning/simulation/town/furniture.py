"""What stands at the kerb and along the sidewalk: lamps, lights, signs, shelters, benches, bins and street trees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from shapely.geometry import Point, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from al_lightning.simulation.town.areas import Streets
from al_lightning.simulation.town.blocks import Block, rectangle
from al_lightning.simulation.town.network import Network
from al_lightning.simulation.town.plants import add_tree
from al_lightning.simulation.world import Label, Path, Shape, SolidsBuilder, Texture

STEEL, DARK, WOOD = (110, 114, 118), (46, 50, 54), (132, 98, 64)
SIGNS = ((40, 80, 170), (200, 40, 40), (230, 230, 225), (230, 190, 40))
BINS = ((40, 90, 60), (70, 74, 80), (50, 70, 130))
KERB = 0.47
"""Distance of poles from the road side of the sidewalk (metres)."""
CROWN_GAP = 0.25
"""From the crowns of street trees to the kerb (metres)."""

Color = tuple[int, int, int]


def furnish(
    solids: SolidsBuilder, block: Block, keep_clear: BaseGeometry, houses: Sequence[Polygon], rng: np.random.Generator
) -> None:
    """Street furniture and street trees around a block; nothing at the kerb within ``keep_clear``."""
    kerb = KERB - block.use.walk / 2
    for s in np.arange(rng.uniform(0, 10), block.ring.length, 27.0):
        x, y, yaw = block.beside(float(s), kerb)
        if not keep_clear.intersects(Point(x, y)):
            _add_lamp(solids, x, y, yaw - np.pi / 2)
    for s in np.arange(rng.uniform(3, 9), block.ring.length, 13.0):
        x, y, yaw = block.beside(float(s), kerb)
        if not keep_clear.intersects(Point(x, y)):
            _add_piece(solids, x, y, yaw, rng)
    _add_street_trees(solids, block, keep_clear, rng)
    _add_seats(solids, block, houses, rng)


def _add_box(
    solids: SolidsBuilder,
    place: tuple[float, float, float],
    half: tuple[float, float, float],
    color: Color,
    yaw: float,
    texture: Texture = Texture.PLAIN,
) -> None:
    solids.add(Shape.BOX, place, half, Label.MANMADE, color, yaw=yaw, texture=texture)


def _add_pole(solids: SolidsBuilder, x: float, y: float, radius: float, height: float, color: Color = STEEL) -> None:
    solids.add(Shape.CYLINDER, (x, y, height / 2), (radius, radius, height / 2), Label.MANMADE, color)


def _add_lamp(solids: SolidsBuilder, x: float, y: float, yaw: float) -> None:
    _add_pole(solids, x, y, 0.08, 6.6)
    _add_box(solids, (x, y, 6.7), (0.22, 0.12, 0.1), (255, 236, 190), yaw, Texture.STREETLAMP)


def _add_piece(solids: SolidsBuilder, x: float, y: float, yaw: float, rng: np.random.Generator) -> None:
    """One of the small things at the kerb, or nothing."""
    kind = rng.choice(["sign", "bin", "box", "bollard", "hydrant", "none"])
    if kind == "sign":
        _add_sign(solids, x, y, yaw, SIGNS[rng.integers(len(SIGNS))])
    elif kind == "bin":
        solids.add(Shape.CYLINDER, (x, y, 0.5), (0.24, 0.24, 0.5), Label.MANMADE, BINS[rng.integers(len(BINS))])
    elif kind == "box":
        _add_box(solids, (x, y, 0.55), (0.35, 0.18, 0.55), (120, 126, 120), yaw)
    elif kind == "bollard":
        _add_pole(solids, x, y, 0.09, 0.9, DARK)
    elif kind == "hydrant":
        _add_pole(solids, x, y, 0.13, 0.7, (190, 50, 40))


def _add_sign(solids: SolidsBuilder, x: float, y: float, yaw: float, color: Color) -> None:
    _add_pole(solids, x, y, 0.04, 2.3)
    _add_box(solids, (x, y, 2.6), (0.04, 0.24, 0.3), color, yaw)


def _add_street_trees(solids: SolidsBuilder, block: Block, keep_clear: BaseGeometry, rng: np.random.Generator) -> None:
    """Slim trees between road and sidewalk; their crowns stay off the road."""
    use = block.use
    room = max(0.75 * use.verge, 0.85)
    for s in np.arange(rng.uniform(0, 5), block.ring.length - 2.0, use.street_trees):
        x, y, _ = block.beside(float(s + rng.uniform(-1, 1)), room - use.walk / 2 - use.verge)
        crown = block.area.boundary.distance(Point(x, y)) - CROWN_GAP
        if crown > 0.5 and not keep_clear.intersects(Point(x, y)):
            add_tree(solids, x, y, crown, rng)


def _add_seats(solids: SolidsBuilder, block: Block, houses: Sequence[Polygon], rng: np.random.Generator) -> None:
    """Benches and bus shelters on the inner side of the sidewalk."""
    free = block.land.difference(unary_union(list(houses)))
    shapely.prepare(free)
    for s in np.arange(rng.uniform(5, 25), block.ring.length, 35.0):
        shelter = rng.random() < 0.35
        half = (2.0, 0.7) if shelter else (0.8, 0.25)
        x, y, yaw = block.beside(float(s), block.use.walk / 2 + half[1] + 1.1)
        if free.contains(rectangle(x, y, yaw, *half)):
            if shelter:
                _add_shelter(solids, x, y, yaw)
            else:
                _add_bench(solids, x, y, yaw)


def _add_bench(solids: SolidsBuilder, x: float, y: float, yaw: float) -> None:
    _add_box(solids, (x, y, 0.22), (0.8, 0.22, 0.22), WOOD, yaw)
    _add_box(solids, (x - 0.2 * np.sin(yaw), y + 0.2 * np.cos(yaw), 0.65), (0.8, 0.04, 0.22), WOOD, yaw)


def _add_shelter(solids: SolidsBuilder, x: float, y: float, yaw: float) -> None:
    """A roof, a back and two sides of glass, and a bench; open towards the road."""
    along, inwards = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
    back = (x, y) + 0.62 * inwards
    _add_box(solids, (back[0], back[1], 1.2), (1.9, 0.04, 1.2), (150, 180, 190), yaw, Texture.GLASS)
    for side in (1.9, -1.9):
        pane = (x, y) + side * along
        _add_box(solids, (pane[0], pane[1], 1.2), (0.04, 0.6, 1.2), (150, 180, 190), yaw, Texture.GLASS)
    _add_box(solids, (x, y, 2.5), (2.0, 0.7, 0.08), DARK, yaw)
    bench = (x, y) + 0.35 * inwards
    _add_box(solids, (bench[0], bench[1], 0.25), (1.2, 0.2, 0.25), WOOD, yaw)


def signal(solids: SolidsBuilder, network: Network, streets: Streets) -> None:
    """Traffic lights where four roads meet, signs elsewhere, to the right of the stop lines."""
    for number, first, area in streets.stops:
        road = network.roads[number]
        course = Path(road.center if first else road.center[::-1])
        s = float(course.project(np.array(area.centroid.coords[0]))[0])
        x, y, yaw = course.pose(s)
        out = road.half_width + KERB
        x, y = float(x - out * np.sin(yaw)), float(y + out * np.cos(yaw))
        if len(network.arms[road.start if first else road.end]) == 4:
            _add_light(solids, x, y, float(yaw))
        else:
            _add_sign(solids, x, y, float(yaw), SIGNS[1])


def _add_light(solids: SolidsBuilder, x: float, y: float, yaw: float) -> None:
    """A traffic light that faces along ``yaw``."""
    _add_pole(solids, x, y, 0.07, 3.0, DARK)
    _add_box(solids, (x, y, 3.45), (0.13, 0.16, 0.45), DARK, yaw)
    for height, color in ((3.72, (210, 40, 30)), (3.45, (200, 160, 30)), (3.18, (40, 170, 80))):
        face = (x + 0.14 * np.cos(yaw), y + 0.14 * np.sin(yaw), height)
        _add_box(solids, face, (0.03, 0.09, 0.09), color, yaw)
