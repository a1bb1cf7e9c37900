"""What stands still in a scene: parked vehicles, construction zones, bicycles and things on the sidewalks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from shapely import Polygon, prepare, union_all

from al_lightning.simulation.traffic import population
from al_lightning.simulation.traffic.obstacles import Obstacles
from al_lightning.simulation.traffic.population import Size, draw_category, draw_size
from al_lightning.simulation.world import Array, Path, Site, Town

LANE_CLEARANCE = 1.5
"""Nothing stands nearer than this to the middle of a lane (metres)."""
KERB_DISTANCE = 8.0
"""Parking places nearer than this to a lane are at its kerb; others are in car parks (metres)."""
KERB_PLACE, YARD_PLACE = (6.8, 2.4), (5.0, 2.6)
"""Length and width of the parking places at the kerb and in car parks (metres)."""
OVERHANG = 0.35
"""Parked vehicles reach at most so far beyond the parking places (metres)."""
LONG = 6.0
"""Longer vehicles may stand across several places of a car park (metres)."""
BARRIER_PITCH = 2.7
"""From one barrier of a row to the next (metres)."""
TRIES = 10
"""Places that are tried for a thing before it is left out."""


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
        obstacles: what of the town must be kept free of.
        rng: draws everything.
    """

    def __init__(self, town: Town, way: Array, obstacles: Obstacles, rng: np.random.Generator) -> None:
        self._town, self._obstacles, self._rng = town, obstacles, rng
        self._way = cKDTree(way)
        self._lanes = cKDTree(np.concatenate([lane.path.points for lane in town.lanes]))
        self.placed: list[Standing] = []

    def near(self, points: Array, reach: float) -> NDArray[np.bool_]:
        """Which points (M, 2) lie within ``reach`` of the way."""
        return np.asarray(self._way.query(points)[0] < reach)

    def outlines(self) -> tuple[Array, Array]:
        """Poses (M, 3) and sizes (M, 3) of all that stands so far."""
        poses = np.array([thing.pose for thing in self.placed]).reshape(-1, 3)
        return poses, np.array([thing.size for thing in self.placed]).reshape(-1, 3)

    def place(self, category: str, pose: Array, attribute: str = "", size: Size | None = None) -> bool:
        """Set something down, unless it would stand on a lane or in a solid of the town; tells whether it stands."""
        size = size or draw_size(category, self._rng)
        free = self.is_free(pose, size)
        if free:
            x, y, yaw = (float(value) for value in pose)
            self.placed.append(Standing(category, size, (x, y, yaw), attribute, int(self._rng.integers(2**31))))
        return free

    def is_free(self, pose: Array, size: Size) -> bool:
        """Whether a box at a pose (3,) keeps off the lanes and the solids of the town."""
        cos, sin = np.cos(pose[2]), np.sin(pose[2])
        along, across = np.meshgrid(np.linspace(-0.5, 0.5, 5) * size[1], np.linspace(-0.5, 0.5, 3) * size[0])
        x = pose[0] + along * cos - across * sin
        y = pose[1] + along * sin + across * cos
        off_lanes = self._lanes.query(np.stack([x.ravel(), y.ravel()], axis=-1))[0].min() > LANE_CLEARANCE
        return bool(off_lanes) and not self._obstacles.touch(np.asarray(pose, dtype=np.float64), size)

    def park(self) -> None:
        """Fill a share of the parking places."""
        if not len(self._town.parking):
            return
        rng, places = self._rng, self._town.parking
        near = self.near(places[:, :2], population.TRACK_RANGE + 5)
        taken = near & (rng.random(len(places)) < rng.uniform(*population.PARKED_OCCUPANCY))
        yard = rng.random() < population.TRAILER_YARD
        shares = {**population.PARKED_SHARES, "vehicle.trailer": population.TRAILER_SHARE if yard else 0.0}
        in_yard = self._lanes.query(places[:, :2])[0] > KERB_DISTANCE
        area = parking_area(places[near], in_yard[near])
        for place, off_road in zip(places[taken], in_yard[taken], strict=True):
            turn = np.pi * rng.integers(2) if off_road else 0.0
            pose = place + np.clip(rng.normal(0, (0.12, 0.12, 0.02)), -0.16, 0.16) + np.array([0.0, 0.0, turn])
            if not self._park(draw_category(shares, rng), pose, area):
                self._park("vehicle.car", pose, area)

    def _park(self, category: str, pose: Array, area: Polygon) -> bool:
        """Park along the place or, if too long for it, across several; tells whether there is room."""
        size = draw_size(category, self._rng)
        attribute = "cycle.without_rider" if category in CYCLES else "vehicle.parked"
        poses = [pose + np.array([0.0, 0.0, turn]) for turn in ((0.0, np.pi / 2) if size[1] > LONG else (0.0,))]
        fitting = [at for at in poses if area.contains(Polygon(rectangles(at[None], size[1], size[0])[0]))]
        return bool(fitting) and self.place(category, fitting[0], attribute, size)

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
        for along in np.arange(-half_length + 1.5, half_length - 1.4, BARRIER_PITCH):
            for across in (side, -side) if enclosed else (side,):
                turn = np.pi / 2 + rng.normal(0, 0.05)  # the long side of a barrier is its width
                self._at(site, "movable_object.barrier", along, across * (half_width - 0.4), turn)
        if not enclosed and rng.random() < population.SITE_CONES:
            self._add_cones(site, side)
        for _ in range(rng.integers(0, 4)):
            spot = rng.uniform(-0.45, 0.45, 2) * (site.length, site.width)
            worker = "human.pedestrian.construction_worker"
            self._at(site, worker, spot[0], spot[1], rng.uniform(-3, 3), "pedestrian.standing")
        for _ in range(rng.integers(0, 3)):
            spot = rng.uniform(-0.45, 0.45, 2) * (site.length, site.width)
            category = rng.choice(["movable_object.debris", "movable_object.pushable_pullable"])
            self._at(site, str(category), spot[0], spot[1], rng.uniform(-3, 3))

    def _add_cones(self, site: Site, side: float) -> None:
        """Along the open side of a site and over its ends."""
        half_length, half_width, gap = site.length / 2, site.width / 2 - 0.3, self._rng.uniform(0.65, 1.0)
        for along in np.arange(-half_length, half_length + 0.1, gap):
            self._at(site, "movable_object.trafficcone", along, -side * half_width, 0.0)
        for across in np.arange(gap - half_width, half_width - 0.5, gap):
            for end in (-half_length, half_length):
                self._at(site, "movable_object.trafficcone", end, -side * across, 0.0)

    def _at(self, site: Site, category: str, along: float, across: float, turn: float, attribute: str = "") -> None:
        cos, sin = np.cos(site.yaw), np.sin(site.yaw)
        x, y = site.x + along * cos - across * sin, site.y + along * sin + across * cos
        self.place(category, np.array([x, y, site.yaw + turn]), attribute)

    def furnish_sidewalks(self) -> None:
        """Cycles, racks and loose things beside the way of the pedestrians, in some scenes each."""
        rng = self._rng
        near = [path for path in self._town.sidewalks if self.near(path.points, 30.0).any()]
        if not near:
            return
        for category, share in (
            ("vehicle.bicycle", population.PARKED_BICYCLES),
            ("vehicle.motorcycle", population.PARKED_MOTORCYCLES),
        ):
            if rng.random() < share:
                for _ in range(rng.integers(3, 9)):
                    self._lay(category, near, "cycle.without_rider")
        if rng.random() < population.BICYCLE_RACKS:
            self._lay("static_object.bicycle_rack", near)
        if rng.random() < population.LOOSE_OBJECTS:
            for _ in range(rng.integers(1, 4)):
                category = rng.choice(["movable_object.pushable_pullable", "movable_object.debris"])
                self._lay(str(category), near)
        if rng.random() < population.LOOSE_BARRIERS:
            self._barrier_row(near)

    def _lay(self, category: str, paths: list[Path], attribute: str = "") -> None:
        """Set something down beside one of the paths, at the first free place that is drawn."""
        for _ in range(TRIES):
            path, s, offset = self._spot(paths)
            if self.place(category, beside(path, s, offset), attribute):
                return

    def _spot(self, paths: list[Path], offset: float = 1.1) -> tuple[Path, float, float]:
        """A path, an arc length near the way, and an offset to either side."""
        for _ in range(20):
            path = paths[self._rng.integers(len(paths))]
            s = float(self._rng.uniform(1.0, path.length - 1.0))
            if self.near(path.pose(s)[None, :2], 35.0)[0]:
                break
        return path, s, float(self._rng.choice([-1.0, 1.0])) * offset

    def _barrier_row(self, paths: list[Path]) -> None:
        """Barriers along a path, up to its end; of several rows that are drawn, the one with the most room."""
        category, rows = "movable_object.barrier", []
        across = np.array([0.0, 0.0, np.pi / 2])  # the long side of a barrier is its width
        for _ in range(TRIES):
            path, s, offset = self._spot(paths)
            ends = min(s + BARRIER_PITCH * self._rng.integers(8, 21), path.length)
            poses = [beside(path, float(at), offset) + across for at in np.arange(s, ends, BARRIER_PITCH)]
            rows.append([pose for pose in poses if self.is_free(pose, population.SIZES[category])])
        for pose in max(rows, key=len):
            self.place(category, pose)


