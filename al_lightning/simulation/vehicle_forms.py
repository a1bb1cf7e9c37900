"""The forms of cars, trucks, buses, machines and two-wheelers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from al_lightning.simulation.sculpting import (
    BUS_PAINT,
    CAR_PAINT,
    CLOTHES,
    DARK,
    GOODS,
    HEADLIGHT,
    MACHINE_PAINT,
    RUBBER,
    STEEL,
    TAILLIGHT,
    TROUSERS,
    TRUCK_PAINT,
    WHITE,
    WINDOW,
    Body,
    Color,
    Range,
)
from al_lightning.simulation.world import Shape, Texture


def _car(body: Body, paint: Sequence[Color] = CAR_PAINT) -> None:
    color = body.pick(paint)
    estate = body.draw.random() < 0.4
    back = -0.95 if estate else body.draw.uniform(-0.75, -0.55)
    front = body.draw.uniform(0.25, 0.4)
    body.box((-0.985, 0.985), (-0.97, 0.97), (0.17, 0.56), color, Texture.METAL)
    body.box((-0.99, 0.99), (-0.9, 0.9), (0.13, 0.3), DARK)
    body.box((back, front), (-0.86, 0.86), (0.56, 0.78), WINDOW, Texture.GLASS)
    body.box((back + 0.08, front - 0.15), (-0.8, 0.8), (0.78, 0.95), WINDOW, Texture.GLASS)
    body.box((back + 0.06, front - 0.18), (-0.8, 0.8), (0.93, 1.0), color, Texture.METAL)
    for x in (back + 0.1, (back + front) / 2, front - 0.16):
        body.box((x - 0.02, x + 0.02), (-0.87, 0.87), (0.56, 0.95), color, Texture.METAL)
    for y in (-0.95, 0.95):
        body.box((front - 0.12, front - 0.06), (y - 0.05, y + 0.05), (0.56, 0.66), color, Texture.METAL)
    body.wheels((-0.6, 0.62), 0.33, 0.24)
    body.lamps(0.36, 0.12)


def _police(body: Body) -> None:
    _car(body, ((236, 236, 238),))
    body.box((-0.2, 0.3), (-0.99, 0.99), (0.3, 0.48), (30, 50, 120))
    body.box((-0.2, -0.1), (-0.6, 0.0), (0.9, 1.0), (40, 70, 230), Texture.TAILLAMP)
    body.box((-0.2, -0.1), (0.0, 0.6), (0.9, 1.0), (230, 30, 30), Texture.TAILLAMP)


def _cab(body: Body, back: float, color: Color, top: float) -> None:
    """The driver's cab of a truck, from ``back`` to the front."""
    body.box((back, 0.99), (-0.92, 0.92), (0.14, 0.45 * top), color, Texture.METAL)
    body.box((back, 0.95), (-0.9, 0.9), (0.45 * top, 0.85 * top), WINDOW, Texture.GLASS)
    body.box((back, 0.96), (-0.92, 0.92), (0.82 * top, top), color, Texture.METAL)
    body.box((back, back + 0.05), (-0.92, 0.92), (0.14, top), color, Texture.METAL)


def _truck(body: Body) -> None:
    cab = 1 - 2 * min(2.0 / body.size[1], 0.4)
    _cab(body, cab, body.pick(TRUCK_PAINT), body.draw.uniform(0.78, 0.95))
    if body.draw.random() < 0.7:
        body.box((-0.99, cab - 0.04), (-1.0, 1.0), (0.24, 1.0), body.pick(TRUCK_PAINT), Texture.METAL)
    else:
        body.box((-0.99, cab - 0.04), (-1.0, 1.0), (0.24, 0.4), body.pick(TRUCK_PAINT), Texture.METAL)
        body.box((-0.9, cab - 0.14), (-0.8, 0.8), (0.4, 0.75), body.pick(GOODS))
        body.box((cab - 0.08, cab - 0.04), (-1.0, 1.0), (0.24, 1.0), STEEL, Texture.METAL)
    body.box((-0.97, 0.97), (-0.6, 0.6), (0.14, 0.24), DARK)
    body.wheels((-0.72, -0.5, 0.72), 0.48)
    body.lamps(0.2, 0.06)


