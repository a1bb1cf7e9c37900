"""What the world is, voxel by voxel, on the grid of Occ3D-nuScenes.

The grid is fixed to the ego frame: 200 x 200 x 16 voxels of 0.4 m over x, y in [-40, 40] and z in [-1, 5.4].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.compiled import compiled
from al_lightning.simulation.sensors.intersection import rectangle_meets_square
from al_lightning.simulation.sensors.raycast import Geometry
from al_lightning.simulation.sensors.rig import EgoPose
from al_lightning.simulation.sensors.surface import ground_cells
from al_lightning.simulation.world import Label, Shape

Array = NDArray[np.float64]
Voxels = NDArray[np.uint8]

SHAPE = (200, 200, 16)
VOXEL = 0.4
LOWER: Array = np.array([-40.0, -40.0, -1.0])
GROUND_LAYER = 2
"""z from -0.2 to 0.2 m."""

_BOX, _CONE, _ELLIPSOID = int(Shape.BOX), int(Shape.CONE), int(Shape.ELLIPSOID)
_FREE = int(Label.FREE)


def label_voxels(geometry: Geometry, ego: EgoPose) -> Voxels:
    """The class of every voxel.

    A voxel that a solid touches gets its label, the label of an object (0 to 10) before that of the background, and
    either before the ground's, which fills the layer around z = 0.

    Args:
        geometry: the surroundings of the ego vehicle.
        ego: its pose.

    Returns:
        (200, 200, 16) labels, 17 where nothing is.
    """
    x, y, yaw = ego
    semantics = np.full(SHAPE, _FREE, dtype=np.uint8)
    middle = LOWER[0] + VOXEL * (np.arange(SHAPE[0]) + 0.5)
    forward, left = np.meshgrid(middle, middle, indexing="ij")
    places = np.stack(
        [x + np.cos(yaw) * forward - np.sin(yaw) * left, y + np.sin(yaw) * forward + np.cos(yaw) * left], -1
    )
    semantics[:, :, GROUND_LAYER] = ground_cells(geometry.ground, places)[0]
    labels = geometry.solids.label[geometry.index]
    forms = _in_ego_frame(geometry, ego)
    for background in (True, False):
        chosen = (labels > Label.TRUCK) == background
        _mark_solids(semantics, forms[chosen], labels[chosen])
    return semantics


def _in_ego_frame(geometry: Geometry, ego: EgoPose) -> Array:
    """The forms of a geometry, relative to the ego vehicle."""
    x, y, yaw = ego
    cos, sin = np.cos(yaw), np.sin(yaw)
    forms = geometry.forms.copy()
    dx, dy = forms[:, 0] + geometry.center[0] - x, forms[:, 1] + geometry.center[1] - y
    forms[:, 0], forms[:, 1] = dx * cos + dy * sin, dy * cos - dx * sin
    forms[:, 6], forms[:, 7] = (
        geometry.forms[:, 6] * cos + geometry.forms[:, 7] * sin,
        geometry.forms[:, 7] * cos - geometry.forms[:, 6] * sin,
    )
    return forms


@compiled
def _mark_solids(semantics: Voxels, forms: Array, labels: NDArray[np.uint8]) -> None:
    for number in range(len(forms)):
        form = forms[number]
        cos, sin = abs(form[6]), abs(form[7])
        reach_x, reach_y = form[3] * cos + form[4] * sin, form[3] * sin + form[4] * cos
        low_x, high_x = _voxel_range(form[0], reach_x, LOWER[0], SHAPE[0])
        low_y, high_y = _voxel_range(form[1], reach_y, LOWER[1], SHAPE[1])
        low_z, high_z = _voxel_range(form[2], form[5], LOWER[2], SHAPE[2])
        for k in range(low_z, high_z + 1):
            width = _widest(form, LOWER[2] + k * VOXEL)
            for i in range(low_x, high_x + 1):
                x = LOWER[0] + (i + 0.5) * VOXEL
                for j in range(low_y, high_y + 1):
                    if _section_meets_square(form, width, x, LOWER[1] + (j + 0.5) * VOXEL):
                        semantics[i, j, k] = labels[number]


@compiled
def _voxel_range(middle: float, reach: float, lower: float, count: int) -> tuple[int, int]:
    low = int(np.floor((middle - reach - lower) / VOXEL))
    high = int(np.ceil((middle + reach - lower) / VOXEL)) - 1
    return max(low, 0), min(max(high, low), count - 1)


@compiled
def _widest(form: Array, floor: float) -> float:
    """The largest cross-section of a solid within a layer of voxels, as a share of its half extents."""
    if form[8] == _CONE:
        z = (max(floor, form[2] - form[5]) - form[2]) / form[5]
        return float((1.0 - z) / 2.0)
    if form[8] == _ELLIPSOID:
        z = (min(max(form[2], floor), floor + VOXEL) - form[2]) / form[5]
        return float(np.sqrt(max(1.0 - z * z, 0.0)))
    return 1.0


@compiled
def _section_meets_square(form: Array, width: float, x: float, y: float) -> bool:
    """Whether the cross-section of a solid, scaled by ``width``, touches the column of voxels around (x, y)."""
    if not rectangle_meets_square(form, x, y, VOXEL / 2):
        return False
    if form[8] == _BOX:
        return True
    # Where the ellipse is a circle of radius `width`, the square is a parallelogram around p with edges 2 e and 2 f
    half = VOXEL / 2
    dx, dy = x - form[0], y - form[1]
    px, py = (dx * form[6] + dy * form[7]) / form[3], (dy * form[6] - dx * form[7]) / form[4]
    ex, ey = half * form[6] / form[3], -half * form[7] / form[4]
    fx, fy = half * form[7] / form[3], half * form[6] / form[4]
    area = ex * fy - ey * fx
    if abs(px * fy - py * fx) <= abs(area) and abs(px * ey - py * ex) <= abs(area):
        return True
    for side in (-1.0, 1.0):
        if _reaches_segment(px + side * ex, py + side * ey, fx, fy, width):
            return True
        if _reaches_segment(px + side * fx, py + side * fy, ex, ey, width):
            return True
    return False


@compiled
def _reaches_segment(px: float, py: float, ex: float, ey: float, radius: float) -> bool:
    """Whether a circle around the origin touches the segment from p - e to p + e."""
    share = min(max(-(px * ex + py * ey) / (ex * ex + ey * ey), -1.0), 1.0)
    x, y = px + share * ex, py + share * ey
    return x * x + y * y <= radius * radius
