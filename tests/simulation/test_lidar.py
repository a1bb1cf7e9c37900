"""The LiDAR's points: on the surfaces, in the sensor's frame, beam by beam, and thinner in the rain."""

import numpy as np
import pytest
from fake_street import EGO, OBJECTS, street_ground, street_solids

from al_lightning.simulation.sensors.lidar import ELEVATIONS, RANGE, RANGE_NOISE, beam_directions, scan
from al_lightning.simulation.sensors.raycast import Geometry
from al_lightning.simulation.sensors.rig import LIDAR
from al_lightning.simulation.world import GROUND_CELL, Label, Paint, Shape, Weather


@pytest.fixture(scope="module")
def geometry():
    return Geometry(street_solids(), street_ground(), EGO[:2])


@pytest.fixture(scope="module")
def dry(geometry):
    return scan(geometry, EGO, Weather(), seed=1)


def in_global(points):
    origin, rotation = LIDAR.placed(EGO)
    return points[:, :3].astype(np.float64) @ rotation.T + origin


def distance_to_surface(solids, number, points):
    """From points to the surface of one solid each, exact for boxes and the walls of round cylinders."""
    offset = points - solids.center[number]
    cos, sin = np.cos(solids.yaw[number]), np.sin(solids.yaw[number])
    along, across = offset[:, 0] * cos + offset[:, 1] * sin, offset[:, 1] * cos - offset[:, 0] * sin
    half = solids.half[number]
    radial = np.hypot(along, across) - half[:, 0]
    flat = np.abs(np.stack([along, across], -1)) - half[:, :2]
    sides = np.where((solids.shape[number] == Shape.BOX)[:, None], flat, radial[:, None])
    outside = np.column_stack([sides, np.abs(offset[:, 2]) - half[:, 2]])
    return np.abs(np.where(outside.max(1) > 0, np.linalg.norm(np.maximum(outside, 0), axis=1), outside.max(1)))


def test_points_lie_on_the_surfaces(geometry, dry):
    points, solids = in_global(dry.points), geometry.solids
    on_ground = dry.solid == -1
    assert np.abs(points[on_ground, 2]).max() < 5 * RANGE_NOISE
    exact = np.isin(solids.shape, (Shape.BOX, Shape.CYLINDER)) & (
        (solids.shape == Shape.BOX) | (solids.half[:, 0] == solids.half[:, 1])
    )
    chosen = (dry.solid >= 0) & exact[np.maximum(dry.solid, 0)]
    assert chosen.sum() > 3000
    assert distance_to_surface(solids, dry.solid[chosen], points[chosen]).max() < 5 * RANGE_NOISE


def test_points_are_format_and_beams(dry):
    points = dry.points
    assert points.dtype == np.float32
    assert points.shape == (len(dry.solid), 5)
    distance = np.linalg.norm(points[:, :3], axis=1)
    assert distance.min() > RANGE[0] - 5 * RANGE_NOISE
    assert distance.max() < RANGE[1] + 5 * RANGE_NOISE
    ring = points[:, 4].astype(int)
    assert set(ring) == set(range(32))
    np.testing.assert_allclose(np.arcsin(points[:, 2] / distance), ELEVATIONS[ring], atol=1e-5)
    assert (points[:, 3] == np.round(points[:, 3])).all()
    assert points[:, 3].min() >= 0
    assert points[:, 3].max() <= 255
    assert 15_000 < len(points) < len(beam_directions())


def test_what_is_ahead_has_positive_y(geometry, dry):
    bus = [instance for instance, (category, *_) in enumerate(OBJECTS) if category == "vehicle.bus.rigid"]
    on_bus = (dry.solid >= 0) & np.isin(geometry.solids.instance[np.maximum(dry.solid, 0)], bus)
    assert on_bus.sum() > 50
    assert dry.points[on_bus, 1].min() > 5  # ahead
    assert dry.points[on_bus, 0].max() < 0  # and to the left


def test_most_objects_nearby_are_met(geometry, dry):
    met = set(geometry.solids.instance[dry.solid[dry.solid >= 0]])
    near = {
        instance
        for instance, (_, _, (x, y, _)) in enumerate(OBJECTS)
        if np.hypot(x - EGO[0], y - EGO[1]) < 15 and (x, y) != (78, 94)
    }
    assert len(near) >= 5
    assert near <= met


def test_noise_has_its_spread(geometry):
    first, second = (scan(geometry, EGO, Weather(), seed) for seed in (1, 2))
    deviations = []
    for one in (first, second):
        ground = one.solid == -1
        points = one.points[ground].astype(np.float64)
        origin, rotation = LIDAR.placed(EGO)
        unit = points[:, :3] / np.linalg.norm(points[:, :3], axis=1, keepdims=True)
        exact = -origin[2] / (unit @ rotation[2])
        deviations.append(np.linalg.norm(points[:, :3], axis=1) - exact)
    spread = np.concatenate(deviations)
    assert spread.std() == pytest.approx(RANGE_NOISE, rel=0.05)
    assert abs(spread.mean()) < 5 * RANGE_NOISE / np.sqrt(len(spread)) + 1e-4


def test_paint_reflects_more_than_asphalt(geometry, dry):
    points = in_global(dry.points)
    ground = geometry.ground
    column, row = np.floor(points[:, :2].T / GROUND_CELL).astype(int)
    inside = (dry.solid == -1) & (np.minimum(row, column) >= 0) & (np.maximum(row, column) < 1000)
    road = ground.label[row[inside], column[inside]] == Label.DRIVEABLE_SURFACE
    painted = ground.paint[row[inside], column[inside]] != Paint.NONE
    intensity = dry.points[inside, 3]
    assert intensity[road & painted].mean() > 2.5 * intensity[road & ~painted].mean()


def test_rain_swallows_returns(geometry, dry):
    wet = scan(geometry, EGO, Weather(rain=True), seed=1)
    assert len(wet.points) < 0.95 * len(dry.points)
    assert wet.points[:, 3].mean() < 0.8 * dry.points[:, 3].mean()


def test_same_seed_same_points(geometry, dry):
    again = scan(Geometry(street_solids(), street_ground(), EGO[:2]), EGO, Weather(), seed=1)
    np.testing.assert_array_equal(again.points, dry.points)
    np.testing.assert_array_equal(again.solid, dry.solid)
    other = scan(geometry, EGO, Weather(), seed=2)
    assert other.points.shape != dry.points.shape or (other.points != dry.points).any()