def beside(path: Path, s: float, offset: float) -> Array:
    """Pose (3,) at so much to the left of a path."""
    x, y, yaw = path.pose(s)
    return np.array([x - offset * np.sin(yaw), y + offset * np.cos(yaw), yaw])


def rectangles(poses: Array, length: float, width: float) -> Array:
    """Corners (M, 4, 2) of rectangles about poses (M, 3)."""
    along = np.stack([np.cos(poses[:, 2]), np.sin(poses[:, 2])], axis=-1)[:, None] * length / 2
    across = np.stack([-np.sin(poses[:, 2]), np.cos(poses[:, 2])], axis=-1)[:, None] * width / 2
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])[None, :, :, None]
    corners: Array = poses[:, None, :2] + signs[:, :, 0] * along + signs[:, :, 1] * across
    return corners


def parking_area(places: Array, in_yard: NDArray[np.bool_]) -> Polygon:
    """Where parked vehicles may stand: all places (M, 3), in car parks or at the kerb, and some centimetres more."""
    outlines = [*rectangles(places[in_yard], *YARD_PLACE), *rectangles(places[~in_yard], *KERB_PLACE)]
    area = union_all([Polygon(corners) for corners in outlines]).buffer(OVERHANG, join_style="mitre")
    prepare(area)
    return area


CYCLES = ("vehicle.bicycle", "vehicle.motorcycle")
