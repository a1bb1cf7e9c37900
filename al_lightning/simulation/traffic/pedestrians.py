"""People on foot: along the sidewalks, standing about, and over the crossings when a gap is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.traffic.motion import poses_along
from al_lightning.simulation.traffic.population import Size
from al_lightning.simulation.traffic.routes import SPACING
from al_lightning.simulation.world import TIME_STEP, Array

ANTICIPATION = 1.0
"""Drivers expect somebody on the road to walk on for so long (seconds)."""


@dataclass(frozen=True)
class Walk:
    """Somebody, and the way before them.

    Attributes:
        category: one of nuScenes.
        size: width, length, height.
        points: (K, 3) x, y, yaw every `SPACING`.
        start: arc length at the beginning.
        speed: metres a second, 0 for those who stay.
        still: attribute while not moving.
        moving: attribute while moving.
        seed: of the body.
        kerb: arc length where the crossing begins, infinite without one.
        beyond: arc length where it ends.
        crossing: its number, 0 without one.
    """

    category: str
    size: Size
    points: Array
    start: float
    speed: float
    still: str
    moving: str
    seed: int
    kerb: float = np.inf
    beyond: float = np.inf
    crossing: int = 0


class Crowd:
    """All walks of a scene, going on step by step.

    Args:
        walks: who walks.
    """

    def __init__(self, walks: Sequence[Walk]) -> None:
        self.walks = tuple(walks)
        longest = max([len(w.points) for w in walks], default=2)
        padded = [np.pad(w.points, ((0, longest - len(w.points)), (0, 0)), mode="edge") for w in walks]
        self._points = np.array(padded).reshape(-1, longest, 3)
        self._end = np.array([(len(w.points) - 1) * SPACING for w in walks])
        self._s = np.array([w.start for w in walks])
        self._speed = np.array([w.speed for w in walks])
        self._kerb = np.array([w.kerb for w in walks])
        self._beyond = np.array([w.beyond for w in walks])
        self._crossing = np.array([w.crossing for w in walks], np.int64)
        self._half = np.array([(w.size[1] / 2, w.size[0] / 2) for w in walks]).reshape(-1, 2)
        self.poses = poses_along(self._points, self._s, np.zeros(len(walks)))
        self.velocity = np.zeros(len(walks))

    def _on_road(self) -> NDArray[np.bool_]:
        on_road: NDArray[np.bool_] = (self._kerb < self._s) & (self._s < self._beyond)
        return on_road

    def crossers(self) -> Array:
        """(w, 4) number of the crossing, x, y, yaw of those who cross."""
        chosen = self._on_road()
        return np.column_stack([self._crossing[chosen], self.poses[chosen]])

    def bodies(self) -> Array:
        """(m, 6) those on the road as boxes that reach as far as they may walk soon."""
        chosen = self._on_road()
        return reaching_boxes(self.poses[chosen], self._half[chosen], self.velocity[chosen])

    def step(self, busy: NDArray[np.bool_]) -> None:
        """Walk on by `TIME_STEP`; whoever comes to a crossing that is busy (crossings,) waits."""
        after = np.minimum(self._s + self._speed * TIME_STEP, self._end)
        wait = (self._s <= self._kerb) & (after > self._kerb)
        wait[wait] = busy[self._crossing[wait]]
        after = np.where(wait, self._s, after)
        self.velocity = (after - self._s) / TIME_STEP
        self._s = after
        self.poses = poses_along(self._points, self._s, np.zeros(len(self.walks)))


def reaching_boxes(poses: Array, half: Array, speed: Array) -> Array:
    """Bodies (m, 6) x, y, yaw, half length, half width, speed of walkers, drawn out by `ANTICIPATION`."""
    reach = speed * ANTICIPATION / 2
    x = poses[:, 0] + reach * np.cos(poses[:, 2])
    y = poses[:, 1] + reach * np.sin(poses[:, 2])
    return np.column_stack([x, y, poses[:, 2], half[:, 0] + reach, half[:, 1], np.zeros(len(poses))])
