"""How the ground looks from nearby: asphalt, slabs, pavers, grass and what is painted on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.compiled import compiled
from al_lightning.simulation.sensors.light import Rgb
from al_lightning.simulation.sensors.noise import hashed, share, smooth
from al_lightning.simulation.world import GROUND_CELL, Label, Paint

Cells = NDArray[np.uint8]

_ROAD, _OTHER_FLAT, _SIDEWALK, _TERRAIN = (
    int(label) for label in (Label.DRIVEABLE_SURFACE, Label.OTHER_FLAT, Label.SIDEWALK, Label.TERRAIN)
)
_YELLOW = int(Paint.YELLOW)


@compiled
def cell(raster: Cells, x: float, y: float, outside: int) -> int:
    """The value of a raster of the ground at a place in the global frame."""
    i, j = int(np.floor(y / GROUND_CELL)), int(np.floor(x / GROUND_CELL))
    if 0 <= i < raster.shape[0] and 0 <= j < raster.shape[1]:
        return int(raster[i, j])
    return outside


@compiled
def ground_color(labels: Cells, x: float, y: float, blur: float) -> Rgb:
    """Albedo of the unpainted ground.

    Args:
        labels: raster of the labels.
        x: in the global frame, as is y.
        y: see x.
        blur: width of what one pixel shows (metres); finer detail fades.

    Returns:
        Linear RGB.
    """
    label = _label_nearby(labels, x, y) if blur < 0.3 else cell(labels, x, y, _TERRAIN)
    if label == _ROAD:
        return _asphalt(x, y, blur)
    if label == _SIDEWALK:
        return _slabs(labels, x, y, blur)
    if label == _OTHER_FLAT:
        return _pavers(x, y, blur)
    return _grass(x, y, blur)


@compiled
def _label_nearby(labels: Cells, x: float, y: float) -> int:
    """The label that outweighs the others between the four nearest cells: slanted borders without steps."""
    u, v = x / GROUND_CELL - 0.5, y / GROUND_CELL - 0.5
    u, v = u - np.floor(u), v - np.floor(v)
    left, right = x - u * GROUND_CELL, x + (1.0 - u) * GROUND_CELL
    below, above = y - v * GROUND_CELL, y + (1.0 - v) * GROUND_CELL
    first, second = cell(labels, left, below, _TERRAIN), cell(labels, right, below, _TERRAIN)
    third, fourth = cell(labels, left, above, _TERRAIN), cell(labels, right, above, _TERRAIN)
    best, most = first, 0.0
    for label in (first, second, third, fourth):
        weight = (first == label) * (1.0 - u) * (1.0 - v) + (second == label) * u * (1.0 - v)
        weight += (third == label) * (1.0 - u) * v + (fourth == label) * u * v
        if weight > most:
            best, most = label, weight
    return best


@compiled
def paint_nearby(paints: Cells, x: float, y: float) -> tuple[float, int]:
    """How much of the four nearest cells is painted, with contrast, and with what."""
    u, v = x / GROUND_CELL - 0.5, y / GROUND_CELL - 0.5
    u, v = u - np.floor(u), v - np.floor(v)
    left, right = x - u * GROUND_CELL, x + (1.0 - u) * GROUND_CELL
    below, above = y - v * GROUND_CELL, y + (1.0 - v) * GROUND_CELL
    first, second = cell(paints, left, below, 0), cell(paints, right, below, 0)
    third, fourth = cell(paints, left, above, 0), cell(paints, right, above, 0)
    coat = (first > 0) * (1.0 - u) * (1.0 - v) + (second > 0) * u * (1.0 - v)
    coat += (third > 0) * (1.0 - u) * v + (fourth > 0) * u * v
    return share(coat, 0.3, 0.6), max(first, second, third, fourth)


@compiled
def _detail(x: float, y: float, size: float, blur: float, seed: int) -> float:
    """Noise around 0, from -1 to 1, that fades where a pixel covers more than its size."""
    fade = 1.0 - share(blur, 0.4 * size, 1.6 * size)
    return fade * (2.0 * smooth(x / size, y / size, seed) - 1.0) if fade > 0.0 else 0.0


@compiled
def _asphalt(x: float, y: float, blur: float) -> Rgb:
    tone = (
        1.0
        + 0.22 * _detail(x, y, 0.07, blur, 21)
        + 0.10 * _detail(x, y, 0.9, blur, 22)
        + 0.14 * _detail(x, y, 7.0, blur, 23)
    )
    patch = hashed(int(np.floor(x / 9.0)), int(np.floor(y / 7.0)), 24)
    if patch < 0.12:  # mended
        tone *= 0.72 + patch
    if blur < 0.25:
        seam = abs(smooth(x / 3.1, y / 3.1, 25) - 0.5) + 0.03 * _detail(x, y, 0.35, blur, 26)
        if abs(seam) < 0.006:
            tone *= 0.55
    return 0.135 * tone, 0.135 * tone, 0.142 * tone


@compiled
def _slabs(labels: Cells, x: float, y: float, blur: float) -> Rgb:
    tone = 1.0 + 0.08 * _detail(x, y, 0.1, blur, 31) + 0.12 * _detail(x, y, 4.0, blur, 32)
    u, v = x / 0.9, y / 0.9
    fade = 1.0 - share(blur, 0.15, 0.7)
    if fade > 0.0:
        tone *= 1.0 + fade * 0.22 * (hashed(int(np.floor(u)), int(np.floor(v)), 33) - 0.5)
        joint = min(u - np.floor(u), 1.0 - (u - np.floor(u)), v - np.floor(v), 1.0 - (v - np.floor(v)))
        if joint < 0.035:
            tone *= 1.0 - 0.45 * fade
    if blur < 0.5:
        for k in range(4):
            dx, dy = (0.25 if k == 0 else -0.25 if k == 1 else 0.0), (0.25 if k == 2 else -0.25 if k == 3 else 0.0)
            if cell(labels, x + dx, y + dy, _TERRAIN) == _ROAD:  # the kerb
                return 0.46 * tone, 0.46 * tone, 0.45 * tone
    return 0.30 * tone, 0.285 * tone, 0.265 * tone


@compiled
def _pavers(x: float, y: float, blur: float) -> Rgb:
    tone = 1.0 + 0.12 * _detail(x, y, 3.0, blur, 41)
    row = np.floor(y / 0.3)
    u = x / 0.6 + 0.5 * (row % 2.0)
    fade = 1.0 - share(blur, 0.1, 0.4)
    if fade > 0.0:
        tone *= 1.0 + fade * 0.3 * (hashed(int(np.floor(u)), int(row), 42) - 0.5)
        if min(u - np.floor(u), 2.0 * (y / 0.3 - row)) < 0.08:
            tone *= 1.0 - 0.4 * fade
    return 0.26 * tone, 0.17 * tone, 0.13 * tone


@compiled
def _grass(x: float, y: float, blur: float) -> Rgb:
    tone = 1.0 + 0.4 * _detail(x, y, 0.12, blur, 51) + 0.2 * _detail(x, y, 0.6, blur, 52)
    dry = share(smooth(x / 6.0, y / 6.0, 53) + 0.25 * _detail(x, y, 0.8, blur, 54), 0.45, 0.8)
    return (0.085 + 0.11 * dry) * tone, (0.15 + 0.03 * dry) * tone, (0.04 + 0.04 * dry) * tone


@compiled
def paint_color(paint: int) -> Rgb:
    """Albedo of fresh paint."""
    if paint == _YELLOW:
        return 0.72, 0.47, 0.05
    return 0.72, 0.72, 0.70


@compiled
def paint_wear(x: float, y: float, blur: float) -> float:
    """How much of a coat of paint is left."""
    return 0.92 - 0.3 * share(smooth(x / 0.5, y / 0.5, 61) + 0.3 * _detail(x, y, 0.1, blur, 62), 0.55, 0.85)
