"""What stands still in a scene: parked vehicles, construction zones, bicycles and things on the sidewalks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from al_lightning.simulation.traffic import population
from al_lightning.simulation.traffic.population import Size, draw_category, draw_size
from al_lightning.simulation.world import Array, Path, Site, Town

LANE_CLEARANCE = 1.5
"""Nothing stands nearer than this to the middle of a lane (metres)."""
KERB_DISTANCE = 8.0
"""Parking places nearer than this to a lane are at its kerb; others are in car parks (metres)."""


@dataclass(frozen=True)
class Standing:
    """Something that never moves in a scene.

    Attributes:
        category: one of nuScenes.
        size: width, length, height.
        pose: x, y, yaw.
        attribute: one of nuScenes, or ``""``.
        seed: of the body.
    """

    category: str
    size: Size
    pose: tuple[float, float, float]
    attribute: str
    seed: int


class Furnisher:
    """Sets things down around a way, off the lanes.

    Args:
        town: the map.
        way: (Q, 2) places that the ego vehicle is expected to pass.
        rng: draws everything.
    """

    def __init__(self, town: Town, way: Array, rng: np.random.Generator) -> None:
        self._town, self._rng = town, rng
        self._way = cKDTree(way)
        self._lanes = cKDTree(np.concatenate([lane.path.points for lane in town.lanes]))
        self.placed: list[Standing] = []

    def near(self, points: Array, reach: float) -> NDArray[np.bool_]:
        """Which points (M, 2) lie within ``reach`` of the way."""
        return np.asarray(self._way.query(points)[0] < reach)

    def place(self, category: str, pose: Array, attribute: str = "", size: Size | None = None) -> None:
        """Set something down, unless it would stand on a lane."""
        size = size or draw_size(category, self._rng)
        cos, sin = np.cos(pose[2]), np.sin(pose[2])
        along, across = np.meshgrid(np.linspace(-0.5, 0.5, 5) * size[1], np.linspace(-0.5, 0.5, 3) * size[0])
        x = pose[0] + along * cos - across * sin
        y = pose[1] + along * sin + across * cos
        if self._lanes.query(np.stack([x.ravel(), y.ravel()], axis=-1))[0].min() > LANE_CLEARANCE:
            pose = np.asarray(pose, dtype=np.float64)
            self.placed.append(
                Standing(category, size, (float(pose[0]), float(pose[1]), float(pose[2])), attribute, self._seed())
            )

    def _seed(self) -> int:
        return int(self._rng.integers(2**31))

    def park(self) -> None:
        """Fill a share of the parking places."""
        if not len(self._town.parking):
            return
        rng, places = self._rng, self._town.parking
        taken = self.near(places[:, :2], population.TRACK_RANGE + 5) & (
            rng.random(len(places)) < rng.uniform(*population.PARKED_OCCUPANCY)
        )
        yard = rng.random() < population.TRAILER_YARD
        shares = {**population.PARKED_SHARES, "vehicle.trailer": population.TRAILER_SHARE if yard else 0.0}
        in_yard = self._lanes.query(places[:, :2])[0] > KERB_DISTANCE
        for place, off_road in zip(places[taken], in_yard[taken], strict=True):
            turn = np.pi * rng.integers(2) if off_road else 0.0
            pose = place + rng.normal(0, (0.12, 0.12, 0.02)) + np.array([0.0, 0.0, turn])
            category = draw_category(shares, rng)
            self.place(category, pose, "cycle.without_rider" if category in CYCLES else "vehicle.parked")

    def build_sites(self) -> None:
        """Set up some of the construction zones, and rarely a row of barriers without one."""
        rng = self._rng
        for site in self._town.sites:
            if self.near(np.array([[site.x, site.y]]), population.TRACK_RANGE)[0] and rng.random() < (
                population.SITE_ACTIVE
            ):
                self._build_site(site)

    def _build_site(self, site: Site) -> None:
        rng = self._rng
        half_length, half_width = site.length / 2, site.width / 2
        side = float(rng.choice([-1.0, 1.0]))
        enclosed = rng.random() < population.SITE_ENCLOSED
        if rng.random() < population.SITE_VEHICLE:
            turn = rng.choice([0.0, np.pi]) + rng.normal(0, 0.03)
            self._at(site, "vehicle.construction", rng.uniform(-0.2, 0.2) * site.length, 0.0, turn, "vehicle.parked")
        for along in np.arange(-half_length + 1.5, half_length - 1.4, 2.7):
            for across in (side, -side) if enclosed else (side,):
                turn = np.pi / 2 + rng.normal(0, 0.05)  # the long side of a barrier is its width
                self._at(site, "movable_object.barrier", along, across * (half_width - 0.4), turn)
        if not enclosed and rng.random() < population.SITE_CONES:
            for along in np.arange(-half_length, half_length + 0.1, rng.uniform(0.9, 1.8)):
                self._at(site, "movable_object.trafficcone", along, -side * (half_width - 0.3), 0.0)
        for _ in range(rng.integers(0, 4)):
            spot = rng.uniform(-0.45, 0.45, 2) * (site.length, site.width)
            worker = "human.pedestrian.construction_worker"
            self._at(site, worker, spot[0], spot[1], rng.uniform(-3, 3), "pedestrian.standing")
        for _ in range(rng.integers(0, 3)):
            spot = rng.uniform(-0.45, 0.45, 2) * (site.length, site.width)
            category = rng.choice(["movable_object.debris", "movable_object.pushable_pullable"])
            self._at(site, str(category), spot[0], spot[1], rng.uniform(-3, 3))

    def _at(self, site: Site, category: str, along: float, across: float, turn: float, attribute: str = "") -> None:
        cos, sin = np.cos(site.yaw), np.sin(site.yaw)
        x, y = site.x + along * cos - across * sin, site.y + along * sin + across * cos
        self.place(category, np.array([x, y, site.yaw + turn]), attribute)

    def furnish_sidewalks(self) -> None:
        """Bicycles, racks and loose things beside the way of the pedestrians, in some scenes each."""
        rng = self._rng
        near = [path for path in self._town.sidewalks if self.near(path.points, 30.0).any()]
        if not near:
            return
        if rng.random() < population.PARKED_BICYCLES:
            for _ in range(rng.integers(3, 9)):
                self.place("vehicle.bicycle", self._spot(near), "cycle.without_rider")
        if rng.random() < population.BICYCLE_RACKS:
            self.place("static_object.bicycle_rack", self._spot(near))
        if rng.random() < population.LOOSE_OBJECTS:
            for _ in range(rng.integers(1, 4)):
                category = rng.choice(["movable_object.pushable_pullable", "movable_object.debris"])
                self.place(str(category), self._spot(near))
        if rng.random() < population.LOOSE_BARRIERS:
            self._barrier_row(near)

    def _spot(self, paths: list[Path], offset: float = 1.1) -> Array:
        """A pose beside one of the paths, near the way."""
        for _ in range(20):
            path = paths[self._rng.integers(len(paths))]
            x, y, yaw = path.pose(self._rng.uniform(1.0, path.length - 1.0))
            if self.near(np.array([[x, y]]), 35.0)[0]:
                break
        side = float(self._rng.choice([-1.0, 1.0])) * offset
        return np.array([x - side * np.sin(yaw), y + side * np.cos(yaw), yaw])

    def _barrier_row(self, paths: list[Path]) -> None:
        x, y, yaw = self._spot(paths)
        for k in range(self._rng.integers(8, 21)):
            pose = np.array([x + 2.7 * k * np.cos(yaw), y + 2.7 * k * np.sin(yaw), yaw + np.pi / 2])
            self.place("movable_object.barrier", pose)


CYCLES = ("vehicle.bicycle", "vehicle.motorcycle")
