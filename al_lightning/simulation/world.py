"""The vocabulary of the simulated world: what the parts of `simulation` hand to each other.

Units are metres, seconds and radians. The global frame of a town is that of its map: x right, y up, z up, the origin at
the lower left corner, and the ground at z = 0 everywhere. Yaw is counter-clockwise from +x. Shape letters: N solids,
P points of a polyline, T time steps, H W cells of a raster (row = y index from the bottom, column = x index).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import LineString, Polygon

Array = NDArray[np.float64]

TIME_STEP = 0.1
"""Seconds between two steps of the traffic simulation."""
KEYFRAME_STEPS = 5
"""Steps from one keyframe to the next: 2 Hz, as in nuScenes."""
GROUND_CELL = 0.2
"""Edge of a cell of the ground raster (metres)."""


class Label(IntEnum):
    """Occ3D-nuScenes classes."""

    OTHERS = 0
    BARRIER = 1
    BICYCLE = 2
    BUS = 3
    CAR = 4
    CONSTRUCTION_VEHICLE = 5
    MOTORCYCLE = 6
    PEDESTRIAN = 7
    TRAFFIC_CONE = 8
    TRAILER = 9
    TRUCK = 10
    DRIVEABLE_SURFACE = 11
    OTHER_FLAT = 12
    SIDEWALK = 13
    TERRAIN = 14
    MANMADE = 15
    VEGETATION = 16
    FREE = 17


CATEGORY_LABELS: Mapping[str, Label] = {
    "vehicle.car": Label.CAR,
    "vehicle.truck": Label.TRUCK,
    "vehicle.bus.rigid": Label.BUS,
    "vehicle.bus.bendy": Label.BUS,
    "vehicle.trailer": Label.TRAILER,
    "vehicle.construction": Label.CONSTRUCTION_VEHICLE,
    "vehicle.motorcycle": Label.MOTORCYCLE,
    "vehicle.bicycle": Label.BICYCLE,
    "vehicle.emergency.ambulance": Label.OTHERS,
    "vehicle.emergency.police": Label.OTHERS,
    "human.pedestrian.adult": Label.PEDESTRIAN,
    "human.pedestrian.child": Label.PEDESTRIAN,
    "human.pedestrian.construction_worker": Label.PEDESTRIAN,
    "human.pedestrian.police_officer": Label.PEDESTRIAN,
    "human.pedestrian.stroller": Label.OTHERS,
    "human.pedestrian.wheelchair": Label.OTHERS,
    "human.pedestrian.personal_mobility": Label.OTHERS,
    "animal": Label.OTHERS,
    "movable_object.barrier": Label.BARRIER,
    "movable_object.trafficcone": Label.TRAFFIC_CONE,
    "movable_object.pushable_pullable": Label.OTHERS,
    "movable_object.debris": Label.OTHERS,
    "static_object.bicycle_rack": Label.OTHERS,
}
"""The 23 categories of nuScenes and the class of their voxels in Occ3D."""


class Shape(IntEnum):
    """Form of a solid, upright: its third axis is the vertical."""

    BOX = 0
    CYLINDER = 1
    CONE = 2  # base at the bottom
    ELLIPSOID = 3


class Texture(IntEnum):
    """How the surface of a solid is painted over its colour."""

    PLAIN = 0
    FACADE = 1  # rows of windows
    BRICK = 2
    FOLIAGE = 3
    STRIPES = 4  # red and white, or orange and white, along the height (cones) or the length (barriers)
    METAL = 5  # paint of vehicles: darker below, bright edges
    GLASS = 6
    CLOTH = 7
    HEADLAMP = 8  # shines at night
    TAILLAMP = 9
    STREETLAMP = 10
    BARK = 11


class Paint(IntEnum):
    """Markings on the ground."""

    NONE = 0
    WHITE = 1  # lane dividers, edge lines, stop lines
    YELLOW = 2  # road dividers
    ZEBRA = 3  # white bars of a crossing
    PARKING = 4


@dataclass
class Solids:
    """Upright solids as columns of equal length N.

    Attributes:
        shape: (N,) uint8 of `Shape`.
        center: (N, 3) float64.
        half: (N, 3) float64 half extents along the solid's own axes (x along its yaw).
        yaw: (N,) float64.
        label: (N,) uint8 of `Label`.
        color: (N, 3) uint8 RGB.
        texture: (N,) uint8 of `Texture`.
        seed: (N,) uint32, varies the texture.
        instance: (N,) int32 number of the track that it belongs to, -1 for the town itself.
    """

    shape: NDArray[np.uint8]
    center: Array
    half: Array
    yaw: Array
    label: NDArray[np.uint8]
    color: NDArray[np.uint8]
    texture: NDArray[np.uint8]
    seed: NDArray[np.uint32]
    instance: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.shape)

    def take(self, index: NDArray[np.generic]) -> Solids:
        """Some of the solids, by position or by truth value."""
        return Solids(**{column.name: getattr(self, column.name)[index] for column in fields(self)})

    def placed(self, x: float, y: float, yaw: float, instance: int) -> Solids:
        """The solids, given in the frame of a body on the ground, set down at a pose and given to an instance."""
        cos, sin = np.cos(yaw), np.sin(yaw)
        center = self.center @ np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]]) + (x, y, 0.0)
        columns = {column.name: getattr(self, column.name) for column in fields(self)}
        return Solids(
            **{**columns, "center": center, "yaw": self.yaw + yaw, "instance": np.full(len(self), instance, np.int32)}
        )

    @staticmethod
    def concatenate(parts: Sequence[Solids]) -> Solids:
        """All parts one after the other."""
        return Solids(**{c.name: np.concatenate([getattr(part, c.name) for part in parts]) for c in fields(Solids)})


class SolidsBuilder:
    """Collects solids one by one."""

    def __init__(self) -> None:
        self._rows: list[tuple[object, ...]] = []

    def add(
        self,
        shape: Shape,
        center: Sequence[float],
        half: Sequence[float],
        label: Label,
        color: Sequence[int],
        *,
        yaw: float = 0.0,
        texture: Texture = Texture.PLAIN,
        seed: int = 0,
        instance: int = -1,
    ) -> None:
        """Add a solid; see `Solids` for the arguments."""
        self._rows.append((shape, tuple(center), tuple(half), yaw, label, tuple(color), texture, seed, instance))

    def build(self) -> Solids:
        """All solids added so far."""
        columns = list(zip(*self._rows, strict=True)) or [()] * 9
        kinds = (np.uint8, np.float64, np.float64, np.float64, np.uint8, np.uint8, np.uint8, np.uint32, np.int32)
        arrays = [np.array(values, dtype=kind) for values, kind in zip(columns, kinds, strict=True)]
        for position in (1, 2, 5):
            arrays[position] = arrays[position].reshape(-1, 3)
        return Solids(*arrays)


@dataclass(frozen=True)
class Ground:
    """What the ground is, cell by cell of `GROUND_CELL`; row 0 lies at y = 0, column 0 at x = 0.

    Attributes:
        label: (H, W) uint8, one of the labels 11 to 14.
        paint: (H, W) uint8 of `Paint`.
    """

    label: NDArray[np.uint8]
    paint: NDArray[np.uint8]


class Path:
    """A polyline with arc length.

    Args:
        points: (P, 2), P >= 2, no two neighbours equal.
    """

    def __init__(self, points: Array) -> None:
        self.points = np.asarray(points, dtype=np.float64)
        steps = np.diff(self.points, axis=0)
        lengths = np.hypot(steps[:, 0], steps[:, 1])
        if len(self.points) < 2 or not bool((lengths > 0).all()):
            raise ValueError("a path needs at least two points, and no two neighbours may be equal")
        self.s = np.concatenate([[0.0], np.cumsum(lengths)])
        heading = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
        self._heading = np.concatenate([heading[:1], (heading[1:] + heading[:-1]) / 2, heading[-1:]])

    @property
    def length(self) -> float:
        """Metres."""
        return float(self.s[-1])

    def pose(self, s: Array | float) -> Array:
        """x, y, yaw (..., 3) at arc length ``s``; straight on beyond the ends."""
        s = np.asarray(s, dtype=np.float64)
        inside = np.clip(s, 0.0, self.length)
        x, y, yaw = (np.interp(inside, self.s, v) for v in (self.points[:, 0], self.points[:, 1], self._heading))
        beyond = s - inside
        return np.stack([x + beyond * np.cos(yaw), y + beyond * np.sin(yaw), yaw], axis=-1)

    def project(self, points: Array) -> tuple[Array, Array]:
        """Arc length and signed offset (left positive) of the nearest place of the path, for points (..., 2)."""
        points = np.asarray(points, dtype=np.float64)
        start, step = self.points[:-1], np.diff(self.points, axis=0)
        relative = points[..., None, :] - start
        share = np.clip((relative * step).sum(-1) / (step**2).sum(-1), 0.0, 1.0)
        gap = relative - share[..., None] * step
        nearest = (gap**2).sum(-1).argmin(-1)
        chosen = np.take_along_axis(gap, nearest[..., None, None], -2)[..., 0, :]
        direction = step[nearest]
        side = np.sign(direction[..., 0] * chosen[..., 1] - direction[..., 1] * chosen[..., 0])
        s = self.s[nearest] + np.take_along_axis(share, nearest[..., None], -1)[..., 0] * np.diff(self.s)[nearest]
        return s, side * np.hypot(chosen[..., 0], chosen[..., 1])


@dataclass(frozen=True)
class Lane:
    """A lane of a road, or a way across a junction; traffic keeps to the right.

    Attributes:
        path: centre line in the direction of travel, points at most 1 m apart.
        width: metres.
        speed_limit: metres a second.
        successors: numbers of the lanes that go on from its end.
        predecessors: numbers of the lanes that lead into it.
        road: number of its road, -1 on a junction.
        junction: number of its junction, -1 on a road.
        turn: ``straight``, ``left`` or ``right`` on a junction, ``""`` on a road.
        left: number of the next lane to the left in the same direction, -1 where there is none.
        right: likewise to the right.
        crossings: (start, end) arc lengths between which it runs over a pedestrian crossing.
    """

    path: Path
    width: float
    speed_limit: float
    successors: tuple[int, ...]
    predecessors: tuple[int, ...]
    road: int
    junction: int
    turn: str
    left: int = -1
    right: int = -1
    crossings: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Site:
    """A construction zone: a rectangle beside the traffic, on shoulder, sidewalk, car park or terrain.

    Attributes:
        x, y, yaw: its middle and the direction of its length.
        length, width: metres.
    """

    x: float
    y: float
    yaw: float
    length: float
    width: float


@dataclass(frozen=True)
class Town:
    """A map with everything on it that never moves.

    Attributes:
        location: one of the four locations of nuScenes, whose names the devkit's map reader insists on.
        size: (width, height).
        lanes: all lanes; a lane's number is its position here.
        ground: raster of the whole town.
        solids: buildings, walls, poles, signs, street furniture, trees, hedges.
        polygons: layer -> polygons, for drivable_area, road_segment, junction, lane, ped_crossing, walkway, stop_line,
            carpark_area. ``lane[i]`` is the area of ``lanes[i]``; junction areas are road segments too.
        road_dividers: lines between opposite directions.
        lane_dividers: lines between lanes of one direction.
        sidewalks: middle lines of the sidewalks, where pedestrians walk.
        crossings: from kerb to kerb over a crossing, extended to the middle of the sidewalks.
        parking: (M, 3) x, y, yaw of parking places, at the kerb and in car parks.
        sites: places for construction zones.
    """

    location: str
    size: tuple[float, float]
    lanes: tuple[Lane, ...]
    ground: Ground
    solids: Solids
    polygons: Mapping[str, Sequence[Polygon]]
    road_dividers: Sequence[LineString]
    lane_dividers: Sequence[LineString]
    sidewalks: Sequence[Path]
    crossings: Sequence[Path]
    parking: Array
    sites: Sequence[Site]


@dataclass(frozen=True)
class Weather:
    """Light and weather of a scene.

    Attributes:
        night: dark, with lamps and sensor noise.
        rain: streaks, low contrast, wet road.
        sun: azimuth and elevation of the sun.
        seed: varies sky and noise.
    """

    night: bool = False
    rain: bool = False
    sun: tuple[float, float] = (0.8, 0.9)
    seed: int = 0


@dataclass(frozen=True)
class Track:
    """An object through a scene; everything that nuScenes annotates has one, also what stands still.

    Attributes:
        category: a key of `CATEGORY_LABELS`.
        size: (width, length, height), the order of nuScenes.
        poses: (T, 3) x, y, yaw of the middle of the footprint at each time step.
        attributes: T attribute names of nuScenes, such as ``vehicle.moving``; ``""`` where the category has none.
        seed: varies the body.
    """

    category: str
    size: tuple[float, float, float]
    poses: Array
    attributes: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class Drive:
    """What happens in a scene, every `TIME_STEP`.

    Attributes:
        location: name of the town.
        ego: (T, 3) x, y, yaw of the point on the ground under the middle of the rear axle.
        speed: (T,) metres a second.
        acceleration: (T,) along the direction of travel.
        yaw_rate: (T,) radians a second.
        route: numbers of the lanes that the ego vehicle follows.
        tracks: everything annotated within about 70 m of the ego vehicle's way.
        event: ``cut_in``, ``hard_braking``, ``jaywalking``, ``narrow_gap`` or ``""``.
        phrases: what there is to see, in the style of nuScenes' scene descriptions ("Turn left", "parked cars").
    """

    location: str
    ego: Array
    speed: Array
    acceleration: Array
    yaw_rate: Array
    route: tuple[int, ...]
    tracks: tuple[Track, ...]
    event: str = ""
    phrases: tuple[str, ...] = field(default=())
