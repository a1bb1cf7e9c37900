"""Images: where things land against nuScenes' devkit, what is seen, light and weather, repeatability."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_street import EGO, OBJECTS, street_ground, street_solids
from nuscenes.utils.data_classes import Box
from nuscenes.utils.geometry_utils import view_points
from pyquaternion import Quaternion

from al_lightning.simulation.sensors.camera import render
from al_lightning.simulation.sensors.raycast import Geometry
from al_lightning.simulation.sensors.rig import CAMERAS
from al_lightning.simulation.world import Ground, Label, Paint, Shape, SolidsBuilder, Texture, Weather

IMAGE_SIZE = (180, 320)
CLEAR, NIGHT, RAIN = Weather(sun=(2.3, 0.8)), Weather(night=True), Weather(rain=True)


@pytest.fixture(scope="module")
def geometry():
    return Geometry(street_solids(), street_ground(), EGO[:2])


@pytest.fixture(scope="module")
def views(geometry):
    return {channel: render(geometry, EGO, camera, IMAGE_SIZE, CLEAR, 0) for channel, camera in CAMERAS.items()}


def in_camera(box, channel):
    """A devkit box of the global frame in the camera's frame, by the devkit's own steps."""
    camera = CAMERAS[channel]
    box.translate(-np.array([EGO[0], EGO[1], 0.0]))
    box.rotate(Quaternion(axis=[0, 0, 1], angle=EGO[2]).inverse)
    box.translate(-camera.translation)
    box.rotate(Quaternion(camera.rotation).inverse)
    return box


@pytest.mark.parametrize("channel", CAMERAS)
def test_objects_are_seen_within_their_projected_boxes(geometry, views, channel):
    seen = views[channel].solid
    of_instance = np.where(seen >= 0, geometry.solids.instance[np.maximum(seen, 0)], -1)
    intrinsic = CAMERAS[channel].scaled(IMAGE_SIZE)
    for instance, (_, size, (x, y, yaw)) in enumerate(OBJECTS):
        rows, columns = np.nonzero(of_instance == instance)
        box = in_camera(Box([x, y, size[2] / 2], size, Quaternion(axis=[0, 0, 1], angle=yaw)), channel)
        corners = box.corners()
        if len(rows) == 0 or corners[2].min() < 0.1:
            continue
        u, v, _ = view_points(corners, intrinsic, normalize=True)
        assert u.min() - 0.01 <= columns.min() <= columns.max() <= u.max() + 0.01
        assert v.min() - 0.01 <= rows.min() <= rows.max() <= v.max() + 0.01
        depth = views[channel].distance[rows, columns]
        nearest, farthest = np.linalg.norm(corners, axis=0).min() - max(size), np.linalg.norm(corners, axis=0).max()
        assert nearest <= depth.min() <= depth.max() <= farthest + 0.01


def test_cameras_together_see_most_objects(geometry, views):
    seen = set()
    for view in views.values():
        seen |= set(geometry.solids.instance[view.solid[view.solid >= 0]])
    assert len(seen - {-1}) >= len(OBJECTS) - 3


@pytest.mark.parametrize("channel", CAMERAS)
def test_known_box_lands_where_the_devkit_puts_it(channel):
    camera = CAMERAS[channel]
    origin, rotation = camera.placed(EGO)
    middle = origin + 12.0 * rotation[:, 2] + 1.5 * rotation[:, 0]
    half = np.array([0.4, 0.7, 0.5])
    builder = SolidsBuilder()
    builder.add(Shape.BOX, middle, half, Label.CAR, (200, 30, 30), yaw=0.7)
    view = render(Geometry(builder.build(), street_ground(), EGO[:2]), EGO, camera, IMAGE_SIZE, CLEAR, 0)
    box = Box(middle.tolist(), [1.4, 0.8, 1.0], Quaternion(axis=[0, 0, 1], angle=0.7))
    u, v, _ = view_points(in_camera(box, channel).corners(), camera.scaled(IMAGE_SIZE), normalize=True)
    rows, columns = np.nonzero(view.solid == 0)
    # The outermost corners of a convex body are the outermost points of its image
    np.testing.assert_allclose((columns.min(), columns.max()), (u.min(), u.max()), atol=1.0)
    np.testing.assert_allclose((rows.min(), rows.max()), (v.min(), v.max()), atol=1.0)
    assert columns.min() >= u.min()
    assert columns.max() <= u.max()


def test_ground_distance_is_that_of_the_plane(views):
    for channel, camera in CAMERAS.items():
        origin, rotation = camera.placed(EGO)
        directions = (camera.directions(IMAGE_SIZE) @ rotation.T).reshape(*IMAGE_SIZE, 3)
        ground = views[channel].solid == -1
        assert ground.mean() > 0.1
        expected = -origin[2] / directions[ground, 2]
        np.testing.assert_allclose(views[channel].distance[ground], expected, rtol=1e-5)
        assert np.isinf(views[channel].distance[views[channel].solid == -2]).all()
        assert np.isfinite(views[channel].distance[views[channel].solid != -2]).all()


@pytest.mark.parametrize("image_size", [(180, 320), (72, 128), (253, 450)])
def test_format(geometry, image_size):
    view = render(geometry, EGO, CAMERAS["CAM_BACK"], image_size, CLEAR, 0)
    assert view.image.shape == (*image_size, 3)
    assert view.solid.shape == view.distance.shape == image_size
    assert (view.image.dtype, view.solid.dtype, view.distance.dtype) == (np.uint8, np.int32, np.float32)


def test_other_shapes_of_image_are_refused(geometry):
    with pytest.raises(ValueError, match="9 : 16"):
        render(geometry, EGO, CAMERAS["CAM_BACK"], (200, 320), CLEAR, 0)


def brightness(geometry, weather, channel="CAM_FRONT", seed=0):
    return render(geometry, EGO, CAMERAS[channel], IMAGE_SIZE, weather, seed).image.astype(float).mean(2)


def test_night_is_dark_and_lamps_shine(geometry):
    day, night = brightness(geometry, CLEAR), brightness(geometry, NIGHT)
    assert night.mean() < 0.5 * day.mean()
    view = render(geometry, EGO, CAMERAS["CAM_FRONT"], IMAGE_SIZE, NIGHT, 0)
    texture = geometry.solids.texture[np.maximum(view.solid, 0)]
    lamps = (view.solid >= 0) & np.isin(texture, (Texture.HEADLAMP, Texture.STREETLAMP))
    assert lamps.sum() > 5
    assert night[lamps].mean() > 3 * night.mean()


def test_headlamps_light_the_road_ahead_and_not_the_one_behind():
    road = Ground(np.full((1000, 1000), Label.DRIVEABLE_SURFACE, np.uint8), np.zeros((1000, 1000), np.uint8))
    empty = Geometry(SolidsBuilder().build(), road, EGO[:2])
    ahead, behind = (
        brightness(empty, NIGHT, channel)[110:170, 100:220].mean() for channel in ("CAM_FRONT", "CAM_BACK")
    )
    assert ahead > 1.5 * behind


def test_rain_lowers_the_contrast(geometry):
    assert brightness(geometry, RAIN).std() < 0.8 * brightness(geometry, CLEAR).std()
    assert brightness(geometry, RAIN).mean() < brightness(geometry, CLEAR).mean()


def test_sun_casts_shadows():
    ground = Ground(np.full((1000, 1000), Label.SIDEWALK, np.uint8), np.zeros((1000, 1000), np.uint8))
    builder = SolidsBuilder()
    builder.add(Shape.BOX, (EGO[0] + 15, EGO[1] - 4, 2), (0.5, 0.5, 2), Label.MANMADE, (200, 200, 200))
    bright = np.pi / 2 + EGO[2] - np.pi  # the sun on the right: the shadow falls to the left
    geometry = Geometry(builder.build(), ground, EGO[:2])
    lit, shaded = (
        render(geometry, (EGO[0], EGO[1], 0.0), CAMERAS["CAM_FRONT"], IMAGE_SIZE, Weather(sun=(azimuth, 0.6)), 0)
        for azimuth in (bright + np.pi, bright)
    )
    region = np.zeros(IMAGE_SIZE, bool)
    intrinsic = CAMERAS["CAM_FRONT"].scaled(IMAGE_SIZE)
    origin, rotation = CAMERAS["CAM_FRONT"].placed((EGO[0], EGO[1], 0.0))
    for y in np.linspace(-2.5, 0.0, 6):  # 1.5 to 4 m beside the box
        u, v, w = intrinsic @ rotation.T @ (np.array([EGO[0] + 15, EGO[1] + y, 0.0]) - origin)
        region[round(v / w), round(u / w)] = True
    assert shaded.image[region].mean() < 0.75 * lit.image[region].mean()


def test_paint_shows_on_the_road(geometry, views):
    view = views["CAM_FRONT"]
    origin, rotation = CAMERAS["CAM_FRONT"].placed(EGO)
    places = origin + view.distance[..., None] * (CAMERAS["CAM_FRONT"].directions(IMAGE_SIZE) @ rotation.T).reshape(
        *IMAGE_SIZE, 3
    )
    near = (view.solid == -1) & (view.distance < 20)
    column, row = np.floor(places[near][:, :2].T / 0.2).astype(int)
    paint = street_ground().paint[row, column]
    red, _, blue = view.image[near].T.astype(float)
    yellow = paint == Paint.YELLOW
    assert yellow.sum() > 100
    assert (red - blue)[yellow].mean() > 50
    assert abs((red - blue)[paint == Paint.NONE].mean()) < 20


def test_classes_of_ground_look_different():
    colors = []
    for label in (Label.DRIVEABLE_SURFACE, Label.OTHER_FLAT, Label.SIDEWALK, Label.TERRAIN):
        ground = Ground(np.full((1000, 1000), label, np.uint8), np.zeros((1000, 1000), np.uint8))
        view = render(
            Geometry(SolidsBuilder().build(), ground, EGO[:2]), EGO, CAMERAS["CAM_FRONT"], IMAGE_SIZE, CLEAR, 0
        )
        colors.append(view.image[110:].reshape(-1, 3).mean(0))
    gaps = [np.abs(first - second).max() for i, first in enumerate(colors) for second in colors[:i]]
    assert min(gaps) > 20


def test_texture_is_anchored_to_the_world(geometry):
    """The same wall from two places of the ego vehicle: its pixels move, and the pattern with them."""
    near = render(geometry, EGO, CAMERAS["CAM_FRONT_LEFT"], IMAGE_SIZE, CLEAR, 0)
    moved_ego = (EGO[0] + 1.0, EGO[1], EGO[2])
    moved = render(geometry, moved_ego, CAMERAS["CAM_FRONT_LEFT"], IMAGE_SIZE, CLEAR, 0)
    origin, rotation = CAMERAS["CAM_FRONT_LEFT"].placed(EGO)
    places = origin + near.distance.reshape(-1, 1) * (CAMERAS["CAM_FRONT_LEFT"].directions(IMAGE_SIZE) @ rotation.T)
    wall = (near.solid.ravel() >= 0) & (geometry.solids.texture[np.maximum(near.solid.ravel(), 0)] == Texture.FACADE)
    origin, rotation = CAMERAS["CAM_FRONT_LEFT"].placed(moved_ego)
    u, v, w = CAMERAS["CAM_FRONT_LEFT"].scaled(IMAGE_SIZE) @ rotation.T @ (places[wall] - origin).T
    column, row = np.round(u / w).astype(int), np.round(v / w).astype(int)
    framed = (column >= 0) & (column < IMAGE_SIZE[1]) & (row >= 0) & (row < IMAGE_SIZE[0])
    here = near.image.reshape(-1, 3)[wall][framed].astype(float).mean(1)
    there = moved.image[row[framed], column[framed]].astype(float).mean(1)
    same_pixel = moved.image.reshape(-1, 3)[wall][framed].astype(float).mean(1)
    assert framed.sum() > 1000
    assert np.abs(here - there).mean() < 0.6 * np.abs(here - same_pixel).mean()


@pytest.mark.parametrize("weather", [CLEAR, NIGHT, RAIN, Weather(night=True, rain=True)])
def test_same_seed_same_image_and_other_seed_another_exposure(geometry, weather):
    again = Geometry(street_solids(), street_ground(), EGO[:2])
    first, second = (render(g, EGO, CAMERAS["CAM_BACK"], (72, 128), weather, 3) for g in (geometry, again))
    other = render(geometry, EGO, CAMERAS["CAM_BACK"], (72, 128), weather, 4)
    np.testing.assert_array_equal(first.image, second.image)
    assert abs(float(first.image.mean()) - float(other.image.mean())) > 0.2
    np.testing.assert_array_equal(first.solid, other.solid)


SCRIPT = """
import hashlib, numpy as np
from fake_street import EGO, street_ground, street_solids
from al_lightning.simulation.sensors.camera import render
from al_lightning.simulation.sensors.raycast import Geometry
from al_lightning.simulation.sensors.rig import CAMERAS
from al_lightning.simulation.world import Weather
view = render(Geometry(street_solids(), street_ground(), EGO[:2]), EGO, CAMERAS["CAM_FRONT"], (72, 128), Weather(), 1)
print(hashlib.sha256(view.image.tobytes()).hexdigest())
"""


def test_another_process_takes_the_same_picture(geometry):
    here = render(geometry, EGO, CAMERAS["CAM_FRONT"], (72, 128), Weather(), 1)
    there = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert there.stdout.strip() == hashlib.sha256(here.image.tobytes()).hexdigest()
