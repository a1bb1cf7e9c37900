"""The CAN bus messages of a scene, in the format of nuScenes' CAN bus expansion.

Signs follow its description: pose and IMU x forward, y left, z up; the steering angles are positive to the right.
The throttle and brake sensors come at 100 Hz instead of about 900 Hz.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_lightning.simulation.tables import rotation_about_z
from al_lightning.simulation.world import TIME_STEP, Drive, Town

Array = NDArray[np.float64]
Message = dict[str, Any]

FREQUENCIES: Mapping[str, float] = {
    "ms_imu": 100,
    "pose": 50,
    "steeranglefeedback": 100,
    "vehicle_monitor": 2,
    "zoesensors": 100,
    "zoe_veh_info": 100,
}
"""Messages and how many a second."""
GRAVITY = 9.81
WHEELBASE, TRACK_WIDTH, WHEEL_CIRCUMFERENCE = 2.588, 1.51, 1.94
STEERING_RATIO = 16.2
"""Turn of the steering wheel for one of the front wheels."""
MASS, WHEEL_RADIUS, GEAR_RATIO = 1_600.0, 0.309, 9.34
DRAG = 0.5
"""Air drag (N s² / m²); a rolling resistance of 150 N comes on top."""
ROUTE_MARGIN = 50.0
"""Metres of the route before the first and after the last pose."""


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
    writers = {
        "ms_imu": _imu,
        "pose": _pose,
        "steeranglefeedback": _steering,
        "vehicle_monitor": _monitor,
        "zoesensors": _sensors,
        "zoe_veh_info": _vehicle,
    }
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


def _orientation(motion: Motion) -> Array:
    return np.array([rotation_about_z(yaw) for yaw in motion.yaw])


def _imu(motion: Motion) -> dict[str, Array]:
    return {
        "linear_accel": _accelerations(motion),
        "q": _orientation(motion),
        "rotation_rate": _about_z(motion.yaw_rate),
    }


def _pose(motion: Motion) -> dict[str, Array]:
    still = np.zeros_like(motion.speed)
    return {
        "accel": _accelerations(motion),
        "orientation": _orientation(motion),
        "pos": np.stack([motion.x, motion.y, still], axis=1),
        "rotation_rate": _about_z(motion.yaw_rate),
        "vel": _rounded([motion.speed, still, still]),
    }


def _steering(motion: Motion) -> dict[str, Array]:
    return {"value": np.round(-motion.steering, 6)}


def _pedals(motion: Motion) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Throttle 0 to 1000 and brake pressure 0 to 126."""
    throttle = np.clip(250 * motion.acceleration + 8 * motion.speed, 0, 1000)
    brake = np.clip(-20 * (motion.acceleration + 0.3), 0, 126)
    return throttle.astype(np.int64), brake.astype(np.int64)


def _rpm(speed: Array) -> Array:
    return np.round(np.abs(speed) / WHEEL_CIRCUMFERENCE * 60, 2)


def _monitor(motion: Motion) -> dict[str, NDArray[Any]]:
    throttle, brake = _pedals(motion)
    degrees = -np.degrees(motion.steering)
    count = np.ones(len(throttle), np.int64)
    side = motion.yaw_rate * TRACK_WIDTH / 2
    return {
        "available_distance": 90 * count,
        "battery_level": 70 * count,
        "brake": brake,
        "brake_switch": np.where(brake > 0, 3, 1),
        "gear_position": 7 * count,
        "left_signal": (motion.steering > 1.0).astype(np.int64),
        "rear_left_rpm": _rpm(motion.speed - side),
        "rear_right_rpm": _rpm(motion.speed + side),
        "right_signal": (motion.steering < -1.0).astype(np.int64),
        "steering": np.round(degrees, 1),
        "steering_speed": np.round(np.gradient(degrees, 1 / FREQUENCIES["vehicle_monitor"]), 1)
        if len(degrees) > 1
        else np.zeros(len(degrees)),
        "throttle": throttle,
        "vehicle_speed": np.round(3.6 * motion.speed, 2),
        "yaw_rate": np.round(np.degrees(motion.yaw_rate), 1),
    }


def _sensors(motion: Motion) -> dict[str, NDArray[Any]]:
    throttle, brake = _pedals(motion)
    return {
        "brake_sensor": np.round(0.375 + 0.036 * brake / 126, 4),
        "steering_sensor": np.round(-np.degrees(motion.steering), 1),
        "throttle_sensor": throttle,
    }


