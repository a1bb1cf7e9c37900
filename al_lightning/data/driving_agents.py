"""Annotated boxes and where they go, as VAD's converter and filters prepare them.

Shape letters: N keyframes, M boxes of all keyframes, A boxes of one keyframe, T steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from al_lightning.data.driving_motion import FUTURE_STEPS, Array, Rows

PLANNING_RANGE = (15.0, 30.0)
"""Half the size of the planning range: x, y, metres."""
LONGEST_GAP = 1.5
"""Seconds between two boxes of an object beyond which its velocity counts as unknown; twice that over two gaps."""


@dataclass(frozen=True)
class TrackedBoxes:
    """Boxes of the ten classes as columns of length M, keyframe by keyframe, in the global frame.

    Attributes:
        center: (M, 3) metres.
        size: (M, 3) width, length, height, metres.
        rotation: (M, 3, 3) box to global frame.
        seconds: (M,) when.
        label: (M,) int64 position in `AGENT_CLASSES`.
        lidar_points: (M,) int64 LiDAR points in the box.
        radar_points: (M,) int64.
        preceding: (M,) int64 the same object's box in the keyframe before, -1 where there is none.
        following: (M,) int64 the one in the next keyframe.
        begin: (N,) int64 first box of each keyframe.
        end: (N,) int64 one after the last box.
    """

    center: Array
    size: Array
    rotation: Array
    seconds: Array
    label: Rows
    lidar_points: Rows
    radar_points: Rows
    preceding: Rows
    following: Rows
    begin: Rows
    end: Rows

    def take(self, rows: Rows) -> TrackedBoxes:
        """The keyframes with these numbers; the boxes of the others stay where tracks lead to them."""
        return replace(self, begin=self.begin[rows], end=self.end[rows])

    def within(self, unit_of: Rows) -> TrackedBoxes:
        """The same with tracks that end where they leave the unit of their keyframe: the labels of others stay unread.

        Args:
            unit_of: (N,) unit of each keyframe.
        """
        owner = np.full(len(self.center), -1, dtype=np.int64)
        for unit, begin, end in zip(unit_of, self.begin, self.end, strict=True):
            owner[begin:end] = unit
        return replace(
            self,
            preceding=np.where(owner[self.preceding] == owner, self.preceding, -1),
            following=np.where(owner[self.following] == owner, self.following, -1),
        )

    def velocity(self, boxes: Rows) -> Array:
        """Velocities (A, 3) of boxes (A,), m/s, as the devkit's ``box_velocity`` computes them; 0 where unknown."""
        before, after = self.preceding[boxes], self.following[boxes]
        start, end = np.where(before >= 0, before, boxes), np.where(after >= 0, after, boxes)
        gap = self.seconds[end] - self.seconds[start]
        gaps: Rows = (before >= 0).astype(np.int64) + (after >= 0)
        known = (gaps > 0) & (gap <= LONGEST_GAP * np.maximum(gaps, 1))
        way = self.center[end] - self.center[start]
        return np.where(known[:, None], way / np.where(known, gap, 1)[:, None], 0)


@dataclass(frozen=True)
class Agents:
    """Boxes of a keyframe in its LiDAR frame.

    Attributes:
        boxes: (A, 9) float32 as `DrivingAnnotations.boxes`.
        labels: (A,) int64.
        futures: (A, T, 2) float32 displacements, 0 where unknown.
        future_mask: (A, T) bool.
        future_yaw: (A, T) float32 radians from step to step, 0 where unknown.
    """

    boxes: NDArray[np.float32]
    labels: Rows
    futures: NDArray[np.float32]
    future_mask: NDArray[np.bool_]
    future_yaw: NDArray[np.float32]

    def take(self, rows: NDArray[np.generic]) -> Agents:
        """Some of the boxes, by position or by truth value."""
        return Agents(**{name: column[rows] for name, column in self.__dict__.items()})


def agents_at(tracks: TrackedBoxes, row: int, lidar2global: Array) -> Agents:
    """All boxes of a keyframe.

    A track ends where an object is not annotated in the next keyframe, or where it was cut (`TrackedBoxes.within`).

    Args:
        tracks: boxes.
        row: number of the keyframe.
        lidar2global: (4, 4) pose of its LiDAR.
    """
    now = np.arange(tracks.begin[row], tracks.end[row])
    chain = _follow(tracks.following, now)
    known = chain[:, 1:] >= 0
    turn, place = lidar2global[:3, :3], lidar2global[:3, 3]
    centers = (tracks.center[chain] - place) @ turn
    axes = turn.T @ tracks.rotation[chain]
    yaw = np.arctan2(axes[..., 1, 0], axes[..., 0, 0])
    stored_yaw = -box_yaw(axes[:, 0]) - np.pi / 2
    velocity = tracks.velocity(now) @ turn
    return Agents(
        np.column_stack([centers[:, 0], tracks.size[now], stored_yaw, velocity[:, :2]]).astype(np.float32),
        tracks.label[now],
        np.where(known[..., None], np.diff(centers[..., :2], axis=1), 0).astype(np.float32),
        known,
        np.where(known, wrapped(np.diff(yaw, axis=1)), 0).astype(np.float32),
    )


def _follow(following: Rows, now: Rows) -> Rows:
    """Boxes (A, 1 + T) of the same objects in this and the next keyframes; -1 from the first one without."""
    chain = [now]
    for _ in range(FUTURE_STEPS):
        chain.append(np.where(chain[-1] >= 0, following[chain[-1]], -1))
    return np.stack(chain, axis=1)


def box_yaw(axes: Array) -> Array:
    """Yaw (...) of rotations (..., 3, 3) as pyquaternion's ``yaw_pitch_roll`` has it, radians.

    TRAP: that is the direction of the side axis, not of the front: it differs where boxes lean in the LiDAR frame.
    """
    return np.arctan2(-axes[..., 0, 1], axes[..., 0, 0])


def wrapped(angle: Array) -> Array:
    """Angles in [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def in_planning_range(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Boxes (A, 9) whose centres lie within the planning range, (A,)."""
    inside: NDArray[np.bool_] = (np.abs(boxes[:, :2]) < PLANNING_RANGE).all(axis=1)
    return inside
