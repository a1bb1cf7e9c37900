"""The ray caster against the definition of the shapes, walked along in small steps, and closed forms."""

import numpy as np
import pytest
from fake_street import inside, random_solids

from al_lightning.simulation.sensors.raycast import GROUND, NOTHING, Geometry
from al_lightning.simulation.world import Ground, Label, Shape, SolidsBuilder

GROUND_RASTER = Ground(np.full((4, 4), Label.TERRAIN, np.uint8), np.zeros((4, 4), np.uint8))
STEP = 0.02


def unit(vectors):
    vectors = np.asarray(vectors, dtype=np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def one_solid(shape, center, half, yaw=0.0):
    builder = SolidsBuilder()
    builder.add(shape, center, half, Label.CAR, (0, 0, 0), yaw=yaw)
    return builder.build()


def cast_one(solids, origin, direction, max_range=200.0):
    hits = Geometry(solids, GROUND_RASTER, (0.0, 0.0)).cast(np.array(origin), unit([direction]), max_range)
    return float(hits.distance[0]), int(hits.solid[0])


@pytest.mark.parametrize("seed", range(4))
def test_first_surface_is_where_walking_meets_the_first_solid(seed):
    generator = np.random.default_rng(seed)
    solids = random_solids(48, seed, reach=12.0, largest=3.0)
    origin = np.array([*generator.uniform(-10, 10, 2), generator.uniform(0.5, 5)])
    aims = solids.center[generator.integers(len(solids), size=120)] + generator.normal(0.0, 0.4, (120, 3))
    directions = unit(aims - origin)
    hits = Geometry(solids, GROUND_RASTER, (1.0, -2.0)).cast(origin, directions, 25.0)
    counted = np.flatnonzero(~inside(solids, origin))  # what holds the origin is not seen
    steps = np.arange(STEP, 25.0, STEP)
    found = np.full(len(directions), np.inf)
    for ray, direction in enumerate(directions):
        points = origin + steps[:, None] * direction
        met = inside(solids.take(counted), points).any(1) | (points[:, 2] <= 0)
        if met.any():
            found[ray] = steps[met.argmax()]
    hit = np.isfinite(found)
    assert hit.mean() > 0.5
    assert (hits.distance <= found + 1e-4).all()  # nothing missed that a step met
    early = hits.distance < found - 1.5 * STEP  # met between two steps: grazing an edge, so a touch inside is the proof
    assert early.mean() < 0.1
    for ray in np.flatnonzero(np.isfinite(hits.distance) & (hits.solid >= 0)):
        around = origin + (hits.distance[ray] + np.array([-2e-5, 2e-5]))[:, None] * directions[ray]
        before, after = inside(solids.take(hits.solid[ray : ray + 1]), around)[:, 0]
        assert (not before and after) or early[ray]


def test_solid_and_ground_are_named():
    solids = one_solid(Shape.BOX, (10, 0, 1), (1, 2, 1))
    assert cast_one(solids, (0, 0, 1), (1, 0, 0)) == (9.0, 0)
    distance, solid = cast_one(solids, (0, 0, 2.5), (0, 0, -1))
    assert (distance, solid) == (2.5, GROUND)
    assert cast_one(solids, (0, 0, 1), (-1, 0, 0)) == (np.inf, NOTHING)
    assert cast_one(solids, (0, 0, 1), (1, 0, 0), max_range=8.9) == (np.inf, NOTHING)
    assert cast_one(solids, (0, 0, 1), (-1, 0, -1), max_range=1.4)[1] == NOTHING
    assert cast_one(solids, (0, 0, 1), (-1, 0, -1), max_range=1.5)[0] == pytest.approx(np.sqrt(2))


@pytest.mark.parametrize(
    ("shape", "half", "expected"),
    [
        (Shape.BOX, (2, 3, 4), 10 - 2),
        (Shape.CYLINDER, (2, 3, 4), 10 - 2),
        (Shape.ELLIPSOID, (2, 3, 4), 10 - 2 * np.sqrt(1 - 0.25**2)),
        (Shape.CONE, (2, 3, 4), 10 - 2 * (4 + 1) / 8),
    ],
)
def test_closed_form_of_each_shape(shape, half, expected):
    solids = one_solid(shape, (10, 0, 4), half)
    assert cast_one(solids, (0, 0, 3), (1, 0, 0))[0] == pytest.approx(expected, abs=1e-5)
    turned = one_solid(shape, (10, 0, 4), (half[1], half[0], half[2]), yaw=np.pi / 2)
    assert cast_one(turned, (0, 0, 3), (1, 0, 0))[0] == pytest.approx(expected, abs=1e-5)


def test_cone_from_above_and_below():
    cone = one_solid(Shape.CONE, (0, 0, 3), (1, 1, 1))  # from z = 2, radius 1, to the tip at z = 4
    assert cast_one(cone, (0, 0, 9), (0, 0, -1))[0] == pytest.approx(5)
    assert cast_one(cone, (0.5, 0, 9), (0, 0, -1))[0] == pytest.approx(6)
    assert cast_one(cone, (0.5, 0, 0.5), (0, 0, 1))[0] == pytest.approx(1.5)
    assert cast_one(cone, (1.1, 0, 9), (0, 0, -1))[1] == GROUND


def test_ray_from_within_does_not_see_what_it_is_in():
    builder = SolidsBuilder()
    for center, half in (((0, 0, 1), (2, 2, 2)), ((10, 0, 1), (1, 1, 2))):
        builder.add(Shape.BOX, center, half, Label.CAR, (0, 0, 0))
    assert cast_one(builder.build(), (0, 0, 1), (1, 0, 0)) == (9.0, 1)


def test_center_shifts_nothing():
    solids = random_solids(40, 9)
    origin, directions = np.array([3.0, 1.0, 2.0]), unit(np.random.default_rng(0).normal(size=(500, 3)))
    first = Geometry(solids, GROUND_RASTER, (0.0, 0.0), radius=80.0).cast(origin, directions, 50.0)
    second = Geometry(solids, GROUND_RASTER, (7.3, -4.1), radius=80.0).cast(origin, directions, 50.0)
    np.testing.assert_array_equal(first.solid, second.solid)
    np.testing.assert_allclose(first.distance, second.distance, rtol=1e-5)


def test_nothing_stands_beyond_the_radius():
    solids = one_solid(Shape.BOX, (50, 0, 1), (1, 1, 1))
    assert len(Geometry(solids, GROUND_RASTER, (0.0, 0.0), radius=30.0).index) == 0
    assert len(Geometry(solids, GROUND_RASTER, (0.0, 0.0), radius=60.0).index) == 1


def test_invalid_places_are_refused():
    geometry = Geometry(random_solids(4, 0), GROUND_RASTER, (0.0, 0.0), radius=20.0)
    forward = np.array([[1.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match="above the ground"):
        geometry.cast(np.array([0.0, 0.0, -1.0]), forward, 10.0)
    with pytest.raises(ValueError, match=r"within 20\.0 m"):
        geometry.cast(np.array([21.0, 0.0, 1.0]), forward, 10.0)
    with pytest.raises(ValueError, match="radius"):
        Geometry(random_solids(4, 0), GROUND_RASTER, (0.0, 0.0), radius=0.0)
