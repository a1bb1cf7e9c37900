"""Images of the six cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.compiled import compiled
from al_lightning.simulation.sensors.lens import Radiance, develop, draw_exposure, smear
from al_lightning.simulation.sensors.light import Light, ground_light, light_of
from al_lightning.simulation.sensors.raycast import GROUND, Geometry, Hits
from al_lightning.simulation.sensors.rig import Camera, EgoPose
from al_lightning.simulation.sensors.shading import Coat, Place, radiance_along
from al_lightning.simulation.world import Weather

Array = NDArray[np.float64]

CAMERA_RANGE = 400.0
"""How far a camera sees the ground (metres); beyond is haze."""


@dataclass(frozen=True)
class View:
    """What a camera sees.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        solid: (H, W) int32 position of the solid in each pixel's middle, -1 for the ground, -2 for the sky.
        distance: (H, W) float32 metres along the ray from the camera, infinite for the sky.
    """

    image: NDArray[np.uint8]
    solid: NDArray[np.int32]
    distance: NDArray[np.float32]


def render(
    geometry: Geometry, ego: EgoPose, camera: Camera, image_size: tuple[int, int], weather: Weather, seed: int
) -> View:
    """Take a picture.

    Args:
        geometry: the surroundings of the ego vehicle.
        ego: its pose.
        camera: one of `rig.CAMERAS`.
        image_size: (H, W) in pixels, 9:16.
        weather: light and weather.
        seed: of exposure, white balance and noise; another one for each image.

    Returns:
        The image, and what is where in it.

    Raises:
        ValueError: the image is not 9:16, up to a pixel.
    """
    shot = _Shot(geometry, ego, camera, image_size, light_of(weather))
    directions = camera.directions(image_size) @ shot.rotation.T
    hits, radiance = shot.look(directions)
    solid = hits.solid.reshape(image_size)
    edges = np.flatnonzero(_at_edges(solid))
    radiance[edges] += sum(shot.look(shot.beside(directions[edges], *offset))[1] for offset in _BESIDE)
    radiance[edges] /= 1 + len(_BESIDE)
    if weather.rain:
        rough = smear(radiance.reshape(*image_size, 3))
        _mirror_on_wet_ground(radiance.reshape(*image_size, 3), rough, solid, camera.scaled(image_size))
    exposure = draw_exposure(weather.night, weather.rain, seed)
    image = develop(radiance.reshape(*image_size, 3), exposure, weather.night)
    return View(image, solid, hits.distance.reshape(image_size))


_BESIDE = ((0.3, 0.3), (-0.3, -0.3))
"""Further rays through the pixels at edges: offsets in pixels, around 0."""


class _Shot:
    """The moment at which a camera looks at a geometry."""

    def __init__(
        self, geometry: Geometry, ego: EgoPose, camera: Camera, image_size: tuple[int, int], light: Light
    ) -> None:
        self.geometry, self.light = geometry, light
        self.origin, self.rotation = camera.placed(ego)
        intrinsic = camera.scaled(image_size)
        self.steps = np.stack(
            [self.rotation[:, 0] / intrinsic[0, 0], self.rotation[:, 1] / intrinsic[1, 1], self.rotation[:, 2]]
        )
        x, y, z = self.origin.tolist()
        ego_x, ego_y, ego_yaw = (float(number) for number in ego)
        center_x, center_y = (float(number) for number in geometry.center)
        self.place = Place(
            (x, y, z), (ego_x, ego_y, ego_yaw), center_x, center_y, geometry.radius, float(1 / intrinsic[0, 0])
        )

    def beside(self, directions: Array, right: float, down: float) -> Array:
        """Rays through points some pixels beside those of given rays."""
        rays = directions / (directions @ self.steps[2])[:, None] + right * self.steps[0] + down * self.steps[1]
        beside: Array = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        return beside

    def look(self, directions: Array) -> tuple[Hits, Radiance]:
        """Where rays end, and the light along them (M, 3)."""
        geometry, solids = self.geometry, self.geometry.solids
        hits = geometry.cast(self.origin, directions, CAMERA_RANGE)
        radiance = radiance_along(
            directions,
            self.steps,
            hits.distance,
            hits.solid,
            self.place,
            geometry.forms,
            geometry.number,
            Coat(solids.color, solids.texture, solids.seed),
            geometry.ground.label,
            geometry.ground.paint,
            self.light,
            ground_light(geometry, self.light),
        )
        return hits, radiance


def _at_edges(solid: NDArray[np.int32]) -> NDArray[np.bool_]:
    """The pixels (H, W) that see something else than one of their four neighbours."""
    edges = np.zeros(solid.shape, np.bool_)
    across, down = solid[:, 1:] != solid[:, :-1], solid[1:] != solid[:-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    return edges


@compiled
def _mirror_on_wet_ground(radiance: Radiance, mirrored: Radiance, solid: NDArray[np.int32], intrinsic: Array) -> None:
    """Mix into the ground what is as far above the horizon as it is below, the more the flatter it is seen."""
    horizon, focal = intrinsic[1, 2], intrinsic[1, 1]
    for i in range(max(int(horizon) + 1, 0), len(radiance)):
        slope = (i - horizon) / focal
        shine = 0.5 / (1.0 + 4.0 * slope) ** 3
        row = max(int(2.0 * horizon - i), 0)
        for j in range(radiance.shape[1]):
            if solid[i, j] == GROUND:
                for channel in range(3):
                    radiance[i, j, channel] += shine * (mirrored[row, j, channel] - radiance[i, j, channel])