def _ambulance(body: Body) -> None:
    _cab(body, 0.5, WHITE, 0.8)
    body.box((-0.99, 0.5), (-1.0, 1.0), (0.15, 0.96), WHITE, Texture.METAL)
    body.box((-0.98, 0.52), (-1.0, 1.0), (0.35, 0.45), (200, 40, 36))
    body.box((0.4, 0.5), (-0.7, 0.7), (0.94, 1.0), (40, 70, 230), Texture.TAILLAMP)
    body.wheels((-0.6, 0.65), 0.38)
    body.lamps(0.25, 0.07)


def _coach(body: Body, x: Range, color: Color) -> None:
    """A section of a bus: sills, windows and roof."""
    body.box(x, (-1.0, 1.0), (0.09, 0.42), color, Texture.METAL)
    body.box((x[0] + 0.005, x[1] - 0.005), (-0.98, 0.98), (0.42, 0.8), WINDOW, Texture.GLASS)
    body.box(x, (-1.0, 1.0), (0.78, 0.96), color, Texture.METAL)
    body.box((x[0] + 0.1, x[1] - 0.1), (-0.7, 0.7), (0.96, 1.0), STEEL)
    count = max(int((x[1] - x[0]) * body.size[1] / 2 / 1.6), 1)
    for post in np.linspace(x[0] + 0.01, x[1] - 0.01, count + 1):
        body.box((post - 0.008, post + 0.008), (-0.995, 0.995), (0.42, 0.8), color, Texture.METAL)


def _windscreen(body: Body) -> None:
    """Front and rear window of a bus, and the sign over the front."""
    body.box((0.9, 0.996), (-0.9, 0.9), (0.36, 0.78), WINDOW, Texture.GLASS)
    body.box((-0.996, -0.9), (-0.8, 0.8), (0.5, 0.78), WINDOW, Texture.GLASS)
    body.box((0.9, 0.996), (-0.5, 0.5), (0.82, 0.92), (240, 160, 40))


def _bus(body: Body) -> None:
    _coach(body, (-0.99, 0.99), body.pick(BUS_PAINT))
    _windscreen(body)
    body.wheels((-0.55, 0.6), 0.48)
    body.lamps(0.15, 0.05)


def _bendy_bus(body: Body) -> None:
    color = body.pick(BUS_PAINT)
    _coach(body, (-0.99, -0.06), color)
    body.box((-0.06, 0.06), (-0.92, 0.92), (0.12, 0.94), DARK)
    _coach(body, (0.06, 0.99), color)
    _windscreen(body)
    body.wheels((-0.6, 0.2, 0.75), 0.48)
    body.lamps(0.15, 0.05)


def _trailer(body: Body) -> None:
    body.box((-0.99, 1.0), (-0.7, 0.7), (0.18, 0.3), DARK)
    if body.draw.random() < 0.75:
        body.box((-0.99, 1.0), (-1.0, 1.0), (0.28, 1.0), body.pick(TRUCK_PAINT), Texture.METAL)
    else:
        body.box((-0.99, 1.0), (-1.0, 1.0), (0.28, 0.36), STEEL, Texture.METAL)
        for start in (-0.9, -0.25, 0.4):
            body.box((start, start + 0.5), (-0.9, 0.9), (0.36, body.draw.uniform(0.7, 1.0)), body.pick(GOODS))
    body.wheels((-0.8, -0.6), 0.48)
    for y in ((-0.95, -0.7), (0.7, 0.95)):
        body.box((-1.0, -0.95), y, (0.2, 0.26), TAILLIGHT, Texture.TAILLAMP)
    body.pole(0.75, 0.0, (0.0, 0.2), 0.1, STEEL, Texture.METAL)


def _construction_vehicle(body: Body) -> None:
    color = body.pick(MACHINE_PAINT)
    for y in ((-1.0, -0.6), (0.6, 1.0)):
        body.box((-0.95, 0.35), y, (0.0, 0.24), RUBBER)
    body.box((-1.0, 0.2), (-0.85, 0.85), (0.24, 0.55), color, Texture.METAL)
    body.box((-0.35, 0.15), (0.05, 0.8), (0.55, 0.92), WINDOW, Texture.GLASS)
    body.box((-0.37, 0.17), (0.03, 0.82), (0.9, 0.96), color, Texture.METAL)
    for step, foot in enumerate((0.5, 0.57, 0.64, 0.71, 0.78, 0.85)):  # the boom, then the arm down to the bucket
        body.box((0.05 + 0.09 * step, 0.16 + 0.09 * step), (-0.3, -0.05), (foot, foot + 0.14), color, Texture.METAL)
    for step, foot in enumerate((0.75, 0.55, 0.35, 0.15)):
        body.box((0.58 + 0.06 * step, 0.74 + 0.06 * step), (-0.26, -0.09), (foot, foot + 0.25), color, Texture.METAL)
    body.box((0.72, 1.0), (-0.55, 0.2), (0.0, 0.2), DARK, Texture.METAL)


