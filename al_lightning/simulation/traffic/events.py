"""Critical events: what is scripted for one scene so that it happens near the ego vehicle."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from al_lightning.simulation.traffic.motion import Traffic
from al_lightning.simulation.traffic.pedestrians import reaching_boxes
from al_lightning.simulation.traffic.population import Size, draw_size
from al_lightning.simulation.traffic.routes import Route
from al_lightning.simulation.world import TIME_STEP, Array

EGO_HALF = np.array([2.042, 0.925])
"""Half length and half width of the ego vehicle (metres)."""
EGO_CENTER = 1.4
"""The middle of its box lies so far ahead of the rear axle (metres)."""
FOLLOWING_SPEED = 5.0
FOLLOWING_TIME = 2.2
"""Hard braking begins when the ego vehicle is faster, and its gap takes less time (metres a second, seconds)."""
EVENTS = ("", "cut_in", "hard_braking", "jaywalking", "narrow_gap")


class Unsuitable(Exception):  # noqa: N818
    """The draw cannot host the scene; another one may."""


class Script(Protocol):
    """Bodies that follow a script instead of the traffic's rules.

    Attributes:
        actors: category and size of each body.
    """

    actors: tuple[tuple[str, Size], ...]

    def advance(self, step: int, traffic: Traffic) -> None:
        """Go on to a step, given the traffic before it; negative steps are the warm-up."""

    def poses(self) -> Array:
        """(m, 3) of the bodies."""

    def bodies(self) -> Array:
        """(m, 6) what the others see of them: x, y, yaw, half length, half width, speed."""

    def bounds(self, count: int) -> Array:
        """(2, count) lower and upper bound of the vehicles' accelerations."""


class Nothing:
    """No script."""

    actors: tuple[tuple[str, Size], ...] = ()

    def advance(self, step: int, traffic: Traffic) -> None:
        """Nothing to do."""

    def poses(self) -> Array:
        """No bodies (0, 3)."""
        return np.zeros((0, 3))

    def bodies(self) -> Array:
        """No bodies (0, 6)."""
        return np.zeros((0, 6))

    def bounds(self, count: int) -> Array:
        """All vehicles drive as they like."""
        return np.outer((-np.inf, np.inf), np.ones(count))


class HardBraking(Nothing):
    """The vehicle ahead, number 1 of the traffic, brakes hard and stands for a while."""

    def __init__(self, step: int, rng: np.random.Generator) -> None:
        self._earliest = step
        self._duration = int(rng.integers(22, 36))
        self._deceleration = float(rng.uniform(-6.8, -5.5))
        self._delay = int(rng.integers(5, 11))
        self._since: int | None = None

    def advance(self, step: int, traffic: Traffic) -> None:
        """Begin as soon as the ego vehicle follows fast and closely."""
        gap = traffic.s[1] - traffic.s[0] - traffic.front[0] - traffic.half[1, 0]
        close = traffic.v[0] > FOLLOWING_SPEED and gap < FOLLOWING_TIME * traffic.v[0]
        if self._since is not None:
            self._since += 1
        elif step >= self._earliest and close:
            self._since = 0

    def bounds(self, count: int) -> Array:
        """The vehicle ahead brakes, and the ego vehicle notices late."""
        result = super().bounds(count)
        if self._since is not None and self._since < self._duration:
            result[1, 1] = self._deceleration
            result[0, 0] = -0.5 if self._since < self._delay else -np.inf
        return result


class CutIn(Nothing):
    """A car that stands beside the ego vehicle's lane moves into it, closely ahead of the ego vehicle."""

    def __init__(self, route: Route, s: float, offset: float, rng: np.random.Generator) -> None:
        self.actors = (("vehicle.car", draw_size("vehicle.car", rng)),)
        self._route, self._start, self._offset = route, s, offset
        self._time = float(rng.uniform(1.8, 2.5))
        self._way = float(rng.uniform(8.0, 11.0))
        self._goal = float(rng.uniform(3.0, 4.5))
        self._driven, self._v, self._began = 0.0, 0.0, False

    def advance(self, step: int, traffic: Traffic) -> None:
        """Start when the ego vehicle is about two seconds away."""
        room = self._start - self.actors[0][1][1] / 2 - float(traffic.s[0] + traffic.front[0])
        self._began = self._began or room < traffic.v[0] * self._time
        if self._began:
            after = min(self._v + 2.3 * TIME_STEP, self._goal)
            self._driven += (self._v + after) / 2 * TIME_STEP
            self._v = after

    def poses(self) -> Array:
        """(1, 3)."""
        share = min(self._driven / self._way, 1.0)
        slope = -self._offset * 6 * share * (1 - share) / self._way
        pose = self._route.beside(self._start + self._driven, self._offset * (1 - share**2 * (3 - 2 * share)))
        pose[2] += np.arctan(slope)
        return pose[None]

    def bodies(self) -> Array:
        """The car, as wide as it is."""
        width, length, _ = self.actors[0][1]
        return np.array([[*self.poses()[0], length / 2, width / 2, self._v]])


class Jaywalking(Nothing):
    """Somebody steps on to the road ahead of the ego vehicle, away from any crossing."""

    def __init__(self, route: Route, s: float, offset: float, rng: np.random.Generator) -> None:
        self.actors = (("human.pedestrian.adult", draw_size("human.pedestrian.adult", rng)),)
        self._s = s
        self._start = route.beside(s, offset)
        self._start[2] += -np.pi / 2 * np.sign(offset)
        self._speed = float(rng.uniform(1.3, 2.2))
        self._way = abs(offset) * 2 + 3.0
        self._time = float(rng.uniform(1.5, 2.1))
        self._walked = 0.0
        self._began = False

    def advance(self, step: int, traffic: Traffic) -> None:
        """Start when the ego vehicle is about two seconds away."""
        room = self._s - float(traffic.s[0] + traffic.front[0])
        self._began = self._began or room < traffic.v[0] * self._time + 1.0
        if self._began:
            self._walked = min(self._walked + self._speed * TIME_STEP, self._way)

    def poses(self) -> Array:
        """(1, 3)."""
        x, y, yaw = self._start
        return np.array([[x + self._walked * np.cos(yaw), y + self._walked * np.sin(yaw), yaw]])

    def bodies(self) -> Array:
        """Seen as soon as they move."""
        if not self._began or self._walked >= self._way:
            return np.zeros((0, 6))
        width, length, _ = self.actors[0][1]
        return reaching_boxes(self.poses(), np.array([[length / 2, width / 2]]), np.array([self._speed]))


class NarrowGap(Nothing):
    """Vehicles stand half on the road, on both sides, and leave little room."""

    def __init__(self, route: Route, s: float, rng: np.random.Generator) -> None:
        right = str(rng.choice(["vehicle.truck", "vehicle.car"]))
        self.actors = tuple((category, draw_size(category, rng)) for category in (right, "vehicle.car"))
        poses = []
        for side, shift, turn, (_, size) in zip((-1, 1), (0.0, rng.uniform(-2, 2)), (0.0, np.pi), self.actors,
                                                strict=True):  # fmt: skip
            offset = side * (EGO_HALF[1] + rng.uniform(0.28, 0.45) + size[0] / 2)
            poses.append(route.beside(s + shift, offset) + np.array([0.0, 0.0, turn]))
        self._poses = np.array(poses)

    def poses(self) -> Array:
        """(2, 3)."""
        return self._poses

    def bodies(self) -> Array:
        """Both vehicles, at rest."""
        half = np.array([(size[1] / 2, size[0] / 2) for _, size in self.actors])
        return np.column_stack([self._poses, half, np.zeros(2)])
