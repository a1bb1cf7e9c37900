"""The forms of people, animals and the things that stand and lie on streets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from al_lightning.simulation.sculpting import CAR_PAINT, CLOTHES, DARK, GOODS, SKIN, STEEL, TROUSERS, Body, Color
from al_lightning.simulation.world import Shape, Texture


def _person(body: Body, shirts: Sequence[Color] = CLOTHES, hat: Color | None = None) -> None:
    shirt, trousers, skin = body.pick(shirts), body.pick(TROUSERS), body.pick(SKIN)
    stride = body.draw.uniform(0.1, 0.6)
    leg, arm = 0.045 * body.size[2], 0.03 * body.size[2]
    for side, x in ((-0.3, stride), (0.3, -stride)):
        body.pole(x, side, (0.0, 0.5), leg, trousers, Texture.CLOTH)
    body.add(Shape.ELLIPSOID, (-0.5, 0.5), (-0.75, 0.75), (0.42, 0.86), shirt, Texture.CLOTH)
    body.add(Shape.CYLINDER, (-0.36, 0.36), (-0.6, 0.6), (0.46, 0.8), shirt, Texture.CLOTH)
    for side, x in ((-0.84, -stride), (0.84, stride)):
        body.pole(x, side, (0.42, 0.8), arm, shirt, Texture.CLOTH)
    body.add(Shape.ELLIPSOID, (-0.3, 0.3), (-0.3, 0.3), (0.84, 0.99), skin)
    body.add(Shape.ELLIPSOID, (-0.36, 0.26), (-0.33, 0.33), (0.9, 1.0), hat or body.pick(TROUSERS))


def _worker(body: Body) -> None:
    _person(body, ((240, 130, 30), (200, 225, 50)), (238, 210, 40))


def _officer(body: Body) -> None:
    _person(body, ((28, 38, 72),), (20, 26, 50))


def _stroller(body: Body) -> None:
    color = body.pick(CLOTHES)
    for x in (-0.7, 0.8):
        body.wheels((x,), 0.12, 0.06)
    body.box((-0.7, 0.9), (-0.8, 0.8), (0.3, 0.6), color, Texture.CLOTH)
    body.add(Shape.ELLIPSOID, (-0.3, 1.0), (-0.8, 0.8), (0.4, 1.0), color, Texture.CLOTH)
    for y in (-0.85, 0.85):
        body.pole(-0.8, y, (0.15, 0.95), 0.02, DARK, Texture.METAL)
    body.box((-1.0, -0.8), (-0.95, 0.95), (0.88, 0.96), DARK)


def _wheelchair(body: Body) -> None:
    body.wheels((-0.3,), 0.3, 0.06)
    body.wheels((0.8,), 0.1, 0.06)
    body.box((-0.5, 0.5), (-0.75, 0.75), (0.3, 0.42), DARK)
    body.box((-0.8, -0.55), (-0.8, 0.8), (0.3, 0.75), DARK)
    body.add(Shape.ELLIPSOID, (-0.5, 0.1), (-0.75, 0.75), (0.38, 0.84), body.pick(CLOTHES), Texture.CLOTH)
    body.box((0.1, 0.9), (-0.5, 0.5), (0.36, 0.48), body.pick(TROUSERS), Texture.CLOTH)
    body.add(Shape.ELLIPSOID, (-0.4, 0.05), (-0.35, 0.35), (0.8, 1.0), body.pick(SKIN))


def _scooter(body: Body) -> None:
    for x in (-0.9, 0.9):
        body.wheel(x, 0.0, 0.12, 0.08)
    body.box((-0.85, 0.8), (-0.25, 0.25), (0.06, 0.12), DARK)
    body.pole(0.8, 0.0, (0.06, 0.64), 0.03, STEEL, Texture.METAL)
    body.box((0.7, 0.86), (-1.0, 1.0), (0.6, 0.65), DARK)
    for x, y in ((-0.3, -0.3), (0.1, 0.3)):
        body.pole(x, y, (0.12, 0.52), 0.08, body.pick(TROUSERS), Texture.CLOTH)
    body.add(Shape.ELLIPSOID, (-0.5, 0.35), (-0.9, 0.9), (0.45, 0.87), body.pick(CLOTHES), Texture.CLOTH)
    body.add(Shape.ELLIPSOID, (-0.28, 0.14), (-0.4, 0.4), (0.85, 1.0), body.pick(SKIN))


def _animal(body: Body) -> None:
    fur = body.pick(((120, 86, 56), (50, 44, 40), (206, 190, 160)))
    for x in (-0.6, 0.5):
        for y in (-0.5, 0.5):
            body.pole(x, y, (0.0, 0.55), 0.04, fur, Texture.CLOTH)
    body.add(Shape.ELLIPSOID, (-0.9, 0.75), (-1.0, 1.0), (0.35, 0.85), fur, Texture.CLOTH)
    body.add(Shape.ELLIPSOID, (0.45, 1.0), (-0.6, 0.6), (0.6, 1.0), fur, Texture.CLOTH)


def _barrier(body: Body) -> None:
    if body.draw.random() < 0.5:  # plastic or concrete, closed to the ground
        body.box((-1.0, 1.0), (-0.99, 0.99), (0.0, 0.35), (196, 190, 180))
        body.box((-0.6, 0.6), (-1.0, 1.0), (0.35, 1.0), (214, 76, 40), Texture.STRIPES)
        return
    for z in ((0.62, 1.0), (0.25, 0.5)):
        body.box((-0.4, 0.4), (-1.0, 1.0), z, (214, 60, 40), Texture.STRIPES)
    for y in ((-0.9, -0.75), (0.75, 0.9)):
        body.box((-1.0, 1.0), y, (0.0, 0.12), DARK)
        body.box((-0.3, 0.3), y, (0.0, 0.95), STEEL, Texture.METAL)


def _traffic_cone(body: Body) -> None:
    body.box((-1.0, 1.0), (-1.0, 1.0), (0.0, 0.08), (206, 84, 30))
    body.add(Shape.CONE, (-0.85, 0.85), (-0.85, 0.85), (0.05, 1.0), (236, 96, 24), Texture.STRIPES)
    body.pole(0.0, 0.0, (0.6, 0.97), 0.035, (236, 96, 24), Texture.PLAIN)


def _cart(body: Body) -> None:
    color = body.pick(GOODS)
    body.box((-0.95, 0.95), (-0.95, 0.95), (0.08, 0.85), color, Texture.METAL)
    body.box((-1.0, 1.0), (-1.0, 1.0), (0.85, 1.0), color)
    body.wheels((-0.7, 0.7), 0.1, 0.08)


def _debris(body: Body) -> None:
    body.box((-1.0, 0.4), (-0.9, 0.7), (0.0, 0.45), body.pick(GOODS))
    body.add(Shape.ELLIPSOID, (-0.5, 1.0), (-0.5, 1.0), (0.0, 1.0), body.pick(((70, 66, 60), (46, 46, 50))))
    body.box((0.1, 1.0), (-1.0, -0.3), (0.0, 0.3), body.pick(GOODS))


def _rack(body: Body) -> None:
    along = 0 if body.size[1] >= body.size[0] else 1
    reach = max(body.size[0], body.size[1])
    body.box((-1.0, 1.0), (-1.0, 1.0), (0.0, 0.05), STEEL, Texture.METAL)
    rail = ((-1.0, 1.0), (-0.06, 0.06))
    body.box(rail[along], rail[1 - along], (0.6, 0.72), STEEL, Texture.METAL)
    for place in np.linspace(-0.97, 0.97, max(int(reach / 0.8), 2)):
        for side in (-0.7, 0.7):
            across, along_it = (side, place) if along == 0 else (place, side)
            body.pole(along_it, across, (0.0, 1.0), 0.03, body.pick((STEEL, *CAR_PAINT)), Texture.METAL)


PEOPLE_AND_THINGS: Mapping[str, Callable[[Body], None]] = {
    "human.pedestrian.adult": _person,
    "human.pedestrian.child": _person,
    "human.pedestrian.construction_worker": _worker,
    "human.pedestrian.police_officer": _officer,
    "human.pedestrian.stroller": _stroller,
    "human.pedestrian.wheelchair": _wheelchair,
    "human.pedestrian.personal_mobility": _scooter,
    "animal": _animal,
    "movable_object.barrier": _barrier,
    "movable_object.trafficcone": _traffic_cone,
    "movable_object.pushable_pullable": _cart,
    "movable_object.debris": _debris,
    "static_object.bicycle_rack": _rack,
}
"""What draws each category."""
