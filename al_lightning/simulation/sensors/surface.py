"""The ground under places in the global frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.world import GROUND_CELL, Ground, Label, Paint

Array = NDArray[np.float64]


def ground_cells(ground: Ground, places: Array) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Label and paint of the ground at places; terrain without paint beyond the town.

    Args:
        ground: raster of the town.
        places: (..., 2) x, y in the global frame.

    Returns:
        Label (...) and paint (...), uint8.
    """
    cell = np.floor(places / GROUND_CELL).astype(np.int64)
    column, row = cell[..., 0], cell[..., 1]
    height, width = ground.label.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    row, column = np.where(inside, row, 0), np.where(inside, column, 0)
    label = np.where(inside, ground.label[row, column], np.uint8(Label.TERRAIN))
    return label, np.where(inside, ground.paint[row, column], np.uint8(Paint.NONE))
