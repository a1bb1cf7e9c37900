"""Colours of classes and of quantities.

Known classes have the colours that driving data sets are usually drawn in; others get evenly spread hues.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]

KNOWN: dict[str, Color] = {
    "others": (110, 110, 118), "other": (110, 110, 118), "barrier": (222, 120, 50), "bicycle": (214, 72, 150),
    "bus": (240, 200, 70), "car": (46, 124, 214), "construction_vehicle": (30, 170, 190), "motorcycle": (166, 60, 200),
    "pedestrian": (220, 50, 47), "traffic_cone": (255, 150, 110), "trailer": (140, 84, 60), "truck": (120, 80, 220),
    "driveable_surface": (150, 140, 160), "other_flat": (170, 120, 130), "sidewalk": (118, 88, 118),
    "terrain": (150, 190, 100), "manmade": (196, 176, 140), "vegetation": (52, 140, 70),
    "free": (200, 205, 210), "empty": (200, 205, 210),
    # SemanticKITTI's names
    "other-vehicle": (30, 170, 190), "person": (220, 50, 47), "bicyclist": (255, 100, 180),
    "motorcyclist": (190, 110, 220), "road": (150, 140, 160), "parking": (200, 150, 190),
    "other-ground": (170, 120, 130), "building": (196, 176, 140), "fence": (222, 120, 50), "trunk": (120, 78, 40),
    "pole": (230, 210, 120), "traffic-sign": (240, 60, 60),
}  # fmt: skip

HEAT = np.array([(68, 20, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=np.float64)
"""Low to high, as in Matplotlib's viridis: legible on light and dark, and without colour vision."""


def class_colors(names: Sequence[str]) -> list[Color]:
    """A colour for each class."""
    return [KNOWN.get(name.replace(" ", "_"), _spread(i, len(names))) for i, name in enumerate(names)]


def _spread(position: int, count: int) -> Color:
    red, green, blue = colorsys.hls_to_rgb(position / max(count, 1), 0.52, 0.5)
    return round(255 * red), round(255 * green), round(255 * blue)


def css(color: Color) -> str:
    """A colour in a style sheet."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def heat(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours (..., 3) of values (...) between 0 and 1."""
    place = np.clip(values, 0, 1) * (len(HEAT) - 1)
    low = np.minimum(place.astype(int), len(HEAT) - 2)
    share = (place - low)[..., None]
    colors: NDArray[np.uint8] = np.round(HEAT[low] * (1 - share) + HEAT[low + 1] * share).astype(np.uint8)
    return colors
