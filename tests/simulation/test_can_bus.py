"""CAN bus messages: those of a written data set through the devkit, and closed forms of simple drives."""

import json

import numpy as np
import pytest
from nuscenes.can_bus.can_bus_api import NuScenesCanBus
from pyquaternion import Quaternion

from al_lightning.simulation.can_bus import FREQUENCIES, can_bus_messages
from al_lightning.simulation.plan import plan_scenes
from al_lightning.simulation.presets import PRESETS
from al_lightning.simulation.vocabulary import VERSION
from al_lightning.simulation.world import TIME_STEP, Drive

FIELDS = {
    "pose": {"utime", "accel", "orientation", "pos", "rotation_rate", "vel"},
    "steeranglefeedback": {"utime", "value"},
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


@pytest.mark.parametrize(("radius", "sign"), [(20.0, -1), (-20.0, 1)])
def test_steering_wheel_is_positive_to_the_right(radius, sign):
    messages = can_bus_messages(circle(radius), START)
    wheel = column(messages, "steeranglefeedback", "value")
    assert np.allclose(wheel, sign * 16.2 * np.arctan(2.588 / 20), atol=1e-4)


def test_messages_can_be_written_and_are_finite():
    text = json.dumps(can_bus_messages(circle(), START), allow_nan=False)
    assert json.loads(text)["pose"][0]["utime"] == START
