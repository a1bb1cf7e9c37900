"""The CAN bus messages of a scene that planners read, in the format of nuScenes' CAN bus expansion.

Signs follow its description: pose x forward, y left, z up; the steering angle is positive to the right, in every town.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.tables import rotation_about_z
from al_lightning.simulation.world import TIME_STEP, Drive

Array = NDArray[np.float64]
Message = dict[str, Any]

FREQUENCIES: Mapping[str, float] = {"pose": 50, "steeranglefeedback": 100}
"""Messages and how many a second."""
GRAVITY = 9.81
WHEELBASE = 2.588
STEERING_RATIO = 16.2
"""Turn of the steering wheel for one of the front wheels."""


class Motion:
    """The ego vehicle's motion at any moment, linear between the steps of a drive.

    Args:
        drive: what happens.
        seconds: (M,) moments since the first step.

    Attributes:
        x, y, yaw, speed, acceleration, yaw_rate: (M,) each.
        steering: (M,) turn of the steering wheel, radians, left positive.
    """

    def __init__(self, drive: Drive, seconds: Array) -> None:
        steps = np.arange(len(drive.ego)) * TIME_STEP
        self.x, self.y, self.yaw = (
            np.interp(seconds, steps, column)
            for column in (drive.ego[:, 0], drive.ego[:, 1], np.unwrap(drive.ego[:, 2]))
        )
        self.speed, self.acceleration, self.yaw_rate = (
            np.interp(seconds, steps, column) for column in (drive.speed, drive.acceleration, drive.yaw_rate)
        )
        self.steering = STEERING_RATIO * np.arctan2(WHEELBASE * self.yaw_rate, np.maximum(np.abs(self.speed), 0.5))


def can_bus_messages(drive: Drive, timestamp: int) -> dict[str, list[Message]]:
    """All messages of a scene, from its first step to its last.

    Args:
        drive: what happens.
        timestamp: time of the first step, microseconds.
    """
    duration = (len(drive.ego) - 1) * TIME_STEP
    writers = {"pose": _pose, "steeranglefeedback": _steering}
    messages = {}
    for name, frequency in FREQUENCIES.items():
        seconds = np.arange(round(duration * frequency + 1e-6) + 1) / frequency
        seconds = seconds[seconds <= duration + 1e-9]
        columns = {
            "utime": timestamp + np.round(seconds * 1e6).astype(np.int64),
            **writers[name](Motion(drive, seconds)),
        }
        lists = {key: values.tolist() for key, values in columns.items()}
        messages[name] = [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    return messages


def _accelerations(motion: Motion) -> Array:
    along, across = motion.acceleration, motion.speed * motion.yaw_rate
    return _rounded([along, across, np.full_like(along, GRAVITY)])


def _about_z(rates: Array) -> Array:
    return _rounded([np.zeros_like(rates), np.zeros_like(rates), rates])


def _rounded(columns: Sequence[Array]) -> Array:
    rounded: Array = np.stack(columns, axis=1).round(6)
    return rounded


def _pose(motion: Motion) -> dict[str, Array]:
    still = np.zeros_like(motion.speed)
    return {
        "accel": _accelerations(motion),
        "orientation": np.array([rotation_about_z(yaw) for yaw in motion.yaw]),
        "pos": np.stack([motion.x, motion.y, still], axis=1),
        "rotation_rate": _about_z(motion.yaw_rate),
        "vel": _rounded([motion.speed, still, still]),
    }


def _steering(motion: Motion) -> dict[str, Array]:
    return {"value": np.round(-motion.steering, 6)}


def write_can_bus(folder: Path, scene: str, drive: Drive, timestamp: int) -> None:
    """Write the message files of a scene.

    Args:
        folder: ``can_bus`` of the data set.
        scene: name of the scene.
        drive: what happens.
        timestamp: time of the first step, microseconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, messages in can_bus_messages(drive, timestamp).items():
        (folder / f"{scene}_{name}.json").write_text(json.dumps(messages), encoding="utf-8")
