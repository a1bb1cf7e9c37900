"""Labels and masks of the voxels against dense sampling of the solids, and lines of sight."""

import numpy as np
import pytest
from fake_street import EGO, inside, random_solids, street_ground, street_solids

from al_lightning.simulation.sensors.camera import render
from al_lightning.simulation.sensors.lidar import scan
from al_lightning.simulation.sensors.occupancy import (
    GROUND_LAYER,
    LOWER,
    SHAPE,
    VOXEL,
    label_voxels,
    mask_camera,
    mask_lidar,
    observe,
)
from al_lightning.simulation.sensors.raycast import Geometry
from al_lightning.simulation.sensors.rig import CAMERAS, LIDAR
from al_lightning.simulation.world import Ground, Label, Shape, SolidsBuilder, Weather

IMAGE_SIZE = (180, 320)


@pytest.fixture(scope="module")
def geometry():
    return Geometry(street_solids(), street_ground(), EGO[:2])


@pytest.fixture(scope="module")
def semantics(geometry):
    return label_voxels(geometry, EGO)


@pytest.fixture(scope="module")
def camera_mask(geometry):
    return mask_camera(geometry, EGO, IMAGE_SIZE)


def turn(yaw):
    return np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1.0]])


def to_global(points, ego=EGO):
    return points @ turn(ego[2]).T + (ego[0], ego[1], 0.0)


def voxel_of(points, ego=EGO):
    """Index of the voxel of points in the global frame, and whether there is one."""
    index = np.floor(((points - (ego[0], ego[1], 0.0)) @ turn(ego[2]) - LOWER) / VOXEL).astype(int)
    return index, ((index >= 0) & (index < SHAPE)).all(-1)


def observed(geometry, ego, origin, directions, max_range):
    """Voxels that rays pass or hit, whether they end in the grid or not."""
    mask = np.zeros(SHAPE, bool)
    distance = np.minimum(geometry.cast(origin, directions, max_range).distance, max_range)
    observe(mask, ego, origin, directions, distance, np.zeros(len(directions)))
    return mask


