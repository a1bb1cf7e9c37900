"""Mounts and intrinsics against nuScenes: its devkit's projection and the calibration of a real keyframe."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from nuscenes.utils.geometry_utils import view_points

from al_lightning.simulation.sensors.rig import CAMERAS, LIDAR, NATIVE_IMAGE_SIZE

KEYFRAMES = Path(__file__).parents[3] / "shared/data/nuscenes_keyframes/scene0061_mmdet3d_demo"
LOOKS = {
    "CAM_FRONT": 0,
    "CAM_FRONT_LEFT": 55,
    "CAM_BACK_LEFT": 110,
    "CAM_BACK": 180,
    "CAM_BACK_RIGHT": -110,
    "CAM_FRONT_RIGHT": -55,
}
"""Degrees to the left, of the middle of the view."""


@pytest.mark.parametrize("channel", LOOKS)
def test_camera_looks_level_in_its_direction(channel):
    right, down, forward = CAMERAS[channel].to_ego.T
    turned = np.degrees(np.arctan2(forward[1], forward[0])) - LOOKS[channel]
    assert abs((turned + 180) % 360 - 180) < 3
    assert down[2] < -0.999
    np.testing.assert_allclose(np.cross(right, down), forward, atol=1e-12)


def test_lidar_looks_right_and_forward():
    assert LIDAR.to_ego[1, 0] < -0.99
    assert LIDAR.to_ego[0, 1] > 0.99


@pytest.mark.skipif(not KEYFRAMES.exists(), reason="no real keyframe under ../shared/data")
def test_rig_is_that_of_a_real_keyframe():
    with next(KEYFRAMES.glob("*.pkl")).open("rb") as file:
        real = pickle.load(file)["data_list"][0]
    for channel, camera in CAMERAS.items():
        pose = np.array(real["images"][channel]["cam2ego"])
        np.testing.assert_allclose(camera.translation, pose[:3, 3], atol=1e-3)
        np.testing.assert_allclose(camera.to_ego, pose[:3, :3], atol=5e-4)
        np.testing.assert_allclose(camera.intrinsic, real["images"][channel]["cam2img"], atol=0.1)
    pose = np.array(real["lidar_points"]["lidar2ego"])
    np.testing.assert_allclose(LIDAR.translation, pose[:3, 3], atol=1e-3)
    np.testing.assert_allclose(LIDAR.to_ego, pose[:3, :3], atol=1e-3)


@pytest.mark.parametrize("image_size", [NATIVE_IMAGE_SIZE, (180, 320), (36, 64), (253, 450)])
def test_directions_project_back_onto_their_pixels(image_size):
    height, width = image_size
    camera = CAMERAS["CAM_BACK_LEFT"]
    directions = camera.directions(image_size)
    pixels = view_points(5.0 * directions.T, camera.scaled(image_size), normalize=True)[:2].T
    expected = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(pixels, expected, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)


def test_small_image_shows_the_same_field():
    camera = CAMERAS["CAM_FRONT"]
    np.testing.assert_allclose(camera.scaled(NATIVE_IMAGE_SIZE), camera.intrinsic)
    for corner in (-0.5, 1599.5):  # the outer edges of the first and last pixel
        ray = np.linalg.inv(camera.intrinsic) @ (corner, 450, 1)
        u = (camera.scaled((180, 320)) @ ray)[0]
        assert u == pytest.approx((corner + 0.5) / 5 - 0.5)


@pytest.mark.parametrize("image_size", [(181, 320), (320, 180), (180, 322), (0, 0)])
def test_other_shapes_of_image_are_refused(image_size):
    with pytest.raises(ValueError, match="9 : 16"):
        CAMERAS["CAM_FRONT"].scaled(image_size)


def test_a_pixel_of_rounding_is_allowed():
    assert CAMERAS["CAM_FRONT"].scaled((253, 450)).shape == (3, 3)


def test_placed_follows_the_ego_vehicle():
    origin, rotation = CAMERAS["CAM_FRONT"].placed((10.0, 20.0, np.pi / 2))
    x, y, z = CAMERAS["CAM_FRONT"].translation
    np.testing.assert_allclose(origin, (10 - y, 20 + x, z))
    np.testing.assert_allclose(rotation[:, 2], (0, 1, 0), atol=0.01)
