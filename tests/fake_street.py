"""A crossing with houses, trees, lamps and one object of most categories, for the tests of the sensors."""

import numpy as np

from al_lightning.simulation.bodies import build_body
from al_lightning.simulation.world import GROUND_CELL, Ground, Label, Paint, Shape, Solids, SolidsBuilder, Texture

EGO = (66.0, 98.0, 0.03)
OBJECTS = [
    ("vehicle.car", (1.9, 4.6, 1.7), (78, 94, 0.1)),
    ("vehicle.car", (1.8, 4.3, 1.5), (60, 94, 0)),
    ("vehicle.car", (1.9, 4.6, 1.7), (66, 106, np.pi)),
    ("vehicle.truck", (2.5, 7.5, 3.2), (98, 98, 0)),
    ("vehicle.bus.rigid", (2.9, 11, 3.4), (85, 106, np.pi)),
    ("vehicle.trailer", (2.8, 10, 3.8), (110, 98, 0)),
    ("vehicle.construction", (2.7, 6.5, 3.2), (92, 90, 0.4)),
    ("vehicle.motorcycle", (0.8, 2.1, 1.5), (83, 102, np.pi)),
    ("vehicle.bicycle", (0.6, 1.8, 1.7), (75, 93, 0)),
    ("human.pedestrian.adult", (0.7, 0.7, 1.75), (80, 90.5, 1.0)),
    ("human.pedestrian.child", (0.5, 0.5, 1.3), (70, 103, 2)),
    ("movable_object.trafficcone", (0.4, 0.4, 0.9), (76, 98.6, 0)),
    ("movable_object.barrier", (2.5, 0.5, 1.0), (84, 90, 0)),
    ("static_object.bicycle_rack", (1.0, 5, 1.1), (68, 89.5, 0)),
]
"""Category, size and pose; the position is the instance."""


def fill(raster, x, y, value):
    """Set a rectangle, in metres."""
    (x0, x1), (y0, y1) = (np.round(np.array(span) / GROUND_CELL).astype(int) for span in (x, y))
    raster[y0:y1, x0:x1] = value


def street_ground():
    label = np.full((1000, 1000), Label.TERRAIN, np.uint8)
    paint = np.zeros_like(label)
    fill(label, (0, 200), (88, 112), Label.SIDEWALK)
    fill(label, (88, 112), (0, 200), Label.SIDEWALK)
    fill(label, (0, 200), (92, 108), Label.DRIVEABLE_SURFACE)
    fill(label, (92, 108), (0, 200), Label.DRIVEABLE_SURFACE)
    fill(label, (120, 160), (112, 130), Label.OTHER_FLAT)
    fill(paint, (0, 86), (99.8, 100.2), Paint.YELLOW)
    for x in range(0, 84, 6):
        fill(paint, (x, x + 3), (95.8, 96.0), Paint.WHITE)
    for y in np.arange(92.4, 107, 1.2):
        fill(paint, (86.4, 90), (y, y + 0.6), Paint.ZEBRA)
    return Ground(label, paint)


def street_solids():
    town = SolidsBuilder()
    generator = np.random.default_rng(3)
    for side in (-1, 1):
        for x in (16, 38, 60, 82, 128, 150):
            half = generator.uniform((8, 6, 4), (10.5, 6.1, 14))
            middle = (x, 100 + side * (14.5 + half[1]), half[2])
            texture = Texture.BRICK if x == 38 else Texture.FACADE
            town.add(Shape.BOX, middle, half, Label.MANMADE, (190, 170, 150), texture=texture, seed=x)
        for x in (34, 48, 62, 76, 118, 132):
            y = 100 + side * 11
            town.add(
                Shape.CYLINDER, (x, y, 1.6), (0.16, 0.16, 1.6), Label.VEGETATION, (90, 70, 50), texture=Texture.BARK
            )
            town.add(
                Shape.ELLIPSOID, (x, y, 4.6), (1.9, 1.7, 2.0), Label.VEGETATION, (70, 110, 50), texture=Texture.FOLIAGE
            )
            pole = (x + 7, 100 + side * 9, 3.5)
            town.add(Shape.CYLINDER, pole, (0.08, 0.08, 3.5), Label.MANMADE, (120, 120, 125), texture=Texture.METAL)
            lamp = (x + 7, 100 + side * 8, 6.9)
            town.add(Shape.BOX, lamp, (0.1, 1.2, 0.06), Label.MANMADE, (255, 220, 160), texture=Texture.STREETLAMP)
    bodies = [
        build_body(category, size, 5).placed(*pose, instance=i) for i, (category, size, pose) in enumerate(OBJECTS)
    ]
    return Solids.concatenate([town.build(), *bodies])


def random_solids(count, seed, reach=30.0, largest=5.0):
    """Solids of all shapes, thin ones too, strewn around the origin; some overlap."""
    generator = np.random.default_rng(seed)
    builder = SolidsBuilder()
    for number in range(count):
        half = np.exp(generator.uniform(np.log(0.05), np.log(largest), 3))
        middle = (*generator.uniform(-reach, reach, 2), half[2] + generator.choice([0.0, generator.uniform(0, 4)]))
        label = Label(int(generator.integers(0, 17)))
        builder.add(Shape(number % 4), middle, half, label, (128, 128, 128), yaw=generator.uniform(-4, 4), seed=number)
    return builder.build()


def inside(solids, points):
    """Whether points (..., 3) lie in each solid (..., N), straight from the definition of the shapes."""
    offset = points[..., None, :] - solids.center
    cos, sin = np.cos(solids.yaw), np.sin(solids.yaw)
    x = (offset[..., 0] * cos + offset[..., 1] * sin) / solids.half[:, 0]
    y = (offset[..., 1] * cos - offset[..., 0] * sin) / solids.half[:, 1]
    z = offset[..., 2] / solids.half[:, 2]
    wall = np.select(
        [solids.shape == Shape.BOX, solids.shape == Shape.CYLINDER, solids.shape == Shape.CONE],
        [np.maximum(abs(x), abs(y)), np.hypot(x, y), np.hypot(x, y) * 2 / np.maximum(1 - z, 1e-9)],
        np.sqrt(x**2 + y**2 + z**2),
    )
    return (wall <= 1) & (abs(z) <= 1)