def _vehicle(motion: Motion) -> dict[str, NDArray[Any]]:
    throttle, _ = _pedals(motion)
    count = np.ones(len(throttle), np.int64)
    side = motion.yaw_rate * TRACK_WIDTH / 2
    front = np.hypot(1.0, WHEELBASE * motion.yaw_rate / np.maximum(np.abs(motion.speed), 0.5))
    force = MASS * motion.acceleration + DRAG * motion.speed**2 + 150 * (motion.speed > 0)
    torque = np.round(2 * np.clip(force * WHEEL_RADIUS / GEAR_RATIO, -400, 1647)) / 2
    degrees = np.round(-np.degrees(motion.steering), 1)
    travelled = np.concatenate([[0.0], np.cumsum(np.abs(motion.speed[1:]) / FREQUENCIES["zoe_veh_info"])])
    return {
        "FL_wheel_speed": _rpm((motion.speed - side) * front),
        "FR_wheel_speed": _rpm((motion.speed + side) * front),
        "RL_wheel_speed": _rpm(motion.speed - side),
        "RR_wheel_speed": _rpm(motion.speed + side),
        "left_solar": 80 * count,
        "longitudinal_accel": np.round(motion.acceleration / 0.05) * 0.05,
        "meanEffTorque": torque,
        "odom": (100 * travelled).astype(np.int64) % 125,
        "odom_speed": np.round(3.6 * motion.speed, 2),
        "pedal_cc": throttle,
        "regen": np.clip(-20 * motion.acceleration, 0, 100).astype(np.int64),
        "requestedTorqueAfterProc": torque,
        "right_solar": 80 * count,
        "steer_corrected": degrees,
        "steer_offset_can": np.full(len(count), -12.6),
        "steer_raw": np.round(degrees - 12.6, 1),
        "transversal_accel": np.round(motion.speed * motion.yaw_rate / GRAVITY / 0.004) * 0.004,
    }


def message_statistics(messages: Sequence[Message]) -> dict[str, Any]:
    """Count, frequency, duration and, key by key, extremes, mean and deviation of values and differences."""
    moments = np.array([message["utime"] for message in messages])
    timespan = float(moments[-1] - moments[0]) / 1e6
    return {
        "message_count": len(messages),
        "message_freq": (len(messages) - 1) / timespan if timespan else 0.0,
        "timespan": timespan,
        "var_stats": {
            key: _statistics(np.array([message[key] for message in messages], dtype=np.float64))
            for key in messages[0]
            if key != "utime"
        },
    }


def _statistics(values: Array) -> dict[str, Any]:
    steps = np.diff(values, axis=0) if len(values) > 1 else np.zeros_like(values)
    return {
        f"{measure}{ending}": np.round(getattr(column, measure)(axis=0), 9).tolist()
        for ending, column in (("", values), ("_diff", steps))
        for measure in ("max", "mean", "min", "std")
    }


def route_points(drive: Drive, town: Town) -> list[list[float]]:
    """The middle of the lanes that the vehicle follows, from 50 m before its first to 50 m after its last pose.

    Raises:
        ValueError: the drive has no route.
    """
    if not drive.route:
        raise ValueError(f"the drive through {drive.location} has no route")
    points = np.concatenate([town.lanes[number].path.points for number in drive.route])
    near = [int(np.hypot(*(points - place).T).argmin()) for place in (drive.ego[0, :2], drive.ego[-1, :2])]
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    wanted = (along >= along[min(near)] - ROUTE_MARGIN) & (along <= along[max(near)] + ROUTE_MARGIN)
    route: list[list[float]] = np.round(points[wanted], 6).tolist()
    return route


def write_can_bus(folder: Path, scene: str, drive: Drive, town: Town, timestamp: int) -> None:
    """Write all message files of a scene.

    Args:
        folder: ``can_bus`` of the data set.
        scene: name of the scene.
        drive: what happens.
        town: where.
        timestamp: time of the first step, microseconds.
    """
    messages = can_bus_messages(drive, timestamp)
    contents: dict[str, Any] = {
        **messages,
        "meta": {name: message_statistics(own) for name, own in messages.items()},
        "route": route_points(drive, town),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{scene}_{name}.json").write_text(json.dumps(content), encoding="utf-8")
