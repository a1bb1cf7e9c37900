"""The ego vehicle's motion around each keyframe, from its logged poses, as VAD's converter computes it.

All rows of a scene follow each other in time, half a second apart. Results lie in the LiDAR frame of the row's
keyframe: x right, y forward. Shape letters: N rows, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_lightning.driving import LEFT, RIGHT, STRAIGHT

FUTURE_STEPS = 6
HISTORY_STEPS = 2
KEYFRAME_SECONDS = 0.5
COMMAND_OFFSET = 2.0
"""From here on, metres to the side at the end of the known future, the command is to turn."""
EGO_LENGTH, EGO_WIDTH = 4.084, 1.85
WHEELBASE = 2.588

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class EgoPoses:
    """Poses at the time of the LiDAR's keyframes.

    Attributes:
        lidar2ego: (N, 4, 4) LiDAR to ego frame.
        ego2global: (N, 4, 4) ego to global frame.
        rotation: (N, 4) quaternion w, x, y, z of ``ego2global`` as logged: its sign matters to `can_bus_vectors`.
    """

    lidar2ego: Array
    ego2global: Array
    rotation: Array

    @property
    def lidar2global(self) -> Array:
        """(N, 4, 4)."""
        return self.ego2global @ self.lidar2ego

    def take(self, rows: Rows) -> EgoPoses:
        """The rows with these numbers."""
        return EgoPoses(self.lidar2ego[rows], self.ego2global[rows], self.rotation[rows])


@dataclass(frozen=True)
class EgoMotion:
    """What the ego vehicle has done and does.

    Attributes:
        history: (N, 2, 2) float32 displacements up to the keyframe; before the first one of a scene the motion goes
            on backwards. TRAP: at the first keyframe itself that is the first step of the future.
        future: (N, T, 2) float32 displacements from the keyframe on; 0 after the last one of a scene.
        future_mask: (N, T) bool, the steps that were driven.
        command: (N,) int64, `RIGHT`, `LEFT` or `STRAIGHT`.
    """

    history: NDArray[np.float32]
    future: NDArray[np.float32]
    future_mask: NDArray[np.bool_]
    command: Rows

    def take(self, rows: Rows) -> EgoMotion:
        """The rows with these numbers."""
        return EgoMotion(self.history[rows], self.future[rows], self.future_mask[rows], self.command[rows])


@dataclass(frozen=True)
class VehicleSignals:
    """What the CAN bus says at each keyframe.

    Attributes:
        known: (N,) bool; where false the other values are 0.
        rates: (N, 9) acceleration, rotation rate, velocity, each x, y, z.
        speed: (N,) m/s.
        steering: (N,) as in the ``steeranglefeedback`` messages, radians.
    """

    known: NDArray[np.bool_]
    rates: Array
    speed: Array
    steering: Array

    @staticmethod
    def unknown(rows: int) -> VehicleSignals:
        """No CAN bus at all."""
        return VehicleSignals(np.zeros(rows, bool), np.zeros((rows, 9)), np.zeros(rows), np.zeros(rows))


def scene_bounds(scenes: Sequence[str]) -> tuple[Rows, Rows]:
    """First and last row (N,), (N,) of the scene of each row.

    Raises:
        ValueError: the rows of a scene do not follow each other.
    """
    names = np.array(scenes)
    starts = np.flatnonzero(np.append(True, names[1:] != names[:-1])[: len(names)])
    if len(np.unique(names)) != len(starts):
        raise ValueError("the rows of a scene must follow each other")
    sizes = np.diff(np.append(starts, len(names)))
    return starts.repeat(sizes), (starts + sizes - 1).repeat(sizes)


def ego_motion(lidar2global: Array, first: Rows, last: Rows) -> EgoMotion:
    """History, future and command; the positions are those of the LiDAR.

    TRAP: the command looks at the end of what is known, however short that is.

    Args:
        lidar2global: (N, 4, 4).
        first: (N,) first row of the scene.
        last: (N,) last row of the scene.
    """
    rows, steps = np.arange(len(first))[:, None], np.arange(FUTURE_STEPS + 1)
    ahead = rows + steps
    path = _relative(lidar2global, lidar2global[np.minimum(ahead, last[:, None]), :3, 3])
    back = np.maximum(rows + np.arange(-HISTORY_STEPS, 0), first[:, None])
    from_, to = (lidar2global[np.minimum(row, last[:, None]), :3, 3] for row in (back, back + 1))
    sideways = path[:, -1, 0]
    return EgoMotion(
        history=(_relative(lidar2global, to) - _relative(lidar2global, from_))[..., :2].astype(np.float32),
        future=np.diff(path[..., :2], axis=1).astype(np.float32),
        future_mask=ahead[:, 1:] <= last[:, None],
        command=np.where(sideways >= COMMAND_OFFSET, RIGHT, np.where(sideways <= -COMMAND_OFFSET, LEFT, STRAIGHT)),
    )


def _relative(lidar2global: Array, positions: Array) -> Array:
    """Global positions (N, T, 3) in the LiDAR frames."""
    relative: Array = (positions - lidar2global[:, None, :3, 3]) @ lidar2global[:, :3, :3]
    return relative


def headings(ego2global: Array) -> Array:
    """Direction of the ego's x axis (N,), radians, counter-clockwise from the global x axis."""
    direction: Array = np.arctan2(ego2global[:, 1, 0], ego2global[:, 0, 0])
    return direction


