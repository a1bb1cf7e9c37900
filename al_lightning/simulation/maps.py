"""A town as the map files of nuScenes: the semantic prior and the map expansion (version 1.3)."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image
from shapely import STRtree
from shapely.geometry import LineString, Polygon
from shapely.geometry.base import BaseGeometry

from al_lightning.simulation.town.raster import fill
from al_lightning.simulation.world import Array, Lane, Path, Town

MASK_CELL = 0.1
"""Edge of a pixel of the semantic prior (metres)."""
TOLERANCE = 0.02
"""How far an outline in the files may stray from the town's (metres)."""
DIGITS = 3
"""Decimals of the coordinates in the files."""
ARC_LENGTH = {True: 2.0, False: 5.0}
"""Longest arc of a centre line (metres), on a junction or not."""
STRAIGHT = 1e-4
"""A piece that turns less is written as straight (radians)."""
NO_RADIUS = 999.999
LIGHT_HEIGHT = 3.45
TO_LIGHT = 0.77
"""From the end of a stop line to the traffic light (metres)."""

Record = dict[str, Any]


def write_map_files(folder: FilePath, town: Town, mask_name: str) -> None:
    """Write ``<mask_name>.png`` and ``expansion/<location>.json``.

    Args:
        folder: the ``maps`` folder of a nuScenes data set; made if need be.
        town: what to write.
        mask_name: name of the semantic prior, without its suffix.
    """
    (folder / "expansion").mkdir(parents=True, exist_ok=True)
    Image.fromarray(semantic_prior(town)).save(folder / f"{mask_name}.png")
    content = json.dumps(map_expansion(town), separators=(",", ":"))
    (folder / "expansion" / f"{town.location}.json").write_text(content)


def semantic_prior(town: Town) -> NDArray[np.uint8]:
    """255 where one can drive or walk, (H, W) with the first row at the top, a pixel every 0.1 m.

    The devkit reads the pixel in column c and row r for the place (c, H - r) / 10 m.
    """
    shape = tuple(round(edge / MASK_CELL) for edge in town.size[::-1])
    mask = np.zeros(shape, np.uint8)
    areas = [*town.polygons["drivable_area"], *town.polygons["walkway"]]
    fill(mask, areas, 255, MASK_CELL, (-MASK_CELL / 2, MASK_CELL / 2))
    return mask[::-1]


def map_expansion(town: Town) -> Record:
    """All layers of the map expansion."""
    return _Expansion(town).content


def arcs(path: Path, longest: float) -> list[Record]:
    """A centre line as a chain of arcs from point to point of it, each as an ``arcline_path_3`` record."""
    count = max(int(np.ceil(path.length / longest)), 1)
    poses = path.pose(np.linspace(0.0, path.length, count + 1))
    return [_arc(start, end) for start, end in pairwise(poses)]


def _arc(start: Array, end: Array) -> Record:
    turned = float(end[2] - start[2])
    chord = float(np.hypot(*(end - start)[:2]))
    heading = float(np.arctan2(end[1] - start[1], end[0] - start[0]))
    record: Record = {
        "start_pose": [float(start[0]), float(start[1]), heading - turned / 2],
        "end_pose": [float(end[0]), float(end[1]), heading + turned / 2],
    }
    if abs(turned) < STRAIGHT:
        return record | {"shape": "LSR", "radius": NO_RADIUS, "segment_length": [0.0, chord, 0.0]}
    length = chord * (turned / 2) / float(np.sin(turned / 2))
    shape = "LSL" if turned > 0 else "RSR"
    return record | {"shape": shape, "radius": length / abs(turned), "segment_length": [length, 0.0, 0.0]}


