"""From light to image: drops and reflections in the rain, glare at night, exposure, white balance and noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.compiled import compiled
from al_lightning.simulation.sensors.noise import hashed

Array = NDArray[np.float64]
Radiance = NDArray[np.float32]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Exposure:
    """How a camera turns light into numbers.

    Attributes:
        gain: (3,) of red, green and blue.
        noise: standard deviation in shares of full scale.
        drops: (D, 3) row, column and radius of drops on the lens, in shares of the image's height.
        veil: share of the light that a film of water spreads over the whole image.
        streaks: share of the brightness that falling rain adds.
        seed: of the noise.
    """

    gain: Array
    noise: float
    drops: Array
    veil: float
    streaks: float
    seed: int


def draw_exposure(night: bool, rain: bool, seed: int) -> Exposure:
    """Exposure, white balance and drops of one image."""
    generator = np.random.default_rng(seed)
    brightness = (2.0 if night else 1.0) * generator.uniform(0.88, 1.14)
    gain = brightness * generator.uniform(0.96, 1.04, 3)
    count = int(generator.integers(3, 9)) if rain else 0
    drops = generator.uniform((0.0, 0.0, 0.012), (1.0, 16 / 9, 0.05), (count, 3))
    noise = 0.017 if night else 0.007
    veil, streaks = (float(generator.uniform(0.1, 0.25)), 0.05) if rain else (0.0, 0.0)
    return Exposure(gain, noise, drops, veil, streaks, int(generator.integers(2**31)))


def develop(radiance: Radiance, exposure: Exposure, night: bool) -> Image:
    """The image (H, W, 3) of the light (H, W, 3) that falls onto a sensor."""
    if night:
        _add_glare(radiance)
    if exposure.veil > 0.0:
        radiance += exposure.veil * (radiance.mean(axis=(0, 1)) - radiance)
        _wet_lens(radiance, exposure.drops)
    return _expose(radiance, exposure.gain, exposure.noise, exposure.streaks, exposure.seed)


def smear(radiance: Radiance) -> Radiance:
    """The light (H, W, 3) as a rough, wet surface mirrors it: drawn out from top to bottom."""
    smeared = cv2.GaussianBlur(radiance, (0, 0), sigmaX=0.004 * len(radiance), sigmaY=0.06 * len(radiance))
    return smeared.astype(np.float32, copy=False)


def _add_glare(radiance: Radiance) -> None:
    """Spread light around what is bright."""
    height = len(radiance)
    bright = np.minimum(np.maximum(radiance - 0.35, 0.0), 3.0)
    for width, strength in ((0.015, 0.5), (0.06, 0.35)):
        radiance += strength * cv2.GaussianBlur(bright, (0, 0), width * height)


@compiled
def _wet_lens(radiance: Radiance, drops: Array) -> None:
    """Drops show the scene behind them upside down, small and out of focus."""
    height, width = radiance.shape[:2]
    for number in range(len(drops)):
        middle_v, middle_u, radius = drops[number] * height
        reach = int(np.ceil(radius))
        tile = radiance[
            max(int(middle_v) - 3 * reach, 0) : int(middle_v) + 3 * reach + 1,
            max(int(middle_u) - 3 * reach, 0) : int(middle_u) + 3 * reach + 1,
        ].copy()
        for i in range(max(int(middle_v) - reach, 0), min(int(middle_v) + reach + 1, height)):
            for j in range(max(int(middle_u) - reach, 0), min(int(middle_u) + reach + 1, width)):
                dv, du = (i - middle_v) / radius, (j - middle_u) / radius
                share = 1.0 - dv * dv - du * du
                if share <= 0.0:
                    continue
                share = min(2.0 * share, 1.0) * 0.8
                row = min(max(int((0.5 - 0.45 * dv) * len(tile)), 0), len(tile) - 1)
                column = min(max(int((0.5 - 0.45 * du) * tile.shape[1]), 0), tile.shape[1] - 1)
                for channel in range(3):
                    radiance[i, j, channel] += share * (1.05 * tile[row, column, channel] - radiance[i, j, channel])


@compiled
def _expose(radiance: Radiance, gain: Array, noise: float, streaks: float, seed: int) -> Image:
    height, width = radiance.shape[:2]
    image = np.empty((height, width, 3), np.uint8)
    for i in range(height):
        dv = (i + 0.5) / height - 0.5
        for j in range(width):
            du = (j + 0.5) / width - 0.5
            vignette = 1.0 - 0.45 * (du * du + dv * dv)
            rain = 0.0
            if streaks > 0.0:
                slot = int(j * 720 / width) + i // 40
                if hashed(slot, (i * 720 // height + 97 * slot) // 30, seed + 5) > 0.985:
                    rain = streaks
            grain = hashed(i, j, seed + 1) + hashed(i, j, seed + 2) - 1.0
            for channel in range(3):
                light = radiance[i, j, channel] * gain[channel] * vignette
                light = light * (1.0 + 0.18 * light) / (1.0 + light * 0.62 + 0.06 * light * light)
                value = np.sqrt(max(light, 0.0)) * 1.12 + rain
                tint = hashed(i * 3 + channel, j, seed + 3) + hashed(i * 3 + channel, j, seed + 4) - 1.0
                value += noise * 2.45 * (0.7 * grain + 0.7 * tint)
                image[i, j, channel] = np.uint8(min(max(value * 255.0 + 0.5, 0.0), 255.0))
    return image