def can_bus_vectors(poses: EgoPoses, rates: Array, follows: NDArray[np.bool_]) -> NDArray[np.float32]:
    """`DrivingInputs.can_bus` as official VAD sees it.

    TRAP: 3:7 is w of the quaternion four times: the official code assigns an object that numpy takes for one number.
    TRAP: the change of heading is the difference of two angles in [0, 360) and is not wrapped.

    Args:
        poses: N keyframes.
        rates: (N, 9) as `VehicleSignals.rates`.
        follows: (N,) bool, the previous row is the previous keyframe.

    Returns:
        (N, 18) float32.
    """
    degrees = np.degrees(headings(poses.ego2global))
    degrees = np.where(degrees < 0, degrees + 360, degrees)
    vectors = np.zeros((len(follows), 18))
    vectors[1:, :3] = np.diff(poses.ego2global[:, :3, 3], axis=0)
    vectors[:, 3:7] = poses.rotation[:, :1]
    vectors[:, 7:16] = rates
    vectors[:, 16] = np.radians(degrees)
    vectors[1:, 17] = np.diff(degrees)
    vectors[~follows, :3] = vectors[~follows, 17] = 0
    return vectors.astype(np.float32)


def ego_status(
    poses: EgoPoses,
    motion: EgoMotion,
    signals: VehicleSignals,
    left_hand_traffic: NDArray[np.bool_],
    first: Rows,
    last: Rows,
) -> NDArray[np.float32]:
    """`DrivingInputs.ego_status` as VAD's converter computes it.

    TRAP: yaw is computed from a quaternion w, x, y, z read as x, y, z, w, so the yaw rate is none, and the velocity
    points forward whatever the vehicle does.
    TRAP: without CAN bus the speed is the way of the half seconds before and after: it looks into the future.

    Args:
        poses: N keyframes.
        motion: of the same keyframes.
        signals: of the same keyframes.
        left_hand_traffic: (N,) bool, where the sign of the steering is turned round.
        first: (N,) first row of the scene.
        last: (N,) last row of the scene.

    Returns:
        (N, 9) float32: velocity x, y, acceleration x, y, yaw rate, length, width, speed, 2 steering / wheelbase.
    """
    rows = np.arange(len(first))
    start = np.where(rows > first, rows - 1, rows)
    end = np.where(rows > first, rows, np.minimum(rows + 1, last))
    x, y, z, w = poses.rotation.T
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (z * z + y * y))
    place = poses.ego2global[:, :2, 3]
    pace = np.linalg.norm(place[end] - place[start], axis=1) / KEYFRAME_SECONDS
    angle = yaw + np.pi / 2
    speed = np.linalg.norm(motion.history[:, -1] + motion.future[:, 0], axis=1)
    steering = np.where(left_hand_traffic, -signals.steering, signals.steering)
    columns = [
        pace * np.cos(angle),
        pace * np.sin(angle),
        signals.rates[:, 0],
        signals.rates[:, 1],
        (yaw[end] - yaw[start]) / KEYFRAME_SECONDS,
        np.full(len(rows), EGO_LENGTH),
        np.full(len(rows), EGO_WIDTH),
        np.where(signals.known, signals.speed, speed),
        2 * steering / WHEELBASE,
    ]
    status: NDArray[np.float32] = np.stack(columns, axis=1).astype(np.float32)
    return status