def _rider(body: Body, seat: float) -> None:
    """A person on a two-wheeler."""
    shirt = body.pick(CLOTHES)
    for y in (-0.45, 0.45):
        body.pole(0.05, y, (0.18, seat + 0.05), 0.08, body.pick(TROUSERS), Texture.CLOTH)
    body.add(Shape.ELLIPSOID, (-0.35, 0.1), (-0.75, 0.75), (seat - 0.05, 0.86), shirt, Texture.CLOTH)
    for arm in ((-1.0, -0.7), (0.7, 1.0)):
        body.box((-0.2, 0.35), arm, (0.62, 0.7), shirt, Texture.CLOTH)
    body.add(Shape.ELLIPSOID, (-0.22, 0.04), (-0.38, 0.38), (0.83, 1.0), body.pick((DARK, *CAR_PAINT)))


RIDDEN = 1.35
"""Two-wheelers at least this high (metres) carry a rider."""


def _motorcycle(body: Body) -> None:
    ridden = body.size[2] >= RIDDEN
    top = 0.62 if ridden else 1.0
    color = body.pick(CAR_PAINT)
    for x in (-0.7, 0.7):
        body.wheel(x, 0.0, 0.3, 0.16)
    body.box((-0.5, 0.45), (-0.35, 0.35), (0.2 * top, 0.62 * top), DARK, Texture.METAL)
    body.box((-0.8, 0.1), (-0.4, 0.4), (0.6 * top, 0.76 * top), DARK)
    body.add(Shape.ELLIPSOID, (-0.1, 0.6), (-0.5, 0.5), (0.5 * top, 0.95 * top), color, Texture.METAL)
    body.box((0.4, 0.5), (-1.0, 1.0), (0.88 * top, top), DARK)
    body.box((0.6, 0.72), (-0.3, 0.3), (0.6 * top, 0.8 * top), HEADLIGHT, Texture.HEADLAMP)
    body.box((-0.86, -0.8), (-0.3, 0.3), (0.6 * top, 0.7 * top), TAILLIGHT, Texture.TAILLAMP)
    if ridden:
        _rider(body, 0.5)


def _bicycle(body: Body) -> None:
    ridden = body.size[2] >= RIDDEN
    top = 0.62 if ridden else 1.0
    color = body.pick(CAR_PAINT)
    for x in (-1.0, 1.0):
        body.wheel(x, 0.0, 0.33, 0.08)
    body.box((-0.35, 0.45), (-0.1, 0.1), (0.62 * top, 0.72 * top), color, Texture.METAL)
    body.box((-0.6, 0.0), (-0.1, 0.1), (0.3 * top, 0.4 * top), color, Texture.METAL)
    body.pole(-0.3, 0.0, (0.3 * top, 0.9 * top), 0.03, color, Texture.METAL)
    body.pole(0.5, 0.0, (0.3 * top, 0.97 * top), 0.03, color, Texture.METAL)
    body.box((-0.45, -0.2), (-0.3, 0.3), (0.86 * top, 0.93 * top), DARK)
    body.box((0.42, 0.52), (-1.0, 1.0), (0.92 * top, top), DARK)
    if ridden:
        _rider(body, 0.52)


VEHICLES: Mapping[str, Callable[[Body], None]] = {
    "vehicle.car": _car,
    "vehicle.truck": _truck,
    "vehicle.bus.rigid": _bus,
    "vehicle.bus.bendy": _bendy_bus,
    "vehicle.trailer": _trailer,
    "vehicle.construction": _construction_vehicle,
    "vehicle.motorcycle": _motorcycle,
    "vehicle.bicycle": _bicycle,
    "vehicle.emergency.ambulance": _ambulance,
    "vehicle.emergency.police": _police,
}
"""What draws each category."""
