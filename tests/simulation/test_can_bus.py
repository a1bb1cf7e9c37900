"""CAN bus messages: those of a written data set through the devkit, and closed forms of simple drives."""

import json

import numpy as np
import pytest
from nuscenes.can_bus.can_bus_api import NuScenesCanBus
from pyquaternion import Quaternion

from al_lightning.simulation.can_bus import FREQUENCIES, can_bus_messages, message_statistics, route_points
from al_lightning.simulation.plan import plan_scenes
from al_lightning.simulation.presets import PRESETS
from al_lightning.simulation.vocabulary import VERSION
from al_lightning.simulation.world import TIME_STEP, Drive

FIELDS = {
    "ms_imu": {"utime", "linear_accel", "q", "rotation_rate"},
    "pose": {"utime", "accel", "orientation", "pos", "rotation_rate", "vel"},
    "steeranglefeedback": {"utime", "value"},
    "vehicle_monitor": {
        *("utime", "available_distance", "battery_level", "brake", "brake_switch", "gear_position", "left_signal"),
        *("rear_left_rpm", "rear_right_rpm", "right_signal", "steering", "steering_speed", "throttle"),
        *("vehicle_speed", "yaw_rate"),
    },
    "zoesensors": {"utime", "brake_sensor", "steering_sensor", "throttle_sensor"},
    "zoe_veh_info": {
        *("utime", "FL_wheel_speed", "FR_wheel_speed", "RL_wheel_speed", "RR_wheel_speed", "left_solar"),
        *("longitudinal_accel", "meanEffTorque", "odom", "odom_speed", "pedal_cc", "regen"),
        *("requestedTorqueAfterProc", "right_solar", "steer_corrected", "steer_offset_can", "steer_raw"),
        "transversal_accel",
    },
}
"""As in the description of nuScenes' CAN bus expansion."""
START = 1_600_000_000_000_000
PLANS = plan_scenes(PRESETS["tiny"], 0)


def circle(radius=20.0, speed=5.0, seconds=4.0):
    """A left turn at constant speed; a negative radius turns right."""
    time = np.arange(round(seconds / TIME_STEP) + 1) * TIME_STEP
    yaw = speed * time / radius
    ego = np.stack([radius * np.sin(yaw), radius * (1 - np.cos(yaw)), yaw], axis=1)
    still = np.zeros(len(time))
    return Drive("boston-seaport", ego, still + speed, still, still + speed / radius, (), ())


def column(messages, name, key):
    return np.array([message[key] for message in messages[name]])


@pytest.fixture(scope="module")
def bus(tiny_world):
    return NuScenesCanBus(dataroot=str(tiny_world))


@pytest.mark.parametrize("name", FIELDS)
def test_devkit_opens_all_messages_of_all_scenes(bus, name):
    for plan in PLANS:
        messages = bus.get_messages(plan.name, name, print_warnings=False)
        assert {frozenset(message) for message in messages} == {frozenset(FIELDS[name])}
        moments = np.array([message["utime"] for message in messages])
        assert np.allclose(np.diff(moments), 1e6 / FREQUENCIES[name], atol=1)
        assert moments[0] == plan.timestamp
        last_keyframe = plan.timestamp + 500_000 * (PRESETS["tiny"].keyframes - 1)
        assert moments[-1] >= last_keyframe


def test_meta_describes_every_message(bus, capsys):
    for plan in PLANS:
        meta = bus.get_messages(plan.name, "meta")
        assert set(meta) == set(FIELDS)
        for name, stats in meta.items():
            messages = bus.get_messages(plan.name, name)
            assert stats["message_count"] == len(messages)
            assert stats["message_freq"] == pytest.approx(FREQUENCIES[name])
            assert set(stats["var_stats"]) == FIELDS[name] - {"utime"}
    bus.print_message_stats(PLANS[0].name, "pose")
    assert "rotation_rate" in capsys.readouterr().out


def test_ego_keeps_to_its_route(bus):
    assert bus.list_misaligned_routes(max_misalignment=4) == []


def test_route_goes_on_before_and_after(bus):
    for plan in PLANS:
        route, pose = bus.get_pose_and_route(plan.name, print_warnings=False)
        assert np.hypot(*np.diff(route, axis=0).T).max() < 3
        ends = np.hypot(*(route[[0, -1]] - pose[[0, -1]]).T)
        assert ends.max() <= 55
        assert ends[1] > 5


