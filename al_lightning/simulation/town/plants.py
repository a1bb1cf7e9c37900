"""Trees, hedges and bushes."""

from __future__ import annotations

import numpy as np

from al_lightning.simulation.world import Label, Shape, SolidsBuilder, Texture

BARK = (92, 72, 54)
GREENS = ((58, 92, 44), (76, 108, 50), (92, 118, 58), (52, 84, 52), (108, 120, 60))


def add_tree(solids: SolidsBuilder, x: float, y: float, crown: float, rng: np.random.Generator) -> None:
    """A tree whose crown reaches ``crown`` metres from its trunk."""
    tall = float(rng.uniform(1.0, 1.5)) * max(crown, 1.3)
    base = float(rng.uniform(1.6, 2.6))
    trunk = base + 0.6 * tall
    width = 0.09 + 0.05 * crown
    solids.add(
        Shape.CYLINDER, (x, y, trunk / 2), (width, width, trunk / 2), Label.VEGETATION, BARK, texture=Texture.BARK
    )
    solids.add(
        Shape.ELLIPSOID,
        (x, y, base + tall),
        (crown, crown, tall),
        Label.VEGETATION,
        GREENS[rng.integers(len(GREENS))],
        texture=Texture.FOLIAGE,
        seed=int(rng.integers(2**31)),
    )


def add_bush(solids: SolidsBuilder, x: float, y: float, radius: float, rng: np.random.Generator) -> None:
    """A bush on the ground."""
    half = float(rng.uniform(0.6, 1.0)) * radius
    solids.add(
        Shape.ELLIPSOID,
        (x, y, 0.8 * half),
        (radius, radius, half),
        Label.VEGETATION,
        GREENS[rng.integers(len(GREENS))],
        texture=Texture.FOLIAGE,
        seed=int(rng.integers(2**31)),
    )


def add_hedge(solids: SolidsBuilder, x: float, y: float, yaw: float, length: float, rng: np.random.Generator) -> None:
    """A straight piece of hedge about its middle."""
    tall = float(rng.uniform(0.5, 0.8))
    solids.add(
        Shape.BOX,
        (x, y, tall),
        (length / 2, 0.4, tall),
        Label.VEGETATION,
        GREENS[rng.integers(len(GREENS))],
        yaw=yaw,
        texture=Texture.FOLIAGE,
        seed=int(rng.integers(2**31)),
    )
