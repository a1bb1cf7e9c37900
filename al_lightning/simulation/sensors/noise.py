"""Repeatable noise over the plane: the same number for the same place and seed, whatever the order."""

from __future__ import annotations

import numpy as np

from al_lightning.simulation.compiled import compiled


@compiled
def hashed(i: int, j: int, seed: int) -> float:
    """A number from 0 to 1 for a point of the integer lattice."""
    mixed = (i * 374761393 + j * 668265263 + seed * 2246822519) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 1274126177) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 16)) * 668265263) & 0xFFFFFFFF
    return ((mixed ^ (mixed >> 15)) & 0xFFFFFF) / 16777215.0


@compiled
def smooth(x: float, y: float, seed: int) -> float:
    """A number from 0 to 1 that varies smoothly over distances of about 1."""
    i, j = int(np.floor(x)), int(np.floor(y))
    u, v = x - i, y - j
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)
    lower = hashed(i, j, seed) * (1.0 - u) + hashed(i + 1, j, seed) * u
    upper = hashed(i, j + 1, seed) * (1.0 - u) + hashed(i + 1, j + 1, seed) * u
    return lower * (1.0 - v) + upper * v


@compiled
def share(value: float, low: float, high: float) -> float:
    """How far a value is on its way from one bound to the other, from 0 to 1."""
    return min(max((value - low) / (high - low), 0.0), 1.0)
