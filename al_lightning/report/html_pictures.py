"""Pictures of a unit: camera montage, and voxels from above as PNG, x (forward) up and y (left) to the left."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from al_lightning.report.evidence import Arrays
from al_lightning.report.html_colors import Color, heat
from al_lightning.report.html_elements import element
from al_lightning.types import IGNORE

PIXELS = 200
"""Least size of a bird's-eye view."""

LEVELS = 64
"""Colours of a quantity."""


def image(data: bytes, kind: str, description: str, size: tuple[int, int], class_: str | None = None) -> str:
    """An image within the page.

    Args:
        data: the file.
        kind: its type, such as "png".
        description: for who cannot see it.
        size: (width, height) pixels.
        class_: of the element.
    """
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return element("img", src=source, alt=description, width=size[0], height=size[1], decoding="async", class_=class_)


def montage(arrays: Arrays, cameras: Sequence[str]) -> str:
    """The camera pictures."""
    data = arrays["montage"].tobytes()
    with Image.open(io.BytesIO(data)) as opened:
        size = opened.size
    return image(data, "jpeg", f"Pictures of {', '.join(cameras)}", size, "montage")


# --- voxels -----------------------------------------------------------------------------------------------------------


def from_above(classes: NDArray[np.uint8], free: int | None) -> NDArray[np.uint8]:
    """The highest voxel (X, Y, Z) of every column that is neither free nor ignored: (X, Y), `IGNORE` where none is."""
    solid = classes != IGNORE
    if free is not None:
        solid &= classes != free
    highest = classes.shape[2] - 1 - solid[..., ::-1].argmax(2)
    top = np.take_along_axis(classes, highest[..., None], 2)[..., 0]
    return np.where(solid.any(2), top, IGNORE).astype(np.uint8)


def class_map(top: NDArray[np.uint8], colors: Sequence[Color], description: str) -> str:
    """Classes (X, Y) seen from above; `IGNORE` is transparent."""
    return _bird(top, np.array(colors, dtype=np.uint8), description)


def heat_map(values: NDArray[np.float64], peak: float, description: str) -> str:
    """A quantity (X, Y) seen from above, from 0 to ``peak``; 0 is transparent."""
    level = np.clip(np.round(values / (peak or 1) * (LEVELS - 1)), 0, LEVELS - 1).astype(np.uint8)
    return _bird(np.where(values > 0, level, IGNORE).astype(np.uint8), heat(np.linspace(0, 1, LEVELS)), description)


def _bird(index: NDArray[np.uint8], palette: NDArray[np.uint8], description: str) -> str:
    picture = Image.fromarray(np.ascontiguousarray(index[::-1, ::-1]), "P")
    picture.putpalette(palette.tobytes().ljust(3 * 256, b"\0"))
    target = io.BytesIO()
    picture.save(target, "PNG", compress_level=9, transparency=IGNORE)
    width, height = picture.size
    factor = max(1, PIXELS // max(width, height))
    return image(target.getvalue(), "png", description, (width * factor, height * factor), "bird")