def flat_ground(label=Label.TERRAIN):
    return Ground(np.full((2, 2), label, np.uint8), np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize("seed", range(3))
def test_occupied_is_what_touches_a_solid(seed):
    solids = random_solids(24, seed, reach=8.0, largest=2.0)
    ego = (0.7, -0.4, 0.6)
    occupied = label_voxels(Geometry(solids, flat_ground(), (0.0, 0.0)), ego) != Label.FREE
    occupied[:, :, GROUND_LAYER] = False
    generator = np.random.default_rng(seed)
    spots = solids.center[:, None] + generator.uniform(-1.5, 1.5, (24, 1000, 3)) * solids.half.max(1)[:, None, None]
    index, valid = voxel_of(spots.reshape(-1, 3), ego)
    held = inside(solids, spots.reshape(-1, 3)).any(1) & valid & (index[:, 2] != GROUND_LAYER)
    assert held.sum() > 400
    assert occupied[tuple(index[held].T)].all()  # no voxel with a part of a solid is free
    lattice = np.stack(np.meshgrid(*[np.linspace(0.0, 1.0, 10)] * 3, indexing="ij"), -1).reshape(-1, 3)
    marked = np.argwhere(occupied)
    marked = marked[generator.permutation(len(marked))[:300]]
    corners = to_global((marked[:, None] + lattice) * VOXEL + LOWER, ego)
    touched = inside(solids, corners).any((1, 2))
    assert touched.mean() > 0.93  # thin solids and grazed corners slip through the lattice


@pytest.mark.parametrize("shape", Shape)
def test_thin_poles_never_vanish(shape):
    for offset in np.linspace(0.0, 0.4, 9):
        builder = SolidsBuilder()
        builder.add(shape, (10 + offset, 5 - offset, 1.0), (0.01, 0.01, 1.0), Label.PEDESTRIAN, (0, 0, 0))
        column = label_voxels(Geometry(builder.build(), flat_ground(), (0.0, 0.0)), (0.0, 0.0, 0.3))
        assert len(set(np.argwhere(column == Label.PEDESTRIAN)[:, 2])) >= 5


def test_box_fills_exactly_its_voxels():
    builder = SolidsBuilder()
    builder.add(Shape.BOX, (1.0, -2.0, 1.0), (0.58, 0.18, 0.99), Label.CAR, (0, 0, 0))
    semantics = label_voxels(Geometry(builder.build(), flat_ground(), (0.0, 0.0)), (0.0, 0.0, 0.0))
    expected = {(i, j, k) for i in range(101, 104) for j in (94, 95) for k in range(2, 8)}
    assert {tuple(index) for index in np.argwhere(semantics == Label.CAR)} == expected


def test_objects_come_before_background_and_both_before_the_ground():
    for labels in ((Label.CAR, Label.MANMADE), (Label.MANMADE, Label.CAR)):
        builder = SolidsBuilder()
        for label in labels:
            builder.add(Shape.BOX, (3, 0, 0.5), (1, 1, 0.5), label, (0, 0, 0))
        semantics = label_voxels(Geometry(builder.build(), flat_ground(), (0.0, 0.0)), (0.0, 0.0, 0.0))
        assert set(np.unique(semantics)) == {Label.CAR, Label.TERRAIN, Label.FREE}
        assert semantics[108, 100, GROUND_LAYER] == Label.CAR


def test_ground_layer_is_the_raster(geometry, semantics):
    layer = semantics[:, :, GROUND_LAYER]
    generator = np.random.default_rng(0)
    for i, j in generator.integers(0, 200, (300, 2)):
        x, y, _ = to_global((np.array([i, j, GROUND_LAYER]) + 0.5) * VOXEL + LOWER)
        expected = geometry.ground.label[int(y / 0.2), int(x / 0.2)]
        assert layer[i, j] in (expected, *range(11), Label.MANMADE, Label.VEGETATION)
    others = np.delete(semantics, GROUND_LAYER, axis=2)
    assert not np.isin(others, (11, 12, 13, 14)).any()
    assert (layer != Label.FREE).all()
    assert (semantics[:, :, :GROUND_LAYER] == Label.FREE).all()


def test_lidar_returns_lie_in_or_beside_a_voxel_of_their_class(geometry, semantics):
    points = scan(geometry, EGO, Weather(), seed=0)
    origin, rotation = LIDAR.placed(EGO)
    places = points.points[:, :3].astype(np.float64) @ rotation.T + origin
    index, valid = voxel_of(places)
    solid = points.solid[valid]
    index = index[valid]
    column, row = np.floor(places[valid, :2].T / 0.2).astype(int)
    ground = geometry.ground.label[np.clip(row, 0, 999), np.clip(column, 0, 999)]
    label = np.where(solid >= 0, geometry.solids.label[np.maximum(solid, 0)], ground)
    padded = np.pad(semantics, 1, constant_values=Label.FREE)
    shifts = np.stack(np.meshgrid(*[range(3)] * 3), -1).reshape(-1, 3)
    near = np.stack([padded[tuple((index + shift).T)] for shift in shifts])
    assert len(index) > 10_000
    beside = (near == label).any(0)
    assert beside[solid >= 0].all()
    assert beside[solid < 0].mean() > 0.998  # a beam reaches some way under a vehicle
    assert (near[13] == label)[solid >= 0].mean() > 0.9
    assert (near != Label.FREE).any(0).all()


def test_single_ray_marks_what_a_walk_passes(geometry):
    generator = np.random.default_rng(4)
    origin, _ = LIDAR.placed(EGO)
    for _ in range(60):
        direction = generator.normal(size=3) * (1, 1, 0.2)
        direction /= np.linalg.norm(direction)
        mask = observed(geometry, EGO, origin, direction[None], 60.0)
        end = min(float(geometry.cast(origin, direction[None], 60.0).distance[0]), 60.0)
        index, valid = voxel_of(origin + np.arange(0.0, end, 0.002)[:, None] * direction)
        walked = np.zeros(SHAPE, bool)
        walked[tuple(index[valid].T)] = True
        assert not (walked & ~mask).any()
        assert (mask & ~walked).sum() <= 0.05 * walked.sum() + 2  # corners cut between two steps


def seen_from(geometry, origin, target):
    """Whether nothing is in the way, and the line of sight goes on to a surface in the grid."""
    direction = (target - origin) / np.linalg.norm(target - origin)
    distance = geometry.cast(origin, direction[None], 100.0).distance[0]
    free = distance >= np.linalg.norm(target - origin) - 1e-3
    return free and np.isfinite(distance) and bool(voxel_of(origin + distance * direction)[1])


def test_camera_mask_is_line_of_sight(geometry, camera_mask):
    generator = np.random.default_rng(5)
    wrong = checked = 0
    for index in generator.integers((0, 0, GROUND_LAYER), (200, 200, 9), (2500, 3)):
        spots = to_global((index + generator.uniform(0.15, 0.85, (20, 3))) * VOXEL + LOWER)
        visible = 0
        for camera in CAMERAS.values():
            origin, rotation = camera.placed(EGO)
            pixels = camera.scaled(IMAGE_SIZE) @ (rotation.T @ (spots - origin).T)
            u, v = pixels[:2] / np.where(np.abs(pixels[2]) < 1e-9, 1e-9, pixels[2])
            framed = (pixels[2] > 0) & (u > 1) & (u < IMAGE_SIZE[1] - 2) & (v > 1) & (v < IMAGE_SIZE[0] - 2)
            if framed.all():
                visible = max(visible, sum(seen_from(geometry, origin, spot) for spot in spots))
        if visible == len(spots):
            checked += 1
            wrong += not camera_mask[tuple(index)]
    assert checked > 150
    assert wrong <= 0.01 * checked  # clipped by the edge of a solid between two spots


def test_what_no_camera_sees_is_masked_out(geometry, camera_mask):
    assert 0.05 < camera_mask.mean() < 0.9
    behind = to_global(np.array([38.0, 100 - EGO[1] + 25.0, 1.0]))  # within the house on the left
    index, valid = voxel_of(behind)
    assert valid
    assert not camera_mask[tuple(index)]
    assert not camera_mask[:, :, :GROUND_LAYER].any()  # nothing under the ground


def test_camera_mask_is_what_all_pixels_observe(geometry, camera_mask):
    every = np.zeros(SHAPE, bool)
    for camera in CAMERAS.values():
        origin, rotation = camera.placed(EGO)
        rays = camera.directions(IMAGE_SIZE) @ rotation.T
        distance = geometry.cast(origin, rays, 75.0).distance
        met = np.flatnonzero(np.isfinite(distance))
        shows = met[voxel_of(origin + distance[met, None] * rays[met])[1]]
        every |= observed(geometry, EGO, origin, rays[shows], 75.0)
    assert not (camera_mask & ~every).any()
    assert camera_mask[every].mean() > 0.998


def test_rendered_distances_give_the_same_mask(geometry, camera_mask):
    views = {channel: render(geometry, EGO, camera, IMAGE_SIZE, Weather(), 0) for channel, camera in CAMERAS.items()}
    again = mask_camera(geometry, EGO, IMAGE_SIZE, {channel: view.distance for channel, view in views.items()})
    assert (again != camera_mask).mean() < 1e-4
    assert again[camera_mask].mean() > 0.9999


@pytest.mark.parametrize("image_size", [(29, 50), (72, 128), (360, 640)])
def test_mask_is_the_same_whatever_the_image(geometry, camera_mask, image_size):
    np.testing.assert_array_equal(mask_camera(geometry, EGO, image_size), camera_mask)
    distances = {
        channel: render(geometry, EGO, camera, image_size, Weather(), 0).distance for channel, camera in CAMERAS.items()
    }
    given = mask_camera(geometry, EGO, image_size, distances)
    assert (given == camera_mask).mean() > 0.99
    assert given[camera_mask].mean() > 0.96  # other rays graze the border of the grid and the edges of solids


def test_other_shapes_of_image_are_refused(geometry):
    with pytest.raises(ValueError, match="9 : 16"):
        mask_camera(geometry, EGO, (100, 100))


def test_lidar_mask_holds_every_return(geometry):
    mask = mask_lidar(geometry, EGO)
    origin, rotation = LIDAR.placed(EGO)
    points = scan(geometry, EGO, Weather(), seed=0).points[:, :3].astype(np.float64) @ rotation.T + origin
    index, valid = voxel_of(points)
    assert mask[tuple(index[valid].T)].mean() > 0.95  # noise lifts some into the next voxel
    assert mask.mean() < 0.6


def test_other_stations_add_what_they_see(geometry):
    before, beside = (EGO[0] - 8.0, EGO[1], EGO[2]), (EGO[0] + 3.0, EGO[1], EGO[2])
    alone = mask_lidar(geometry, EGO)
    both = mask_lidar(geometry, EGO, [before, beside])
    assert (both & alone).sum() == alone.sum()
    near = np.zeros(SHAPE, bool)
    near[97:103, 97:103, GROUND_LAYER] = True
    assert not alone[near].any()  # under the vehicle
    assert both[near].mean() > 0.9


def test_no_station_stands_in_a_solid(geometry):
    solids = street_solids()
    house = np.where(solids.shape == Shape.BOX, solids.half.prod(axis=1), 0).argmax()
    x, y = solids.center[house, :2]
    np.testing.assert_array_equal(mask_lidar(geometry, EGO, [(x, y, 0.0)]), mask_lidar(geometry, EGO))


def test_masks_and_labels_are_repeatable(geometry, semantics, camera_mask):
    again = Geometry(street_solids(), street_ground(), EGO[:2])
    np.testing.assert_array_equal(label_voxels(again, EGO), semantics)
    np.testing.assert_array_equal(mask_camera(again, EGO, IMAGE_SIZE), camera_mask)


def test_labels_turn_with_the_ego_vehicle(geometry, semantics):
    turned = label_voxels(geometry, (EGO[0], EGO[1], EGO[2] + np.pi / 2))
    expected = np.rot90(semantics, -1, (0, 1))
    assert (turned == expected).mean() > 0.999
