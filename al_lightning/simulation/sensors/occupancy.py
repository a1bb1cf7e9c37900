"""What the world is, voxel by voxel, and which voxels the sensors see: the labels and masks of Occ3D-nuScenes.

Occ3D draws a ray from a sensor to every occupied voxel: rays that end outside the grid, in the sky say, show nothing,
and what the cameras see counts only where the LiDAR has been too. Occupied is what the LiDAR met from anywhere on the
vehicle's way, so what it never met is free there.

The grid is fixed to the ego frame: 200 x 200 x 16 voxels of 0.4 m over x, y in [-40, 40] and z in [-1, 5.4].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.compiled import compiled
from al_lightning.simulation.sensors.lidar import RANGE, beam_directions
from al_lightning.simulation.sensors.raycast import GROUND, Geometry
from al_lightning.simulation.sensors.rig import CAMERAS, LIDAR, EgoPose
from al_lightning.simulation.sensors.voxels import GROUND_LAYER, LOWER, SHAPE, VOXEL, label_voxels

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

__all__ = [
    "GROUND_LAYER",
    "LOWER",
    "SHAPE",
    "VOXEL",
    "label_voxels",
    "mask_camera",
    "mask_lidar",
    "observe",
]

CAMERA_RANGE = 75.0
"""Reaches every voxel of the grid from every camera."""
SKY = 60.0
"""Above everything (metres)."""
NEAR = 6.0
"""Up to this distance (metres) a third of the rays across and down is dense enough."""
RAY_SPACING = 0.4
"""Largest angle between neighbouring rays of a camera (degrees): 0.4 m at 57 m, the far corner of the grid."""
MASK_IMAGE_SIZE = (180, 320)
"""Pixels at most `RAY_SPACING` apart in all cameras."""

_INSIDE = 1e-3  # how far behind a surface its voxel is looked for, in voxels


def observe(
    mask: Mask, ego: EgoPose, origin: Array, directions: Array, distance: NDArray[np.float32], starts: Array
) -> None:
    """Mark the voxels that rays of known length pass or end in.

    Args:
        mask: (200, 200, 16), changed in place.
        ego: pose of the ego vehicle.
        origin: (3,) of all rays, in the global frame.
        directions: (M, 3) unit vectors in the global frame.
        distance: as many, metres, infinite where a ray meets nothing.
        starts: (M,) metres along each ray before which it marks nothing.
    """
    x, y, yaw = ego
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
    start = ((origin - (x, y, 0.0)) @ turn - LOWER) / VOXEL
    steps = np.ascontiguousarray((directions @ turn) / VOXEL)
    _walk(mask, start, steps, np.ascontiguousarray(distance, dtype=np.float64).reshape(-1), starts)


@compiled
def _walk(mask: Mask, start: Array, steps: Array, distance: Array, starts: Array) -> None:
    for ray in range(len(steps)):
        v = steps[ray]
        near, far = starts[ray], distance[ray] + _INSIDE
        for axis in range(3):
            if v[axis] != 0.0:
                first, second = -start[axis] / v[axis], (SHAPE[axis] - start[axis]) / v[axis]
                near, far = max(near, min(first, second)), min(far, max(first, second))
            elif not 0.0 <= start[axis] < SHAPE[axis]:
                far = -1.0
        if near >= far:
            continue
        i = min(max(int(start[0] + near * v[0]), 0), SHAPE[0] - 1)
        j = min(max(int(start[1] + near * v[1]), 0), SHAPE[1] - 1)
        k = min(max(int(start[2] + near * v[2]), 0), SHAPE[2] - 1)
        step_i, step_j, step_k = (1 if v[0] > 0 else -1), (1 if v[1] > 0 else -1), (1 if v[2] > 0 else -1)
        each_i = 1 / abs(v[0]) if v[0] != 0 else np.inf
        each_j = 1 / abs(v[1]) if v[1] != 0 else np.inf
        each_k = 1 / abs(v[2]) if v[2] != 0 else np.inf
        next_i = (i + (v[0] > 0) - start[0]) / v[0] if v[0] != 0 else np.inf
        next_j = (j + (v[1] > 0) - start[1]) / v[1] if v[1] != 0 else np.inf
        next_k = (k + (v[2] > 0) - start[2]) / v[2] if v[2] != 0 else np.inf
        while 0 <= i < SHAPE[0] and 0 <= j < SHAPE[1] and 0 <= k < SHAPE[2]:
            mask[i, j, k] = True
            nearest = min(next_i, next_j, next_k)
            if nearest >= far:
                break
            if nearest == next_i:
                i += step_i
                next_i += each_i
            elif nearest == next_j:
                j += step_j
                next_j += each_j
            else:
                k += step_k
                next_k += each_k


def _ends_inside(ego: EgoPose, origin: Array, directions: Array, distance: NDArray[np.float32]) -> Mask:
    """Which rays (M,) of known length end in the grid; see `observe`."""
    x, y, yaw = ego
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
    reach = np.where(np.isfinite(distance), distance, np.float32(1e6)).reshape(-1, 1)
    ends = (origin + reach * directions - (x, y, 0.0)) @ turn
    upper = LOWER + VOXEL * np.array(SHAPE)
    return np.asarray(((ends >= LOWER) & (ends < upper)).all(axis=1))


def mask_lidar(geometry: Geometry, ego: EgoPose, stations: Sequence[EgoPose] = ()) -> Mask:
    """The voxels that rays of the LiDAR pass or hit on their way to a surface in the grid.

    Args:
        geometry: the surroundings of the ego vehicle.
        ego: its pose.
        stations: poses before and after from which the LiDAR looks too; left out where something stands now, or hangs
            over.

    Returns:
        (200, 200, 16) truth values.
    """
    mask = np.zeros(SHAPE, dtype=np.bool_)
    for station in (ego, *stations):
        origin, rotation = LIDAR.placed(station)
        # From above: a ray that starts inside a solid does not see it.
        below = geometry.cast(np.array([*origin[:2], SKY]), np.array([[0.0, 0.0, -1.0]]), 2 * SKY)
        if station is ego or below.solid[0] == GROUND:
            directions = beam_directions() @ rotation.T
            distance = geometry.cast(origin, directions, RANGE[1]).distance
            mask |= _mask(ego, origin, directions, distance, np.zeros(len(directions)))
    return mask


def mask_camera(
    geometry: Geometry,
    ego: EgoPose,
    image_size: tuple[int, int],
    distances: Mapping[str, NDArray[np.float32]] | None = None,
) -> Mask:
    """The voxels that rays through the pixels of the six cameras pass or hit on their way to a surface in the grid.

    Where no distances are given, or pixels are too far apart for the grid, rays at `MASK_IMAGE_SIZE` are cast.

    Args:
        geometry: the surroundings of the ego vehicle.
        ego: its pose.
        image_size: (H, W) of the images, 9:16.
        distances: channel -> (H, W) of the rendered `View`, which saves casting the rays again.

    Returns:
        (200, 200, 16) truth values.

    Raises:
        ValueError: the images are not 9:16, up to a pixel.
    """
    mask = np.zeros(SHAPE, dtype=np.bool_)
    for channel, camera in CAMERAS.items():
        origin, rotation = camera.placed(ego)
        every = int(RAY_SPACING / np.degrees(1 / camera.scaled(image_size)[0, 0]))
        if distances is not None and every > 0:
            directions = camera.directions(image_size).reshape(*image_size, 3)[::every, ::every] @ rotation.T
            distance = distances[channel][::every, ::every]
        else:
            directions = camera.directions(MASK_IMAGE_SIZE).reshape(*MASK_IMAGE_SIZE, 3) @ rotation.T
            distance = geometry.cast(origin, directions.reshape(-1, 3), CAMERA_RANGE).distance.reshape(MASK_IMAGE_SIZE)
        mask |= _mask(ego, origin, directions.reshape(-1, 3), distance.reshape(-1), _starts(distance).reshape(-1))
    return mask


def _mask(ego: EgoPose, origin: Array, directions: Array, distance: NDArray[np.float32], starts: Array) -> Mask:
    mask = np.zeros(SHAPE, dtype=np.bool_)
    kept = _ends_inside(ego, origin, directions, distance)
    observe(mask, ego, origin, directions[kept], distance[kept], starts[kept])
    return mask


def _starts(distance: NDArray[np.float32]) -> Array:
    """From where on each ray of an image (H, W) counts: near the camera, where rays are dense, a ninth of them does."""
    starts = np.minimum(NEAR, np.maximum(distance - VOXEL, 0.0)).astype(np.float64)
    for every in (np.s_[::3, ::3], np.s_[-1:, ::3], np.s_[::3, -1:]):
        starts[every] = 0.0
    return starts
