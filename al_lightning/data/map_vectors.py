"""Lines of the map around the vehicle, from nuScenes' map expansion, as VAD prepares them.

Dividers are the road and lane dividers; crossings are the outlines of the joined pedestrian crossings; boundaries are
the outlines of the joined road segments and lanes. Lines lie in the LiDAR frame: x right, y forward, metres.

Shape letters: V lines, O orders, P points.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import STRtree
from shapely.geometry import LineString, box
from shapely.geometry.base import BaseGeometry

from al_lightning.data.driving_agents import PLANNING_RANGE
from al_lightning.data.driving_motion import Array
from al_lightning.driving import BOUNDARY, DIVIDER, PED_CROSSING
from al_lightning.types import DataFileError

POINTS = 20
ORDERS = POINTS - 1
FAR = -10000.0
"""Coordinates of spare orders."""
MARGIN = 0.2
"""Crossings keep their outlines along the edge of the range, boundaries lose them (metres)."""

Line = tuple[int, LineString]


@dataclass(frozen=True)
class MapLayers:
    """A location's map, each layer with an index over its shapes.

    Attributes:
        dividers: lines between lanes and between directions.
        crossings: areas of pedestrian crossings.
        roads: areas of road segments and lanes.
    """

    dividers: STRtree
    crossings: STRtree
    roads: STRtree


def map_file(root: Path, location: str) -> Path:
    """The map expansion of a location."""
    return root / "maps" / "expansion" / f"{location}.json"


def read_map_layers(root: Path, location: str) -> MapLayers:
    """Read a map expansion; read once a process, as long as the file stays as it is.

    Args:
        root: folder that holds ``maps``.
        location: name of the map, such as "boston-seaport".

    Raises:
        DataFileError: the file is missing or damaged, or nuscenes-devkit does not know the location.
    """
    path = map_file(root, location)
    try:
        return _read_unchanged_layers(root, location, path.stat().st_mtime_ns)
    except OSError as error:
        raise DataFileError(f"cannot read the map {path}: {error.strerror or error}") from error
    except KeyError as error:
        raise DataFileError(f"the map {path} lacks the key or the record {error}") from error
    except Exception as error:  # the devkit and shapely raise many kinds for a damaged file
        raise DataFileError(f"cannot read the map {path}: {error}") from error


@lru_cache(maxsize=8)
def _read_unchanged_layers(root: Path, location: str, changed_at: int) -> MapLayers:
    del changed_at  # only a part of the cache's key
    from nuscenes.map_expansion.map_api import NuScenesMap  # takes a second: it imports matplotlib and OpenCV

    layers = _layers(NuScenesMap(str(root), location))
    gc.collect()  # the reader is large and refers to itself
    return layers


def _layers(reader: Any) -> MapLayers:
    """The layers of an open `NuScenesMap`."""

    def shapes(extract: Callable[[str], BaseGeometry], key: str, *layers: str) -> STRtree:
        found = [extract(record[key]) for record in chain(*(getattr(reader, layer) for layer in layers))]
        return STRtree([shape for shape in found if shape.is_valid and not shape.is_empty])

    return MapLayers(
        shapes(reader.extract_line, "line_token", "road_divider", "lane_divider"),
        shapes(reader.extract_polygon, "polygon_token", "ped_crossing"),
        shapes(reader.extract_polygon, "polygon_token", "road_segment", "lane"),
    )


def map_lines(layers: MapLayers, lidar2global: Array) -> list[Line]:
    """Class and course of every line within the planning range.

    Args:
        layers: the map.
        lidar2global: (4, 4) pose of the LiDAR; that it leans is left out.
    """
    patch = _Patch(lidar2global)
    dividers = [part for line in patch.cut(layers.dividers) for part in _line_parts(line)]
    crossings = _outlines(patch.cut(layers.crossings), MARGIN)
    boundaries = _outlines(patch.cut(layers.roads), -MARGIN)
    labels = [DIVIDER] * len(dividers) + [PED_CROSSING] * len(crossings) + [BOUNDARY] * len(boundaries)
    return list(zip(labels, [*dividers, *crossings, *boundaries], strict=True))


class _Patch:
    """The planning range on the map."""

    def __init__(self, lidar2global: Array) -> None:
        yaw = np.arctan2(lidar2global[1, 0], lidar2global[0, 0])
        self.turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        self.place = lidar2global[:2, 3]
        self.area = shapely.transform(_range(0.0), lambda points: points @ self.turn.T + self.place)

    def cut(self, layer: STRtree) -> list[BaseGeometry]:
        """What lies within, in the LiDAR frame, in the order of the file."""
        near = np.sort(layer.query(self.area, predicate="intersects"))
        inside = shapely.intersection(layer.geometries[near], self.area)
        return list(shapely.transform(inside, lambda points: (points - self.place) @ self.turn))


def _range(margin: float) -> BaseGeometry:
    x, y = (edge + margin for edge in PLANNING_RANGE)
    return box(-x, -y, x, y)


def _outlines(areas: Sequence[BaseGeometry], margin: float) -> list[LineString]:
    """Outlines of the joined areas inside the range with a margin; outer ones clockwise, holes counter-clockwise."""
    polygons = [part for part in shapely.get_parts(shapely.union_all(areas)) if part.geom_type == "Polygon"]
    outer = [shapely.reverse(ring) if ring.is_ccw else ring for ring in (part.exterior for part in polygons)]
    holes = [ring if ring.is_ccw else shapely.reverse(ring) for part in polygons for ring in part.interiors]
    cut = shapely.intersection([*outer, *holes], _range(margin))
    return [line for shape in cut for line in _line_parts(shapely.line_merge(shape))]


def _line_parts(shape: BaseGeometry) -> list[LineString]:
    """The lines of a shape, without the points where it only touches the range."""
    return [LineString(part) for part in shapely.get_parts(shape) if part.geom_type in ("LineString", "LinearRing")]


def line_orders(line: LineString) -> NDArray[np.float32]:
    """Points of a line in all orders that mean the same.

    An open line has two, forth and back. A closed one can start at each of its corners; of more than 19 corners, 19
    are taken at equal intervals (VAD draws them by lot).

    Returns:
        (O, P, 2) points at equal distances, within the planning range; spare orders are `FAR`.
    """
    points = shapely.get_coordinates(line)
    if line.is_closed:
        corners = points[:-1]
        starts = np.unique(np.linspace(0, len(corners), min(len(corners), ORDERS), endpoint=False).astype(np.int64))
        rings = [np.concatenate([corners[s:], corners[: s + 1]]) for s in starts]
        found = np.stack([_spaced(LineString(ring)) for ring in rings])
    else:
        forth = _spaced(line)
        found = np.stack([forth, forth[::-1]])
    orders = np.full((ORDERS, POINTS, 2), FAR, dtype=np.float32)
    orders[: len(found)] = np.clip(found, -np.array(PLANNING_RANGE), PLANNING_RANGE)
    return orders


def _spaced(line: LineString) -> Array:
    """Points (P, 2) at equal distances from end to end."""
    points = shapely.line_interpolate_point(line, np.linspace(0, line.length, POINTS))
    return np.asarray(shapely.get_coordinates(points))