class _Expansion:
    """Collects the records; a token depends on the location and on the record's layer and number alone."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.nodes: dict[tuple[float, float], Record] = {}
        self.content: Record = {
            "version": "1.3",
            "canvas_edge": list(town.size),
            "polygon": [],
            "line": [],
        }
        self.segments = STRtree(town.polygons["road_segment"])
        self.centers = STRtree([LineString(lane.path.points) for lane in town.lanes])
        self._add_areas()
        self._add_lanes()
        self._add_road_blocks()
        self._add_dividers()
        self._add_stop_lines()
        self.content["node"] = list(self.nodes.values())

    def token(self, layer: str, number: int | str) -> str:
        digest = hashlib.md5(f"{self.town.location}/{layer}/{number}".encode(), usedforsecurity=False)
        return str(uuid.UUID(digest.hexdigest()))

    def node(self, point: Sequence[float]) -> str:
        key = (round(float(point[0]), DIGITS), round(float(point[1]), DIGITS))
        if key not in self.nodes:
            self.nodes[key] = {"token": self.token("node", f"{key[0]}/{key[1]}"), "x": key[0], "y": key[1]}
        return str(self.nodes[key]["token"])

    def polygon(self, layer: str, number: int, area: Polygon) -> str:
        area = max(shapely.get_parts(shapely.set_precision(area.simplify(TOLERANCE), 10.0**-DIGITS)), key=shapely.area)
        token = self.token(f"polygon/{layer}", number)
        outline = [self.node(point) for point in area.exterior.coords[:-1]]
        holes = [{"node_tokens": [self.node(point) for point in ring.coords[:-1]]} for ring in area.interiors]
        self.content["polygon"].append({"token": token, "exterior_node_tokens": outline, "holes": holes})
        return token

    def line(self, layer: str, number: int | str, points: Iterable[Sequence[float]]) -> str:
        token = self.token(f"line/{layer}", number)
        self.content["line"].append({"token": token, "node_tokens": [self.node(point) for point in points]})
        return token

    def segment_under(self, shape: BaseGeometry) -> str:
        """Token of the road segment that a shape is on."""
        return self.token("road_segment", int(self.segments.nearest(shape.representative_point())))

    def records(self, layer: str, areas: Sequence[Polygon], extra: Sequence[Record] | None = None) -> None:
        """Write a layer of areas, each with the further fields in ``extra``."""
        self.content[layer] = [
            {
                "token": self.token(layer, n),
                "polygon_token": self.polygon(layer, n, area),
                **(extra[n] if extra else {}),
            }
            for n, area in enumerate(areas)
        ]

    def _add_areas(self) -> None:
        areas = self.town.polygons
        drivable = [self.polygon("drivable_area", n, area) for n, area in enumerate(areas["drivable_area"])]
        whole = self.token("drivable_area", 0)
        self.content["drivable_area"] = [{"token": whole, "polygon_tokens": drivable}]
        junctions = {area.wkb for area in areas["junction"]}
        segments = [
            {"is_intersection": area.wkb in junctions, "drivable_area_token": whole} for area in areas["road_segment"]
        ]
        self.records("road_segment", areas["road_segment"], segments)
        self.records("walkway", areas["walkway"])
        crossings = [{"road_segment_token": self.segment_under(area)} for area in areas["ped_crossing"]]
        self.records("ped_crossing", areas["ped_crossing"], crossings)
        carparks = [{"orientation": _long_side(area), "road_block_token": ""} for area in areas["carpark_area"]]
        self.records("carpark_area", areas["carpark_area"], carparks)

    def lane_token(self, number: int) -> str:
        return self.token("lane" if self.town.lanes[number].road >= 0 else "lane_connector", number)

    def _add_lanes(self) -> None:
        self.content |= {"lane": [], "lane_connector": [], "arcline_path_3": {}, "connectivity": {}}
        for number, lane in enumerate(self.town.lanes):
            token, layer = self.lane_token(number), "lane" if lane.road >= 0 else "lane_connector"
            record = {"token": token, "polygon_token": self.polygon(layer, number, self.town.polygons["lane"][number])}
            self.content[layer].append(record | (self._lane_edges(number, lane) if lane.road >= 0 else {}))
            self.content["arcline_path_3"][token] = arcs(lane.path, ARC_LENGTH[lane.junction >= 0])
            self.content["connectivity"][token] = {
                "incoming": [self.lane_token(other) for other in lane.predecessors],
                "outgoing": [self.lane_token(other) for other in lane.successors],
            }

    def _lane_edges(self, number: int, lane: Lane) -> Record:
        left, right = (_edge(lane, side * lane.width / 2) for side in (1, -1))
        return {
            "lane_type": "CAR",
            "from_edge_line_token": self.line("lane/from", number, (left[0], right[0])),
            "to_edge_line_token": self.line("lane/to", number, (left[-1], right[-1])),
            "left_lane_divider_segments": self.marked(
                left, "DASHED_SEGMENT_WHITE" if lane.left >= 0 else "SINGLE_SOLID_YELLOW"
            ),
            "right_lane_divider_segments": self.marked(
                right, "DASHED_SEGMENT_WHITE" if lane.right >= 0 else "SINGLE_SOLID_WHITE"
            ),
        }

    def marked(self, points: Array, kind: str) -> list[Record]:
        """Nodes of a line with the kind of marking that goes on from each."""
        simple = LineString(points).simplify(TOLERANCE).coords
        return [{"node_token": self.node(point), "segment_type": kind} for point in simple]

    def _add_road_blocks(self) -> None:
        """One for each direction of a road: its lanes from the leftmost to the rightmost."""
        areas, extra = [], []
        for number, lane in enumerate(self.town.lanes):
            if lane.road < 0 or lane.left >= 0:
                continue
            last = lane
            while last.right >= 0:
                last = self.town.lanes[last.right]
            left, right = _edge(lane, lane.width / 2), _edge(last, -last.width / 2)
            areas.append(Polygon([*left, *right[::-1]]))
            extra.append(
                {
                    "from_edge_line_token": self.line("road_block/from", number, (left[0], right[0])),
                    "to_edge_line_token": self.line("road_block/to", number, (left[-1], right[-1])),
                    "road_segment_token": self.segment_under(areas[-1]),
                }
            )
        self.blocks = STRtree(areas)
        self.records("road_block", areas, extra)

    def block_under(self, shape: BaseGeometry) -> str:
        """Token of the road block that a shape is on."""
        return self.token("road_block", int(self.blocks.nearest(shape.representative_point())))

    def _add_dividers(self) -> None:
        self.content |= {"road_divider": [], "lane_divider": []}
        for number, line in enumerate(self.town.road_dividers):
            token = self.line("road_divider", number, line.simplify(TOLERANCE).coords)
            record = {"token": self.token("road_divider", number), "line_token": token}
            middle = line.interpolate(0.5, normalized=True)
            self.content["road_divider"].append(record | {"road_segment_token": self.segment_under(middle)})
        for number, line in enumerate(self.town.lane_dividers):
            token = self.line("lane_divider", number, line.simplify(TOLERANCE).coords)
            record = {"token": self.token("lane_divider", number), "line_token": token}
            segments = self.marked(np.array(line.coords), "DASHED_SEGMENT_WHITE")
            self.content["lane_divider"].append(record | {"lane_divider_segments": segments})

    def _add_stop_lines(self) -> None:
        """Stop lines wait for a traffic light where four roads meet, else for a crossing or at a sign."""
        self.content["traffic_light"] = []
        crossings = STRtree(self.town.polygons["ped_crossing"])
        junctions = STRtree(self.town.polygons["junction"])
        arms = [
            len(
                {
                    self.town.lanes[before].road
                    for lane in self.town.lanes
                    if lane.junction == n
                    for before in lane.predecessors
                }
            )
            for n in range(len(self.town.polygons["junction"]))
        ]
        extra = []
        for number, area in enumerate(self.town.polygons["stop_line"]):
            near = [int(n) for n in crossings.query(area, predicate="dwithin", distance=1.5)]
            lights = [self._traffic_light(number, area)] if arms[int(junctions.nearest(area))] >= 4 else []
            extra.append(
                {
                    "stop_line_type": "TRAFFIC_LIGHT" if lights else "PED_CROSSING" if near else "STOP_SIGN",
                    "ped_crossing_tokens": [self.token("ped_crossing", n) for n in near],
                    "traffic_light_tokens": lights,
                    "road_block_token": self.block_under(area),
                }
            )
        self.records("stop_line", self.town.polygons["stop_line"], extra)

    def _traffic_light(self, number: int, area: Polygon) -> str:
        """A light at the kerb, to the right of a stop line."""
        path = self.town.lanes[int(self.centers.nearest(area.centroid))].path
        s, sideways = path.project(np.array(area.exterior.coords))
        x, y, along = path.pose(float(s.mean()))
        out = float(sideways.min()) - TO_LIGHT
        place = np.array([x - out * np.sin(along), y + out * np.cos(along)])
        facing = place - np.array([np.cos(along), np.sin(along)])
        pose = {"tx": float(place[0]), "ty": float(place[1]), "tz": LIGHT_HEIGHT}
        token = self.token("traffic_light", number)
        self.content["traffic_light"].append(
            {
                "token": token,
                "line_token": self.line("traffic_light", number, np.stack([place, facing])),
                "traffic_light_type": "VERTICAL",
                "from_road_block_token": self.block_under(area),
                "items": [_lamp(color, 0.27 - 0.27 * k) for k, color in enumerate(("RED", "YELLOW", "GREEN"))],
                "pose": pose | {"rx": 0.0, "ry": 0.0, "rz": float(along + np.pi)},
            }
        )
        return token


def _lamp(color: str, height: float) -> Record:
    place = {"tx": 0.0, "ty": 0.0, "tz": height, "rx": 0.0, "ry": 0.0, "rz": 0.0}
    return {"color": color, "shape": "CIRCLE", "rel_pos": place, "to_road_block_tokens": []}


def _edge(lane: Lane, sideways: float) -> Array:
    """The edge (P, 2) of a lane, left positive."""
    poses = lane.path.pose(lane.path.s)
    return np.asarray(poses[:, :2] + sideways * np.stack([-np.sin(poses[:, 2]), np.cos(poses[:, 2])], -1))


def _long_side(area: Polygon) -> float:
    """Direction of the longest edge of an area (radians)."""
    edges = np.diff(np.array(area.exterior.coords), axis=0)
    x, y = edges[np.argmax(np.hypot(edges[:, 0], edges[:, 1]))]
    return float(np.arctan2(y, x))
