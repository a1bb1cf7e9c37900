"""A spinning LiDAR of 32 beams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.sensors.raycast import GROUND, NOTHING, Geometry, Hits
from al_lightning.simulation.sensors.rig import LIDAR, EgoPose
from al_lightning.simulation.sensors.surface import ground_cells
from al_lightning.simulation.world import Paint, Texture, Weather

Array = NDArray[np.float64]

ELEVATIONS: Array = np.radians(np.linspace(-30.67, 10.67, 32))
"""Of the beams, lowest first; the position is the ring."""
AZIMUTHS = 1080
RANGE = (1.0, 100.0)
RANGE_NOISE = 0.02
"""Standard deviation of the measured distance (metres)."""

_LABEL_INTENSITY = np.array([18, 35, 16, 24, 26, 30, 16, 14, 45, 24, 26, 7, 12, 14, 20, 24, 16], dtype=np.float64)
_TEXTURE_INTENSITY = {Texture.GLASS: 0.15, Texture.HEADLAMP: 3.0, Texture.TAILLAMP: 4.0, Texture.STRIPES: 2.0}
_PAINT_INTENSITY = 45.0


@dataclass(frozen=True)
class Scan:
    """One turn of the LiDAR.

    Attributes:
        points: (M, 5) float32 x, y, z in the LiDAR's frame, intensity from 0 to 255, ring.
        solid: (M,) int32 position of the solid hit, -1 for the ground.
    """

    points: NDArray[np.float32]
    solid: NDArray[np.int32]


def beam_directions() -> Array:
    """Unit vectors (AZIMUTHS * 32, 3) in the LiDAR's frame, clockwise from behind; the ring changes fastest."""
    azimuth = -np.pi / 2 - 2 * np.pi * np.arange(AZIMUTHS)[:, None] / AZIMUTHS
    flat = np.cos(ELEVATIONS)
    up = np.broadcast_to(np.sin(ELEVATIONS), (AZIMUTHS, len(ELEVATIONS)))
    beams: Array = np.stack([np.cos(azimuth) * flat, np.sin(azimuth) * flat, up], axis=-1).reshape(-1, 3)
    return beams


def scan(geometry: Geometry, ego: EgoPose, weather: Weather, seed: int) -> Scan:
    """What the LiDAR measures in one turn; beams that return nothing leave no point.

    Args:
        geometry: the surroundings of the ego vehicle.
        ego: its pose.
        weather: rain swallows returns and dims them.
        seed: of the noise.

    Returns:
        The points, in the order of the turn.
    """
    generator = np.random.default_rng(seed)
    origin, rotation = LIDAR.placed(ego)
    beams = beam_directions()
    hits = geometry.cast(origin, beams @ rotation.T, RANGE[1])
    measured = hits.distance + generator.normal(0.0, RANGE_NOISE, len(beams))
    kept = (hits.solid != NOTHING) & (hits.distance >= RANGE[0])
    kept &= generator.random(len(beams)) >= _loss(hits.distance, weather)
    surface = origin + np.where(kept, hits.distance, 0.0)[:, None] * (beams @ rotation.T)
    intensity = _intensity(geometry, hits, surface, weather) * generator.normal(1.0, 0.15, len(beams))
    ring = np.tile(np.arange(len(ELEVATIONS)), AZIMUTHS)
    columns = np.column_stack([beams * measured[:, None], np.clip(np.round(intensity), 0, 255), ring])[kept]
    return Scan(columns.astype(np.float32), hits.solid[kept])


def _loss(distance: NDArray[np.float32], weather: Weather) -> Array:
    """Probability that a beam gets no answer."""
    share: Array = np.clip(distance / RANGE[1], 0.0, 1.0).astype(np.float64)
    return 0.02 + (0.25 + 0.5 * share) * share * (2.0 if weather.rain else 1.0) + (0.08 if weather.rain else 0.0)


def _intensity(geometry: Geometry, hits: Hits, surface: Array, weather: Weather) -> Array:
    label, paint = ground_cells(geometry.ground, surface[:, :2])
    solids, number = geometry.solids, np.maximum(hits.solid, 0)
    if len(solids):
        factor = np.ones(max(Texture) + 1)
        factor[list(_TEXTURE_INTENSITY)] = list(_TEXTURE_INTENSITY.values())
        of_solid = _LABEL_INTENSITY[solids.label[number]] * factor[solids.texture[number]]
    else:
        of_solid = np.zeros(len(number))
    of_ground = np.where(paint != Paint.NONE, _PAINT_INTENSITY, _LABEL_INTENSITY[label])
    intensity: Array = np.where(hits.solid == GROUND, of_ground, of_solid)
    return intensity * (0.6 if weather.rain else 1.0)
