"""How much of each object the cameras see: its visible pixels over those it would cover with nothing in front.

As in nuScenes the share is over all six cameras together; what lies outside their images does not count.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.compiled import compiled
from al_lightning.simulation.sensors.raycast import Geometry, entry
from al_lightning.simulation.sensors.rig import CAMERAS, Camera, EgoPose

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

NEAREST = 0.05
"""Depth from which on solids are projected (metres)."""


def visible_shares(
    geometry: Geometry, ego: EgoPose, hits: Mapping[str, NDArray[np.int32]], image_size: tuple[int, int], objects: int
) -> Array:
    """Share of each object's pixels that are seen.

    Args:
        geometry: the surroundings of the ego vehicle.
        ego: its pose.
        hits: channel -> (H, W) position of the solid at each pixel, negative for none.
        image_size: (H, W).
        objects: how many there are; their numbers are `Solids.instance`.

    Returns:
        (objects,) from 0 to 1; 0 where no camera looks at the object.
    """
    seen, whole = np.zeros(objects, np.int64), np.zeros(objects, np.int64)
    for channel, camera in CAMERAS.items():
        solid = hits[channel]
        owner = geometry.solids.instance[solid[solid >= 0]]
        seen += np.bincount(owner[owner >= 0], minlength=objects)
        whole += silhouettes(geometry, ego, camera, image_size, objects)
    shares: Array = seen / np.maximum(whole, 1)
    return shares


def silhouettes(geometry: Geometry, ego: EgoPose, camera: Camera, image_size: tuple[int, int], objects: int) -> Counts:
    """Pixels (objects,) that each object would cover in an image if nothing stood in front of it."""
    owner = geometry.solids.instance[geometry.index]
    moving = np.flatnonzero(owner >= 0)
    moving = moving[np.argsort(owner[moving], kind="stable")]
    origin, rotation = camera.placed(ego)
    directions = (camera.directions(image_size) @ rotation.T).reshape(*image_size, 3)
    local = origin - (*geometry.center, 0.0)
    counts = np.zeros(objects, np.int64)
    _count(geometry.forms[moving], owner[moving], local, rotation, camera.scaled(image_size), directions, counts)
    return counts


@compiled
def _count(
    forms: Array,
    owner: NDArray[np.int32],
    origin: Array,
    rotation: Array,
    intrinsic: Array,
    directions: Array,
    counts: Counts,
) -> None:
    height, width, _ = directions.shape
    covered = np.full((height, width), -1, np.int32)
    for number in range(len(forms)):
        form, own = forms[number], owner[number]
        left, right, upper, lower = _pixel_range(form, origin, rotation, intrinsic, height, width)
        for row in range(upper, lower + 1):
            for column in range(left, right + 1):
                if covered[row, column] == own:
                    continue
                d = directions[row, column]
                if entry(form, origin[0], origin[1], origin[2], d[0], d[1], d[2]) < np.inf:
                    covered[row, column] = own
                    counts[own] += 1


@compiled
def _pixel_range(
    form: Array, origin: Array, rotation: Array, intrinsic: Array, height: int, width: int
) -> tuple[int, int, int, int]:
    """Left, right, upper and lower pixel between which a solid lies in an image; right < left where it does not.

    What is nearer than `NEAREST` is cut off.
    """
    corners = np.empty((8, 3))
    for corner in range(8):
        along = form[3] if corner & 1 else -form[3]
        across = form[4] if corner & 2 else -form[4]
        x = form[0] + along * form[6] - across * form[7] - origin[0]
        y = form[1] + along * form[7] + across * form[6] - origin[1]
        z = form[2] + (form[5] if corner & 4 else -form[5]) - origin[2]
        for axis in range(3):
            corners[corner, axis] = x * rotation[0, axis] + y * rotation[1, axis] + z * rotation[2, axis]
    left, right, upper, lower = float(width), -1.0, float(height), -1.0
    for corner in range(8):
        for other in (corner, corner ^ 1, corner ^ 2, corner ^ 4):
            ahead, behind = corners[corner, 2], corners[other, 2]
            if ahead < NEAREST or (other != corner and behind >= NEAREST):
                continue  # an edge counts where it leaves the image's side of the plane, a corner where it is there
            part = 0.0 if other == corner else (ahead - NEAREST) / (ahead - behind)
            depth = ahead + part * (behind - ahead)
            x = corners[corner, 0] + part * (corners[other, 0] - corners[corner, 0])
            y = corners[corner, 1] + part * (corners[other, 1] - corners[corner, 1])
            u, v = intrinsic[0, 0] * x / depth + intrinsic[0, 2], intrinsic[1, 1] * y / depth + intrinsic[1, 2]
            left, right, upper, lower = min(left, u), max(right, u), min(upper, v), max(lower, v)
    right, lower = min(right, width - 1.0), min(lower, height - 1.0)
    return int(np.ceil(max(left, 0.0))), int(np.floor(right)), int(np.ceil(max(upper, 0.0))), int(np.floor(lower))
