"""The streets of a town: a jittered grid of junctions and the roads between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from al_lightning.simulation.town.curves import bezier, unit
from al_lightning.simulation.world import Array, Path

LANE_WIDTH = 3.5
GUTTER = 0.3
"""Pavement beyond the outermost lane (metres)."""
MARGIN = 62.0
"""Distance from the outermost junctions to the edge of the map (metres)."""
RIGHT_RADIUS, LEFT_RADIUS = 8.5, 12.0
"""Radii aimed at for turns where the roads are straight (metres)."""
REMOVED = 0.35
"""Share of the removable edges of the grid that are left out."""

Cell = tuple[int, int]
DIRECTIONS: tuple[Cell, ...] = ((1, 0), (0, 1), (-1, 0), (0, -1))


@dataclass(frozen=True)
class Road:
    """A road between two junctions.

    Attributes:
        start, end: numbers of its junctions.
        center: (P, 2) middle line from one junction area to the other.
        stubs: the middle line from each junction's node to that junction's edge, outwards.
        lanes: lanes in each direction.
        median: width of the island between the directions (metres), 0 for none.
    """

    start: int
    end: int
    center: Array
    stubs: tuple[Array, Array]
    lanes: int
    median: float

    @property
    def half_width(self) -> float:
        """From the middle line to the kerb (metres)."""
        return half_width(self.lanes, self.median)


@dataclass(frozen=True)
class Network:
    """Roads and the junctions where they meet.

    Attributes:
        size: (width, height) of the map.
        nodes: (J, 2) where the middle lines meet.
        roads: all roads.
        arms: for each junction its arms in angular order, as (road, whether the road starts here).
    """

    size: tuple[float, float]
    nodes: Array
    roads: tuple[Road, ...]
    arms: tuple[tuple[tuple[int, bool], ...], ...]


def half_width(lanes: int, median: float) -> float:
    """From the middle line of a road to its kerb (metres)."""
    return median / 2 + lanes * LANE_WIDTH + GUTTER


def street_network(blocks: int, rng: np.random.Generator) -> Network:
    """Lay out the streets around ``blocks`` x ``blocks`` blocks of houses.

    Raises:
        ValueError: fewer than two blocks a side leave no junction.
    """
    if blocks < 2:
        raise ValueError(f"blocks must be at least 2, got {blocks}")
    positions = _positions(blocks, rng)
    edges = _edges(blocks, rng)
    kinds = {
        axis: [_kind(rng, line in (0, blocks), line == blocks // 2) for line in range(blocks + 1)] for axis in (0, 1)
    }
    size = np.max(list(positions.values()), axis=0) + MARGIN
    numbers = {cell: n for n, cell in enumerate(c for c in sorted(positions) if not _is_corner(c, blocks))}
    courses = [_course(start, way, edges, blocks) for start in numbers for way in DIRECTIONS]
    kept = sorted({min(course, course[::-1]) for course in courses if course})
    widths = {course: _course_kind(course, kinds) for course in kept}
    curves = [_curve(course, positions, edges) for course in kept]
    arms: list[list[tuple[float, int, bool]]] = [[] for _ in numbers]
    for number, (course, curve) in enumerate(zip(kept, curves, strict=True)):
        for first, cell in ((True, course[0]), (False, course[-1])):
            direction = curve[8] - curve[0] if first else curve[-9] - curve[-1]
            arms[numbers[cell]].append((float(np.arctan2(direction[1], direction[0])), number, first))
    roads = [
        _road(
            numbers[course[0]],
            numbers[course[-1]],
            curve,
            widths[course],
            [
                _cut(number, first, arms[numbers[cell]], [widths[other] for other in kept])
                for first, cell in ((True, course[0]), (False, course[-1]))
            ],
        )
        for number, (course, curve) in enumerate(zip(kept, curves, strict=True))
    ]
    ordered = tuple(tuple((road, first) for _, road, first in sorted(around)) for around in arms)
    nodes = np.array([positions[cell] for cell in numbers])
    return Network((float(np.ceil(size[0])), float(np.ceil(size[1]))), nodes, tuple(roads), ordered)


def _positions(blocks: int, rng: np.random.Generator) -> dict[Cell, Array]:
    columns, rows = (MARGIN + np.concatenate([[0.0], np.cumsum(rng.uniform(76, 106, blocks))]) for _ in range(2))
    phase = rng.uniform(0, 2 * np.pi, 2)
    positions = {}
    for i, x in enumerate(columns):
        for j, y in enumerate(rows):
            sway = 7.0 * np.sin(np.array([y, x]) / 90.0 + phase)
            positions[i, j] = np.array([x, y]) + sway + rng.uniform(-5, 5, 2)
    return positions


def _edges(blocks: int, rng: np.random.Generator) -> set[frozenset[Cell]]:
    """Edges of the grid, some left out, so that only corners have less than three."""
    cells = [(i, j) for i in range(blocks + 1) for j in range(blocks + 1)]
    edges = {frozenset({(i, j), other}) for i, j in cells for other in ((i + 1, j), (i, j + 1)) if max(other) <= blocks}
    degree = {cell: sum(cell in edge for edge in edges) for cell in cells}
    removable = sorted(sorted(edge) for edge in edges if all(degree[cell] == 4 for cell in edge))
    for position in rng.permutation(len(removable)):
        first, second = removable[position]
        if min(degree[first], degree[second]) == 4 and rng.random() < REMOVED:
            edges.remove(frozenset({first, second}))
            degree[first] -= 1
            degree[second] -= 1
    return edges


def _kind(rng: np.random.Generator, border: bool, arterial: bool) -> tuple[int, float]:
    """Lanes in each direction and width of the median."""
    if arterial:
        return 2, 2.4 if rng.random() < 0.7 else 0.0
    if border:
        return 1, 0.0
    return (2, 0.0) if rng.random() < 0.4 else (1, 0.0)


def _is_corner(cell: Cell, blocks: int) -> bool:
    return all(line in (0, blocks) for line in cell)


def _course(start: Cell, way: Cell, edges: set[frozenset[Cell]], blocks: int) -> tuple[Cell, ...]:
    """Cells along a road from a junction to the next one, with a corner of the grid between; empty for no road."""
    cell = (start[0] + way[0], start[1] + way[1])
    if frozenset({start, cell}) not in edges:
        return ()
    if not _is_corner(cell, blocks):
        return start, cell
    onward = next(c for edge in edges if cell in edge and start not in edge for c in edge if c != cell)
    return start, cell, onward


def _course_kind(course: tuple[Cell, ...], kinds: dict[int, list[tuple[int, float]]]) -> tuple[int, float]:
    (i, j), (other, _) = course[:2]
    return kinds[0][i] if i == other else kinds[1][j]


def _curve(course: tuple[Cell, ...], positions: dict[Cell, Array], edges: set[frozenset[Cell]]) -> Array:
    start, end = positions[course[0]], positions[course[-1]]
    first, last = positions[course[1]] - start, end - positions[course[-2]]
    share = 1 / 3 if len(course) == 2 else 0.68
    handle = start + share * np.hypot(*first) * _tangent(course[0], course[1], positions, edges)
    other = end + share * np.hypot(*last) * _tangent(course[-1], course[-2], positions, edges)
    return bezier(start, handle, other, end)


def _tangent(cell: Cell, towards: Cell, positions: dict[Cell, Array], edges: set[frozenset[Cell]]) -> Array:
    """Direction in which a road leaves a junction: in line with the road on the other side, if there is one."""
    opposite = (2 * cell[0] - towards[0], 2 * cell[1] - towards[1])
    through = frozenset({cell, opposite}) in edges
    return unit(positions[towards] - positions[opposite if through else cell])


def _road(start: int, end: int, curve: Array, kind: tuple[int, float], cuts: list[float]) -> Road:
    path = Path(curve)
    stubs = _piece(path, 0.0, cuts[0]), _piece(path, path.length - cuts[1], path.length)[::-1]
    return Road(start, end, _piece(path, cuts[0], path.length - cuts[1]), stubs, *kind)


def _cut(road: int, first: bool, arms: list[tuple[float, int, bool]], kinds: list[tuple[int, float]]) -> float:
    """How far from its node a junction reaches into one of its arms, so that the turns to the arms beside it fit."""
    own = next(angle for angle, number, at_start in arms if (number, at_start) == (road, first))
    cuts = []
    for angle, number, _ in arms:
        between = float(np.abs((angle - own + np.pi) % (2 * np.pi) - np.pi))
        if np.pi / 6 < between < 3 * np.pi / 4:
            (outer, inner), (other_outer, other_inner) = _outermost(*kinds[road]), _outermost(*kinds[number])
            corner = (other_outer + outer * np.cos(between)) / np.sin(between)
            far_corner = -(other_inner + inner * np.cos(between)) / np.sin(between)
            cuts.append(corner + RIGHT_RADIUS / np.tan(between / 2))
            cuts.append(far_corner + LEFT_RADIUS / np.tan(between / 2))
    return float(max(cuts))


def _outermost(lanes: int, median: float) -> tuple[float, float]:
    """Distances of the middles of the outer and the inner lane from the middle line (metres)."""
    return median / 2 + (lanes - 0.5) * LANE_WIDTH, median / 2 + LANE_WIDTH / 2


def _piece(path: Path, start: float, end: float) -> Array:
    return path.pose(np.linspace(start, end, int(np.ceil((end - start) / 0.75)) + 1))[:, :2]
