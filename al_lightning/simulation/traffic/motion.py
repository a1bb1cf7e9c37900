"""How vehicles move along their routes: car-following, curves, right of way at junctions, crossings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.compiled import compiled
from al_lightning.simulation.traffic.boxes import point_clearance
from al_lightning.simulation.traffic.routes import LINE_SETBACK, SPACING
from al_lightning.simulation.world import TIME_STEP, Array

HORIZON = 60.0
"""Drivers look so far ahead along their route (metres)."""
SIDE_MARGIN = 0.2
"""Room that a body must leave beside the own one, so as not to be in the way (metres)."""
ACCELERATION_LIMIT = 2.3
BRAKING_LIMIT = -4.0
EMERGENCY_LIMIT = -7.0
JERK = 9.0
EMERGENCY_JERK = 30.0
"""Bounds on acceleration (metres a second squared) and on its change (a second)."""
STANDSTILL_GAP = 2.2
"""Gap to the one ahead at standstill (metres)."""
PASSED = 2.2
"""People who are so far beyond the middle of a lane have left it free (metres)."""
NEVER = np.iinfo(np.int64).max
REACTION = 0.5
"""Speed is adapted to the limit so many seconds ahead."""


@dataclass
class Traffic:
    """State of n vehicles on routes, as arrays; the ego vehicle is number 0.

    Attributes:
        points: (n, K, 3) routes, padded with their last sample.
        profile: (n, K) highest speeds, padded with 0.
        ends: (n,) arc lengths up to which a vehicle may go.
        half: (n, 2) half length and half width.
        front: (n,) from the reference on the route to the front bumper.
        tail: (n,) from the reference back to the end of the vehicle or of its trailer.
        chord: (n,) half of the distance between the two axles that keep to the route; 0: one reference point.
        manner: (n, 3) acceleration, comfortable deceleration and time headway.
        s, v, a: (n,) arc length of the reference, speed, acceleration.
        junctions: (n, J, 4) stop line, entry, exit, local number of the lane over the junction; padded with infinity.
        granted: (n, J) whether the way is reserved.
        requested: (n, J) step of the request; a huge number before it.
        crossings: (n, C, 3) start, end, number of the crossing; padded with infinity.
        clear: (M, M) arc length on the lane over a junction (row) behind which it is clear of another (column);
            negative where they exclude each other nowhere.
    """

    points: Array
    profile: Array
    ends: Array
    half: Array
    front: Array
    tail: Array
    chord: Array
    manner: Array
    s: Array
    v: Array
    a: Array
    junctions: Array
    granted: NDArray[np.bool_]
    requested: NDArray[np.int64]
    crossings: Array
    clear: Array

    def poses(self) -> Array:
        """(n, 3) reference points: the middle of the box, the rear axle for the ego vehicle."""
        poses: Array = poses_along(self.points, self.s, self.chord)
        return poses

    def step(self, step: int, bodies: Array, owners: NDArray[np.int64], walkers: Array, bounds: Array) -> None:
        """Move all vehicles on by `TIME_STEP`.

        Args:
            step: number of the step, orders the requests at junctions.
            bodies: (m, 6) x, y, yaw, half length, half width, speed of all that may be in the way.
            owners: (m,) number of the vehicle that a body belongs to, -1 for others.
            walkers: (w, 4) number of the crossing, x, y, yaw of the people who cross.
            bounds: (2, n) lower and upper bound of the acceleration, infinite where a vehicle drives as it likes.
        """
        gaps, speeds = _leaders(self.points, self.s, self.front, self.half, bodies, owners)
        rooms = _crossing_rooms(self.points, self.s + self.front, self.crossings, walkers)
        _reserve(step, self.s, self.v, self.front, self.tail, gaps, rooms, self.junctions, self.granted,
                 self.requested, self.clear)  # fmt: skip
        wanted = _accelerations(self.s, self.v, self.front, self.profile, self.ends, self.manner, gaps, speeds,
                                self.junctions, self.granted, rooms)  # fmt: skip
        wanted = np.clip(np.clip(wanted, *bounds), EMERGENCY_LIMIT, ACCELERATION_LIMIT)
        emergency = wanted < BRAKING_LIMIT
        change = TIME_STEP * np.where(emergency, EMERGENCY_JERK, JERK)
        a = np.clip(wanted, self.a - change, self.a + TIME_STEP * JERK)
        v = np.maximum(self.v + a * TIME_STEP, 0.0)
        self.s = self.s + (self.v + v) / 2 * TIME_STEP
        self.a = (v - self.v) / TIME_STEP
        self.v = v

    def busy(self, count: int) -> NDArray[np.bool_]:
        """Which of the crossings (count,) a vehicle is on, or too near to stop for."""
        busy: NDArray[np.bool_] = _busy(count, self.s, self.v, self.front, self.tail, self.crossings)
        return busy


@compiled
def _sample(points: Array, s: float) -> tuple[float, float, float]:
    at = min(max(s / SPACING, 0.0), points.shape[0] - 1.0)
    k = min(int(at), points.shape[0] - 2)
    w = at - k
    a, b = points[k], points[k + 1]
    return a[0] + w * (b[0] - a[0]), a[1] + w * (b[1] - a[1]), a[2] + w * (b[2] - a[2])


@compiled
def poses_along(points: Array, s: Array, chord: Array) -> Array:
    """Poses (n, 3) on sampled ways (n, K, 3) at arc lengths (n,); both ends of a chord keep to the way."""
    result = np.empty((len(s), 3))
    for i in range(len(s)):
        if chord[i] == 0.0:
            result[i] = _sample(points[i], s[i])
            continue
        rear = _sample(points[i], s[i] - chord[i])
        lead = _sample(points[i], s[i] + chord[i])
        result[i, 0], result[i, 1] = (rear[0] + lead[0]) / 2, (rear[1] + lead[1]) / 2
        result[i, 2] = np.arctan2(lead[1] - rear[1], lead[0] - rear[0])
    return result


@compiled
def _leaders(
    points: Array, s: Array, front: Array, half: Array, bodies: Array, owners: NDArray[np.int64]
) -> tuple[Array, Array]:
    """Free distance ahead of each vehicle along its route, and speed of what ends it along that route."""
    gaps, speeds = np.full(len(s), np.inf), np.zeros(len(s))
    for i in range(len(s)):
        bumper = s[i] + front[i]
        x, y, _ = _sample(points[i], bumper)
        for j in range(len(bodies)):
            body = bodies[j]
            reach = HORIZON + body[3] + body[4]
            if owners[j] == i or abs(body[0] - x) > reach or abs(body[1] - y) > reach:
                continue
            ahead = 0.0
            while ahead < min(HORIZON, gaps[i]):
                px, py, yaw = _sample(points[i], bumper + ahead)
                free = point_clearance(px, py, body, body[3:5]) - half[i, 1] - SIDE_MARGIN
                if free <= 0.0:
                    gaps[i], speeds[i] = ahead, max(body[5] * np.cos(body[2] - yaw), 0.0)
                    break
                ahead += max(free, SPACING / 2)
    return gaps, speeds


@compiled
def _crossing_rooms(points: Array, bumper: Array, crossings: Array, walkers: Array) -> Array:
    """Distance (n,) to the nearest line before a crossing where somebody still has to pass, infinite without one."""
    result = np.full(len(bumper), np.inf)
    for i in range(len(bumper)):
        for k in range(crossings.shape[1]):
            room = crossings[i, k, 0] - LINE_SETBACK - bumper[i]
            if room < -0.9 * LINE_SETBACK or room > min(HORIZON, result[i]):
                continue
            x, y, _ = _sample(points[i], (crossings[i, k, 0] + crossings[i, k, 1]) / 2)
            for w in walkers:
                to_go = (x - w[1]) * np.cos(w[3]) + (y - w[2]) * np.sin(w[3])
                if w[0] == crossings[i, k, 2] and to_go > -PASSED:
                    result[i] = room
    return result


@compiled
def _reserve(
    step: int, s: Array, v: Array, front: Array, tail: Array, gaps: Array, rooms: Array, junctions: Array,
    granted: NDArray[np.bool_], requested: NDArray[np.int64], clear: Array,
) -> None:  # fmt: skip
    """Give the ways over junctions to those who asked first, and take back those that are left or cannot be used."""
    for i in range(len(s)):
        for k in range(junctions.shape[1]):
            line, entry, leave = junctions[i, k, 0], junctions[i, k, 1], junctions[i, k, 2]
            bumper = s[i] + front[i]
            held_up = rooms[i] < line - bumper + 3 * LINE_SETBACK and v[i] < 1.0
            if not np.isfinite(line) or s[i] - tail[i] > leave:
                granted[i, k], requested[i, k] = False, NEVER
            elif bumper > entry + 0.5:
                granted[i, k] = True
            elif held_up:
                granted[i, k], requested[i, k] = False, NEVER
            elif requested[i, k] == NEVER and line - bumper < min(v[i] ** 2 / 3 + 10, gaps[i]):
                requested[i, k] = step
    for i in range(len(s)):
        for k in range(junctions.shape[1]):
            if not granted[i, k] and requested[i, k] != NEVER:
                granted[i, k] = not _opposed(i, k, s - tail, junctions, granted, requested, clear)


@compiled
def _opposed(
    i: int, k: int, rear: Array, junctions: Array, granted: NDArray[np.bool_], requested: NDArray[np.int64],
    clear: Array,
) -> bool:  # fmt: skip
    lane = int(junctions[i, k, 3])
    for j in range(junctions.shape[0]):
        for m in range(junctions.shape[1]):
            if j == i or (requested[j, m] == NEVER and not granted[j, m]):
                continue
            if rear[j] > junctions[j, m, 1] + clear[int(junctions[j, m, 3]), lane]:
                continue
            if granted[j, m] or (requested[j, m], j) < (requested[i, k], i):
                return True
    return False


@compiled
def _following(v: float, gap: float, speed: float, manner: Array) -> float:
    """What the intelligent driver model takes away from the acceleration for a leader."""
    wish = v * manner[2] + v * (v - speed) / (2 * np.sqrt(manner[0] * manner[1]))
    return float(manner[0] * ((STANDSTILL_GAP + max(wish, 0.0)) / max(gap, 0.1)) ** 2)


@compiled
def _accelerations(
    s: Array, v: Array, front: Array, profile: Array, ends: Array, manner: Array, gaps: Array, speeds: Array,
    junctions: Array, granted: NDArray[np.bool_], rooms: Array,
) -> Array:  # fmt: skip
    result = np.empty(len(s))
    for i in range(len(s)):
        last = profile.shape[1] - 1
        here = profile[i, min(int(s[i] / SPACING), last)]
        ahead = profile[i, min(int((s[i] + REACTION * v[i]) / SPACING), last)]
        limit = max(min(here, ahead), 0.5)
        free = manner[i, 0] * (1 - (v[i] / limit) ** 4) if v[i] <= limit else max(1.5 * (limit - v[i]), -2.5)
        taken = _following(v[i], gaps[i], speeds[i], manner[i])
        bumper = s[i] + front[i]
        taken = max(taken, _following(v[i], ends[i] - bumper + STANDSTILL_GAP, 0.0, manner[i]))
        for k in range(junctions.shape[1]):
            if not granted[i, k] and np.isfinite(junctions[i, k, 0]) and bumper < junctions[i, k, 1] + 0.5:
                taken = max(taken, _stopping(v[i], junctions[i, k, 0] - bumper, manner[i]))
        taken = max(taken, _stopping(v[i], rooms[i], manner[i]))
        result[i] = min(free, manner[i, 0]) - taken
    return result


@compiled
def _stopping(v: float, room: float, manner: Array) -> float:
    """Likewise for a line; the standstill gap does not count, as bumpers stop at the line itself."""
    return float(_following(v, room + STANDSTILL_GAP, 0.0, manner))


@compiled
def _busy(count: int, s: Array, v: Array, front: Array, tail: Array, crossings: Array) -> NDArray[np.bool_]:
    result = np.zeros(count, np.bool_)
    for i in range(len(s)):
        bumper = s[i] + front[i]
        for k in range(crossings.shape[1]):
            start, end = crossings[i, k, 0], crossings[i, k, 1]
            near = start - 0.5 - 0.5 * v[i] - v[i] ** 2 / 5
            if np.isfinite(start) and s[i] - tail[i] < end + 0.5 and bumper > near:
                result[int(crossings[i, k, 2])] = True
    return result