def test_poses_are_those_of_the_tables(tiny_world, bus):
    tables = {name: json.loads((tiny_world / VERSION / f"{name}.json").read_text()) for name in ("ego_pose", "sample")}
    poses = {pose["timestamp"]: pose for pose in tables["ego_pose"]}
    assert len(poses) == len(tables["sample"])
    for plan in PLANS:
        messages = {message["utime"]: message for message in bus.get_messages(plan.name, "pose")}
        for keyframe in range(PRESETS["tiny"].keyframes):
            moment = plan.timestamp + 500_000 * keyframe
            assert np.allclose(messages[moment]["pos"], poses[moment]["translation"], atol=1e-9)
            turn = Quaternion(poses[moment]["rotation"]).inverse * Quaternion(messages[moment]["orientation"])
            assert turn.degrees == pytest.approx(0, abs=1e-6)


def test_velocity_is_the_change_of_position(bus):
    for plan in PLANS:
        pose = bus.get_messages(plan.name, "pose")
        pos, vel, yaw_rate = (np.array([m[key] for m in pose]) for key in ("pos", "vel", "rotation_rate"))
        yaw = np.unwrap([Quaternion(m["orientation"]).yaw_pitch_roll[0] for m in pose])
        speed = np.hypot(*np.diff(pos[:, :2], axis=0).T) * 50
        assert np.allclose(speed, (vel[1:, 0] + vel[:-1, 0]) / 2, atol=0.25)
        assert np.allclose(np.diff(yaw) * 50, (yaw_rate[1:, 2] + yaw_rate[:-1, 2]) / 2, atol=0.1)


def test_turning_in_a_circle():
    messages = can_bus_messages(circle(), START)
    assert np.allclose(column(messages, "pose", "accel"), [0, 5**2 / 20, 9.81], atol=1e-5)
    assert np.allclose(column(messages, "pose", "rotation_rate"), [0, 0, 0.25], atol=1e-5)
    assert np.allclose(column(messages, "pose", "vel"), [5, 0, 0])
    inner, outer = (column(messages, "zoe_veh_info", f"R{side}_wheel_speed") for side in "LR")
    assert np.allclose(outer / inner, (20 + 1.51 / 2) / (20 - 1.51 / 2), atol=1e-3)
    assert np.allclose(column(messages, "vehicle_monitor", "yaw_rate"), np.degrees(0.25), atol=0.05)
    assert np.allclose(column(messages, "vehicle_monitor", "vehicle_speed"), 18)


@pytest.mark.parametrize(("radius", "side"), [(20.0, "left"), (-20.0, "right")])
def test_steering_wheel_is_positive_to_the_right(radius, side):
    messages = can_bus_messages(circle(radius), START)
    sign = {"left": -1, "right": 1}[side]
    wheel = column(messages, "steeranglefeedback", "value")
    assert np.allclose(wheel, sign * 16.2 * np.arctan(2.588 / 20), atol=1e-4)
    assert np.allclose(column(messages, "vehicle_monitor", "steering"), np.degrees(wheel[0]), atol=0.06)
    assert column(messages, "vehicle_monitor", f"{side}_signal").all()
    assert not column(messages, "vehicle_monitor", f"{ {'left': 'right', 'right': 'left'}[side] }_signal").any()


def test_brake_and_throttle_follow_the_acceleration():
    drive = circle(radius=1e9)
    braking = Drive(drive.location, drive.ego, drive.speed, drive.acceleration - 3, drive.yaw_rate, (), ())
    faster = Drive(drive.location, drive.ego, drive.speed, drive.acceleration + 1, drive.yaw_rate, (), ())
    for subject, brakes in ((braking, True), (faster, False)):
        messages = can_bus_messages(subject, START)
        assert (column(messages, "vehicle_monitor", "brake") > 0).all() == brakes
        assert (column(messages, "vehicle_monitor", "throttle") > 0).all() != brakes
        assert (column(messages, "zoe_veh_info", "meanEffTorque") < 0).all() == brakes


def test_messages_can_be_written_and_are_finite():
    text = json.dumps(can_bus_messages(circle(), START), allow_nan=False)
    assert json.loads(text)["pose"][0]["utime"] == START


def test_statistics_are_those_of_numpy():
    messages = [{"utime": START + 10_000 * step, "value": float(value)} for step, value in enumerate([1, 4, 2])]
    stats = message_statistics(messages)
    assert (stats["message_count"], stats["message_freq"], stats["timespan"]) == (3, pytest.approx(100), 0.02)
    values = {"max": 4, "mean": pytest.approx(7 / 3), "min": 1, "std": pytest.approx(np.std([1, 4, 2]))}
    differences = {"max_diff": 3, "mean_diff": 0.5, "min_diff": -2, "std_diff": 2.5}
    assert stats["var_stats"]["value"] == values | differences


def test_a_drive_without_route_is_refused():
    with pytest.raises(ValueError, match="boston-seaport has no route"):
        route_points(circle(), None)
