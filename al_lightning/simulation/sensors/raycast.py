"""Rays against the solids and the ground around the ego vehicle: one caster for camera, LiDAR and visibility.

A uniform grid of cells over the ground lists the solids that reach into each cell and between which heights. A ray
walks from cell to cell and passes over and under what it cannot meet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.compiled import compiled
from al_lightning.simulation.sensors.intersection import entry, rectangle_meets_square
from al_lightning.simulation.world import Ground, Solids

Array = NDArray[np.float64]

__all__ = ["GROUND", "NOTHING", "Geometry", "Hits", "entry"]

CELL = 4.0
"""Edge of a cell of the grid (metres)."""
GROUND = -1
NOTHING = -2


@dataclass(frozen=True)
class Hits:
    """Where rays end.

    Attributes:
        distance: (M,) float32 metres, infinite where the ray meets nothing.
        solid: (M,) int32 position of the solid, -1 for the ground, -2 for nothing.
    """

    distance: NDArray[np.float32]
    solid: NDArray[np.int32]


class Geometry:
    """What is around a place, ready for rays.

    Args:
        solids: all solids of the town and of the objects.
        ground: raster of the town; the ground goes on beyond it.
        center: (x, y) around which the solids count.
        radius: solids are hit within the square of this half edge around ``center``, nothing but the ground beyond.

    Attributes:
        solids, ground, center, radius: as given.
        index: (K,) int64 positions of the solids that reach into the square.
        forms: (K, 9) of those: x, y, z of the middle relative to ``center``, three half extents, cosine and sine of the
            yaw, and the shape.
        number: (N,) int32 position of each of ``solids`` in ``forms``, -1 where it is too far away.
    """

    def __init__(self, solids: Solids, ground: Ground, center: tuple[float, float], radius: float = 75.0) -> None:
        if not radius > 0:
            raise ValueError(f"radius must be positive, got {radius}")
        self.solids, self.ground, self.center, self.radius = solids, ground, center, float(radius)
        away = np.abs(solids.center[:, :2] - center).max(axis=1)
        self.index = np.flatnonzero(away <= radius + np.hypot(solids.half[:, 0], solids.half[:, 1]))
        self.number = np.full(len(solids), -1, np.int32)
        self.number[self.index] = np.arange(len(self.index))
        self.forms = _packed(solids, self.index, center)
        count = int(np.ceil(2 * radius / CELL))
        self._start, self._members, self._bottom, self._top = _sort_into_cells(self.forms, count, count * CELL / 2)

    def cast(self, origin: Array, directions: Array, max_range: float) -> Hits:
        """The first surface along each ray.

        A ray that starts inside a solid does not see that solid.

        Args:
            origin: (3,) in the global frame, above the ground and inside the square.
            directions: (M, 3) unit vectors in the global frame.
            max_range: metres; what is farther away is not hit.

        Returns:
            Distances and positions in ``solids``.

        Raises:
            ValueError: the origin is below the ground or outside the square.
        """
        local = np.asarray(origin, dtype=np.float64) - (*self.center, 0.0)
        if not (np.abs(local[:2]).max() < self.radius and local[2] > 0):
            raise ValueError(f"rays must start above the ground within {self.radius} m of {self.center}, got {origin}")
        rays = np.ascontiguousarray(directions, dtype=np.float64)
        distance, number = _cast(
            self.forms, self._start, self._members, self._bottom, self._top, local, rays, float(max_range)
        )
        solid = number.copy()
        solid[number >= 0] = self.index[number[number >= 0]]
        return Hits(distance, solid)


def _packed(solids: Solids, index: NDArray[np.int64], center: tuple[float, float]) -> Array:
    yaw = solids.yaw[index]
    columns = [
        solids.center[index] - (*center, 0.0),
        solids.half[index],
        np.stack([np.cos(yaw), np.sin(yaw), solids.shape[index].astype(np.float64)], axis=1),
    ]
    return np.concatenate(columns, axis=1)


@compiled
def _cell_range(form: Array, axis: int, count: int, border: float) -> tuple[int, int]:
    cos, sin = abs(form[6]), abs(form[7])
    reach = form[3] * cos + form[4] * sin if axis == 0 else form[3] * sin + form[4] * cos
    low = int(np.floor((form[axis] - reach + border) / CELL))
    high = int(np.floor((form[axis] + reach + border) / CELL))
    return max(low, 0), min(high, count - 1)


@compiled
def _sort_into_cells(
    forms: Array, count: int, border: float
) -> tuple[NDArray[np.int32], NDArray[np.int32], Array, Array]:
    """Solids by cell (CSR: start, members), and the lowest bottom and highest top in each cell."""
    start = np.zeros(count * count + 1, np.int32)
    bottom = np.full((count, count), np.inf)
    top = np.full((count, count), -np.inf)
    members = np.empty(0, np.int32)
    for filling in range(2):  # count, then fill
        if filling:
            for cell in range(count * count):
                start[cell + 1] += start[cell]
            members = np.empty(start[-1], np.int32)
            fill = start.copy()
        for number in range(len(forms)):
            form = forms[number]
            low_x, high_x = _cell_range(form, 0, count, border)
            low_y, high_y = _cell_range(form, 1, count, border)
            for i in range(low_x, high_x + 1):
                for j in range(low_y, high_y + 1):
                    if not rectangle_meets_square(form, (i + 0.5) * CELL - border, (j + 0.5) * CELL - border, CELL / 2):
                        continue
                    cell = i * count + j
                    if filling:
                        members[fill[cell]] = number
                        fill[cell] += 1
                    else:
                        start[cell + 1] += 1
                        bottom[i, j] = min(bottom[i, j], form[2] - form[5])
                        top[i, j] = max(top[i, j], form[2] + form[5])
    return start, members, bottom, top


@compiled
def _cast(
    forms: Array,
    start: NDArray[np.int32],
    members: NDArray[np.int32],
    bottom: Array,
    top: Array,
    origin: Array,
    directions: Array,
    max_range: float,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    count = len(bottom)
    border = count * CELL / 2
    radii = np.sqrt(forms[:, 3] ** 2 + forms[:, 4] ** 2)
    tested = np.full(len(forms), -1, np.int32)
    distance = np.empty(len(directions), np.float32)
    solid = np.empty(len(directions), np.int32)
    ox, oy, oz = origin
    for ray in range(len(directions)):
        dx, dy, dz = directions[ray]
        best, found = max_range, NOTHING
        if dz < 0.0 and -oz / dz <= best:
            best, found = -oz / dz, GROUND
        flat = np.sqrt(dx * dx + dy * dy)
        i, j = int((ox + border) / CELL), int((oy + border) / CELL)
        step_x, step_y = (1 if dx > 0 else -1), (1 if dy > 0 else -1)
        each_x = CELL / abs(dx) if dx != 0 else np.inf
        each_y = CELL / abs(dy) if dy != 0 else np.inf
        next_x = ((i + (dx > 0)) * CELL - border - ox) / dx if dx != 0 else np.inf
        next_y = ((j + (dy > 0)) * CELL - border - oy) / dy if dy != 0 else np.inf
        t = 0.0
        while t < best and 0 <= i < count and 0 <= j < count:
            leave = min(next_x, next_y, best)
            z_in, z_out = oz + t * dz, oz + leave * dz
            if min(z_in, z_out) <= top[i, j] and max(z_in, z_out) >= bottom[i, j]:
                cell = i * count + j
                for k in range(start[cell], start[cell + 1]):
                    number = members[k]
                    if tested[number] == ray:
                        continue
                    tested[number] = ray
                    form = forms[number]
                    if abs((form[0] - ox) * dy - (form[1] - oy) * dx) > radii[number] * flat:
                        continue
                    t_hit = entry(form, ox, oy, oz, dx, dy, dz)
                    if t_hit < best:
                        best, found = t_hit, number
            t = leave
            if next_x < next_y:
                i += step_x
                next_x += each_x
            else:
                j += step_y
                next_y += each_y
        distance[ray] = best if found != NOTHING else np.inf
        solid[ray] = found
    return distance, solid
