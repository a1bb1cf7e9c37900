"""Random colours of training images: mmdet3d's ``PhotoMetricDistortionMultiViewImage``, with which VAD trains.

Shape letters: h w pixels of an image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PhotometricDistortion:
    """Ranges of the random colours; the defaults are those of VAD.

    Args:
        brightness: most that is added or subtracted, of 255.
        contrast: factor of all channels.
        saturation: factor of the saturation.
        hue: most by which hues are turned, degrees.

    Raises:
        ValueError: a range is not (low, high) of positive numbers, or a number is negative or not finite.
    """

    brightness: float = 32.0
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: float = 18.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("contrast", "saturation"):
            values = tuple(getattr(self, name))
            if len(values) != 2 or not 0 < values[0] <= values[1] < math.inf:
                raise ValueError(f"PhotometricDistortion.{name} must be positive numbers (low, high), got {values}")
        if not (0 <= self.brightness < math.inf and 0 <= self.hue <= 180):
            raise ValueError(
                "PhotometricDistortion.brightness must not be negative and hue lie in [0, 180], got "
                f"{self.brightness} and {self.hue}"
            )


@dataclass(frozen=True)
class Colours:
    """One choice of what to do with the colours of an image, done in this order; the defaults change nothing.

    Attributes:
        brightness: added to all channels.
        contrast: factor of all channels.
        saturation: factor of the saturation.
        hue: added to the hue, degrees.
        late_contrast: factor of all channels.
        channels: which channel each one becomes.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    late_contrast: float = 1.0
    channels: tuple[int, ...] = (0, 1, 2)


def draw_colours(generator: np.random.Generator, ranges: PhotometricDistortion) -> Colours:
    """Draw each change with a probability of one half; of the two places for the contrast one is drawn first."""

    def uniform(low: float, high: float, neutral: float) -> float:
        return generator.uniform(low, high) if generator.random() < 0.5 else neutral

    brightness = uniform(-ranges.brightness, ranges.brightness, 0.0)
    late, contrast = generator.random() < 0.5, uniform(*ranges.contrast, 1.0)
    saturation = uniform(*ranges.saturation, 1.0)
    hue = uniform(-ranges.hue, ranges.hue, 0.0)
    channels = generator.permutation(3) if generator.random() < 0.5 else range(3)
    contrasts = (1.0, contrast) if late else (contrast, 1.0)
    return Colours(brightness, contrasts[0], saturation, hue, contrasts[1], tuple(int(c) for c in channels))


def change_colours(pixels: NDArray[Any], colours: Colours) -> NDArray[np.float32]:
    """Change the colours of an image; nothing is clipped, as in VAD: values leave 0 to 255.

    Args:
        pixels: (h, w, 3) RGB, 0 to 255.
        colours: what to do.

    Returns:
        (h, w, 3).
    """
    values = pixels.astype(np.float32)
    values += colours.brightness
    values *= colours.contrast
    hue, saturation, value = cv2.split(cv2.cvtColor(values, cv2.COLOR_RGB2HSV))
    hsv = cv2.merge([hue + colours.hue, saturation * colours.saturation, value])  # hues may leave 0 to 360
    planes = cv2.split(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))
    changed = cv2.merge([planes[channel] * colours.late_contrast for channel in colours.channels])
    return np.asarray(changed, np.float32)
