"""Lanes of the roads and ways across the junctions, linked to a graph."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from al_lightning.simulation.town.curves import offset, tangents, turn
from al_lightning.simulation.town.network import LANE_WIDTH, Network, Road
from al_lightning.simulation.world import Array, Lane, Path

SPEED_LIMITS = {1: 9.0, 2: 13.0}
"""By the number of lanes in a direction (metres a second)."""
SIDEWAYS = 1.5
"""Acceleration in a turn at its speed limit (metres per second squared)."""

Arm = tuple[int, bool]


@dataclass
class _Links:
    """Lanes under construction: numbers, and what follows what."""

    lanes: list[Lane] = field(default_factory=list)
    successors: dict[int, list[int]] = field(default_factory=dict)
    predecessors: dict[int, list[int]] = field(default_factory=dict)

    def add(self, lane: Lane) -> int:
        self.lanes.append(lane)
        number = len(self.lanes) - 1
        self.successors[number], self.predecessors[number] = [], []
        return number

    def link(self, first: int, second: int) -> None:
        self.successors[first].append(second)
        self.predecessors[second].append(first)

    def finished(self) -> tuple[Lane, ...]:
        return tuple(
            replace(lane, successors=tuple(self.successors[n]), predecessors=tuple(self.predecessors[n]))
            for n, lane in enumerate(self.lanes)
        )


def build_lanes(network: Network) -> tuple[Lane, ...]:
    """All lanes: those of the roads in order, from the middle outwards, forwards before backwards, then connectors."""
    links = _Links()
    by_road = {
        (number, forward): _road_lanes(links, number, road, forward)
        for number, road in enumerate(network.roads)
        for forward in (True, False)
    }
    for junction, arms in enumerate(network.arms):
        for source in arms:
            _cross(links, junction, source, arms, by_road)
    return links.finished()


def _road_lanes(links: _Links, number: int, road: Road, forward: bool) -> list[int]:
    lanes = []
    for position in range(road.lanes):
        points = offset(road.center, -(road.median / 2 + (position + 0.5) * LANE_WIDTH) * (1 if forward else -1))
        path = Path(points if forward else points[::-1])
        left = len(links.lanes) - 1 if position > 0 else -1
        right = len(links.lanes) + 1 if position < road.lanes - 1 else -1
        lane = Lane(path, LANE_WIDTH, SPEED_LIMITS[road.lanes], (), (), number, -1, "", left, right)
        lanes.append(links.add(lane))
    return lanes


def _cross(
    links: _Links, junction: int, source: Arm, arms: tuple[Arm, ...], by_road: dict[tuple[int, bool], list[int]]
) -> None:
    """Connect the lanes that come in by one arm."""
    road, starts_here = source
    incoming = by_road[road, not starts_here]
    exits = {}
    for other, other_starts in arms:
        if (other, other_starts) != source:
            outgoing = by_road[other, other_starts]
            exits[_turn_name(links.lanes[incoming[0]], links.lanes[outgoing[0]])] = outgoing
    for name, outgoing in sorted(exits.items()):
        for start, end in _pairs(name, incoming, outgoing, exits):
            connector = links.add(_connector(links.lanes[start], links.lanes[end], junction, name))
            links.link(start, connector)
            links.link(connector, end)


def _turn_name(lane: Lane, other: Lane) -> str:
    direction, after = _ends(lane.path)[3], _ends(other.path)[1]
    angle = np.arctan2(direction[0] * after[1] - direction[1] * after[0], direction @ after)
    if abs(angle) < np.pi / 4:
        return "straight"
    return "left" if angle > 0 else "right"


def _pairs(name: str, incoming: list[int], outgoing: list[int], exits: dict[str, list[int]]) -> list[tuple[int, int]]:
    """Which lane leads where: turns from the outer lanes, straight on from each."""
    if name == "left":
        return [(incoming[0], outgoing[0])]
    if name == "right":
        return [(incoming[-1], outgoing[-1])]
    count = max(len(outgoing), len(incoming) if "left" not in exits else len(outgoing))
    pairs = {(incoming[-1 - min(k, len(incoming) - 1)], outgoing[-1 - min(k, len(outgoing) - 1)]) for k in range(count)}
    return sorted(pairs)


def _connector(lane: Lane, other: Lane, junction: int, name: str) -> Lane:
    _, _, start, direction = _ends(lane.path)
    end, other_direction, _, _ = _ends(other.path)
    path = Path(turn(start, direction, end, other_direction))
    limit = min(lane.speed_limit, other.speed_limit)
    if name != "straight":
        limit = min(limit, float(np.sqrt(SIDEWAYS * _radius(path))))
    return Lane(path, LANE_WIDTH, limit, (), (), -1, junction, name)


def _ends(path: Path) -> tuple[Array, Array, Array, Array]:
    directions = tangents(path.points)
    return path.points[0], directions[0], path.points[-1], directions[-1]


def _radius(path: Path) -> float:
    """Smallest radius of curvature (metres)."""
    bend = np.abs(np.diff(path.pose(path.s)[:, 2]))
    return float(1 / np.max(bend / np.diff(path.s)))
