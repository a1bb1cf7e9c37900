"""Houses along the sidewalks, and what stands between sidewalk and land: hedges, fences and walls."""

from __future__ import annotations

import numpy as np
import shapely
from shapely.geometry import Polygon
from shapely.ops import unary_union

from al_lightning.simulation.town.blocks import Block, Use, rectangle, scatter, union_of
from al_lightning.simulation.town.plants import add_bush, add_hedge, add_tree
from al_lightning.simulation.world import Label, Shape, SolidsBuilder, Texture

COLORS = (
    (168, 98, 74),
    (188, 170, 140),
    (150, 150, 155),
    (205, 196, 178),
    (122, 84, 70),
    (96, 108, 122),
    (214, 206, 196),
    (176, 150, 110),
    (140, 120, 112),
    (172, 160, 150),
)
ROOFS = ((92, 58, 50), (84, 84, 90), (120, 72, 56), (70, 76, 84))
BLIND_HEIGHT = 8.0
"""Lower houses may be sheds without windows (metres)."""
FENCES = {"wall": ((150, 140, 130), 0.12, 1.1), "fence": ((120, 100, 78), 0.06, 0.85)}
"""Colour, half thickness and half height of a fence (metres)."""


def build_houses(solids: SolidsBuilder, block: Block, rng: np.random.Generator) -> list[Polygon]:
    """Houses around the edge of the block; returns their outlines."""
    use = block.use
    outlines: list[Polygon] = []
    land = block.land.buffer(-0.15)
    shapely.prepare(land)
    s = float(rng.uniform(0, 6))
    while s < block.ring.length:
        frontage, depth, setback = (float(rng.uniform(*limits)) for limits in (use.frontage, use.depth, use.setback))
        x, y, yaw = block.beside(s + frontage / 2, use.walk / 2 + setback + depth / 2 + 0.2)
        outline = rectangle(x, y, yaw, frontage / 2, depth / 2)
        if not land.contains(outline) or any(outline.intersects(other) for other in outlines):
            s += 1.5
            continue
        if rng.random() < use.houses:
            _add_house(solids, (x, y, yaw), (frontage, depth), use, rng)
            outlines.append(outline)
        s += frontage + float(rng.uniform(*use.gap))
    return outlines


def _add_house(
    solids: SolidsBuilder,
    pose: tuple[float, float, float],
    size: tuple[float, float],
    use: Use,
    rng: np.random.Generator,
) -> None:
    """Walls of one or two tiers and a roof."""
    height = float(rng.uniform(*use.height))
    color = COLORS[rng.integers(len(COLORS))]
    texture = Texture.BRICK if rng.random() < 0.4 and height < BLIND_HEIGHT else Texture.FACADE
    seed = int(rng.integers(2**31))
    tiers = [(0.7 * height, 1.0), (height, 0.72)] if height > 10 and rng.random() < 0.35 else [(height, 1.0)]
    roof = ROOFS[rng.integers(len(ROOFS))]
    slabs = [(0.3, tiers[-1][1]), (1.0, 0.7), (0.8, 0.4)] if size[0] < 15 and height < 10 else [(0.3, tiers[-1][1])]
    bottom = 0.0
    for top, share in tiers:
        _add_box(solids, pose, size, share, bottom, top, color, texture, seed)
        bottom = top
    for rise, share in slabs:
        _add_box(solids, pose, size, share, bottom, bottom + rise, roof, Texture.PLAIN, seed)
        bottom += rise


def _add_box(
    solids: SolidsBuilder,
    pose: tuple[float, float, float],
    size: tuple[float, float],
    share: float,
    bottom: float,
    top: float,
    color: tuple[int, int, int],
    texture: Texture,
    seed: int,
) -> None:
    x, y, yaw = pose
    half = (share * size[0] / 2, share * size[1] / 2, (top - bottom) / 2)
    center = (x, y, (bottom + top) / 2)
    solids.add(Shape.BOX, center, half, Label.MANMADE, color, yaw=yaw, texture=texture, seed=seed)


def enclose(solids: SolidsBuilder, block: Block, houses: list[Polygon], rng: np.random.Generator) -> None:
    """Pieces of hedge, fence or wall between sidewalk and land, with gates."""
    if not block.use.fence:
        return
    free = block.land.difference(union_of(houses, 0.7))
    shapely.prepare(free)
    s = 0.0
    while s < block.ring.length:
        length = float(rng.uniform(2.5, 5.0))
        x, y, yaw = block.beside(s + length / 2, block.use.walk / 2 + 0.6)
        kind = block.use.fence if rng.random() < 0.8 else "fence"
        if rng.random() < 0.92 and free.contains(rectangle(x, y, yaw, length / 2, 0.42)):
            if kind == "hedge":
                add_hedge(solids, x, y, yaw, length, rng)
            else:
                color, thickness, tall = FENCES[kind]
                half = (length / 2, thickness, tall)
                solids.add(Shape.BOX, (x, y, tall), half, Label.MANMADE, color, yaw=yaw, texture=Texture.BRICK)
        s += length


def plant(solids: SolidsBuilder, block: Block, houses: list[Polygon], rng: np.random.Generator) -> None:
    """Trees and bushes on the open land of the block."""
    garden = block.land.buffer(-1.1).difference(union_of(houses, 0.5))
    around = unary_union([block.land.boundary, *(house.boundary for house in houses)])
    trees = scatter(garden.buffer(-0.7), block.use.trees, rng)
    room = shapely.distance(shapely.points(trees), around) if len(trees) else np.zeros(0)
    for (x, y), limit in zip(trees, room, strict=True):
        add_tree(solids, float(x), float(y), float(min(limit - 0.1, rng.uniform(1.3, 3.6))), rng)
    for x, y in scatter(garden, block.use.bushes, rng):
        add_bush(solids, float(x), float(y), float(rng.uniform(0.4, 0.95)), rng)
