"""The sensors of the ego vehicle: six cameras and a LiDAR, mounted much as on the vehicles of nuScenes.

The ego frame has its origin on the ground under the middle of the rear axle, x forward, y left and z up. A camera looks
along its z axis, x right and y down; the LiDAR's x axis points right and its y axis forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pyquaternion import Quaternion

Array = NDArray[np.float64]
EgoPose = tuple[float, float, float]
"""x, y and yaw in the global frame."""

NATIVE_IMAGE_SIZE = (900, 1600)
"""(H, W) of the images of nuScenes, for which the intrinsics are given."""


@dataclass(frozen=True, eq=False)
class Mount:
    """Where a sensor sits.

    Attributes:
        translation: (3,) in the ego frame, metres.
        rotation: (4,) unit quaternion (w, x, y, z) from the sensor's frame to the ego frame.
    """

    translation: Array
    rotation: Array

    @property
    def to_ego(self) -> Array:
        """(3, 3) rotation from the sensor's frame to the ego frame."""
        return np.asarray(Quaternion(self.rotation).rotation_matrix, dtype=np.float64)

    def placed(self, ego: EgoPose) -> tuple[Array, Array]:
        """Origin (3,) in the global frame and rotation (3, 3) from the sensor's frame to it."""
        x, y, yaw = ego
        turn: Array = np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
        return turn @ self.translation + (x, y, 0.0), turn @ self.to_ego


@dataclass(frozen=True, eq=False)
class Camera(Mount):
    """A pinhole camera.

    Attributes:
        intrinsic: (3, 3) for `NATIVE_IMAGE_SIZE`; integer coordinates are the middles of pixels.
    """

    intrinsic: Array

    def scaled(self, image_size: tuple[int, int]) -> Array:
        """The intrinsic matrix (3, 3) of an image of another size (H, W) that shows the same.

        Raises:
            ValueError: the image is not 9:16, up to a pixel.
        """
        height, width = checked_image_size(image_size)
        across, down = width / NATIVE_IMAGE_SIZE[1], height / NATIVE_IMAGE_SIZE[0]
        half_pixels = np.array([[across, 0.0, (across - 1) / 2], [0.0, down, (down - 1) / 2], [0.0, 0.0, 1.0]])
        scaled: Array = half_pixels @ self.intrinsic
        return scaled

    def directions(self, image_size: tuple[int, int]) -> Array:
        """Unit vectors (H * W, 3) in the camera's frame through the middles of the pixels, row by row; read-only."""
        return _directions(self, *checked_image_size(image_size))


@lru_cache(maxsize=32)
def _directions(camera: Camera, height: int, width: int) -> Array:
    intrinsic = camera.scaled((height, width))
    x = (np.arange(width) - intrinsic[0, 2]) / intrinsic[0, 0]
    y = (np.arange(height) - intrinsic[1, 2]) / intrinsic[1, 1]
    rays = np.stack([*np.meshgrid(x, y), np.ones((height, width))], axis=-1).reshape(-1, 3)
    unit: Array = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    unit.setflags(write=False)
    return unit


def checked_image_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """The (H, W) of an image as it is.

    Raises:
        ValueError: it is not 9:16, up to a pixel.
    """
    height, width = image_size
    if height < 1 or width < 1 or abs(width * 9 / 16 - height) >= 1:
        raise ValueError(f"image_size must be (H, W) with H : W = 9 : 16, such as (180, 320), got {tuple(image_size)}")
    return height, width


def _unit(*quaternion: float) -> Array:
    unit: Array = np.array(quaternion) / np.linalg.norm(quaternion)
    return unit


def _camera(
    translation: tuple[float, float, float], rotation: Array, focal: float, middle: tuple[float, float]
) -> Camera:
    intrinsic: Array = np.array([[focal, 0.0, middle[0]], [0.0, focal, middle[1]], [0.0, 0.0, 1.0]])
    return Camera(np.array(translation), rotation, intrinsic)


CAMERAS: Mapping[str, Camera] = {
    "CAM_FRONT": _camera((1.701, 0.016, 1.511), _unit(0.4998, -0.5030, 0.4998, -0.4974), 1266.4, (816.3, 491.5)),
    "CAM_FRONT_RIGHT": _camera((1.551, -0.493, 1.496), _unit(0.2060, -0.2027, 0.6825, -0.6714), 1260.8, (808.0, 495.3)),
    "CAM_FRONT_LEFT": _camera((1.524, 0.495, 1.509), _unit(0.6757, -0.6736, 0.2121, -0.2112), 1272.6, (826.6, 479.8)),
    "CAM_BACK": _camera((0.028, 0.003, 1.579), _unit(0.5038, -0.4974, -0.4942, 0.5045), 809.2, (829.2, 481.8)),
    "CAM_BACK_LEFT": _camera((1.036, 0.485, 1.591), _unit(0.6924, -0.7032, -0.1165, 0.1120), 1256.7, (792.1, 492.8)),
    "CAM_BACK_RIGHT": _camera((1.015, -0.481, 1.562), _unit(0.1228, -0.1324, -0.7004, 0.6905), 1259.5, (807.3, 501.2)),
}
LIDAR = Mount(np.array([0.944, 0.0, 1.840]), _unit(0.7077, -0.0065, 0.0107, -0.7063))
