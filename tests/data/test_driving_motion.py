"""The ego vehicle's motion in closed form: straight drives, circles, ends of scenes, the CAN bus vector."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyquaternion import Quaternion

from al_lightning.data.driving_can_bus import later_rates, nearest
from al_lightning.data.driving_motion import (
    COMMAND_OFFSET,
    EgoPoses,
    VehicleSignals,
    can_bus_vectors,
    ego_motion,
    ego_status,
    scene_bounds,
)
from al_lightning.data.driving_samples import group_rows
from al_lightning.driving import LEFT, RIGHT, STRAIGHT

SIDE = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
"""LiDAR frame (x right, y forward) to ego frame (x forward, y left)."""


def poses(x, y, yaw, ahead=0.0):
    """Drives in the plane; the LiDAR sits ``ahead`` of the ego frame."""
    ego2global = np.tile(np.eye(4), (len(x), 1, 1))
    ego2global[:, :2, :2] = np.moveaxis(np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]), -1, 0)
    ego2global[:, 0, 3], ego2global[:, 1, 3] = x, y
    lidar2ego = np.tile(SIDE, (len(x), 1, 1))
    lidar2ego[:, 0, 3] = ahead
    rotation = np.array([Quaternion(axis=(0, 0, 1), radians=a).elements for a in yaw])
    return EgoPoses(lidar2ego, ego2global, rotation)


def one_scene(rows):
    return np.zeros(rows, np.int64), np.full(rows, rows - 1)


def straight_then_aside(offset):
    """Seven keyframes along +x of the map, the last one ``offset`` metres to the right."""
    return poses(2.0 * np.arange(7), np.array([0, 0, 0, 0, 0, 0, -offset]), np.zeros(7))


# --- scenes


def test_scene_bounds():
    first, last = scene_bounds(["b", "b", "a", "c", "c", "c"])
    assert (first.tolist(), last.tolist()) == ([0, 0, 2, 3, 3, 3], [1, 1, 2, 5, 5, 5])
    with pytest.raises(ValueError, match="must follow each other"):
        scene_bounds(["a", "b", "a"])


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6), clip=st.integers(1, 10))
def test_clips_never_cross_scenes(sizes, clip):
    scenes = [f"s{9 - k}" for k, size in enumerate(sizes) for _ in range(size)]
    units, unit_of = group_rows(scenes, clip)
    assert len(units) == sum(max(1, size // clip) for size in sizes)
    assert (np.diff(unit_of) >= 0).all()
    for unit, name in enumerate(units):
        rows = np.flatnonzero(unit_of == unit)
        assert {scenes[row] for row in rows} == {name.split("/")[0]}
        scene, number = name.split("/")
        assert int(number) == unit - units.index(f"{scene}/00")
        size = scenes.count(scene)
        pieces = max(1, size // clip)
        assert len(rows) in (size // pieces, -(-size // pieces))
        assert len(rows) >= min(clip, size)


# --- ways


def test_a_steady_drive_goes_forward():
    own = poses(np.zeros(9), 3.0 * np.arange(9), np.full(9, np.pi / 2), ahead=0.9)
    motion = ego_motion(own.lidar2global, *one_scene(9))
    np.testing.assert_allclose(motion.history, np.tile([0, 3], (9, 2, 1)), atol=1e-6)
    for row in range(9):
        steps = min(6, 8 - row)
        np.testing.assert_allclose(motion.future[row, :steps], np.tile([0, 3], (steps, 1)), atol=1e-6)
        assert (motion.future[row, steps:] == 0).all()
        assert motion.future_mask[row].tolist() == [True] * steps + [False] * (6 - steps)
    assert (motion.command == STRAIGHT).all()


@pytest.mark.parametrize(("side", "command"), [(-1, RIGHT), (1, LEFT)])
def test_a_circle_is_a_circle(side, command):
    """Radius 20 m, 0.1 rad a step; the positions of a LiDAR ahead of the ego frame lie on a wider circle."""
    angle = 0.1 * np.arange(8)
    own = poses(20 * np.sin(angle), side * 20 * (1 - np.cos(angle)), side * angle, ahead=0.9)
    motion = ego_motion(own.lidar2global, *one_scene(8))
    path = np.concatenate([[[0, 0]], motion.future[0].cumsum(axis=0)])
    ahead = 0.1 * np.arange(7)
    right = -side * (20 - 20 * np.cos(ahead) + 0.9 * np.sin(ahead))
    forward = 20 * np.sin(ahead) + 0.9 * (np.cos(ahead) - 1)
    np.testing.assert_allclose(path, np.stack([right, forward], axis=1), atol=1e-5)
    assert motion.command[0] == command
    back = motion.history[5]
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 2 * np.hypot(20, 0.9) * np.sin(0.05), rtol=1e-6)


@pytest.mark.parametrize(
    ("offset", "command"), [(2, RIGHT), (1.999, STRAIGHT), (0, STRAIGHT), (-1.999, STRAIGHT), (-2, LEFT)]
)
def test_the_command_is_where_the_way_ends(offset, command):
    assert COMMAND_OFFSET == 2
    assert ego_motion(straight_then_aside(offset).lidar2global, *one_scene(7)).command[0] == command


def test_a_short_future_still_commands():
    motion = ego_motion(straight_then_aside(5.0).lidar2global, *one_scene(7))
    assert motion.command.tolist() == [RIGHT] * 6 + [STRAIGHT]
    assert motion.future_mask.sum(axis=1).tolist() == [6, 5, 4, 3, 2, 1, 0]


def test_scenes_do_not_see_each_other():
    own = poses(np.array([0.0, 1, 50, 60]), np.zeros(4), np.zeros(4))
    motion = ego_motion(own.lidar2global, np.array([0, 0, 2, 3]), np.array([1, 1, 2, 3]))
    np.testing.assert_allclose(motion.future[:, 0, 1], [1, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(motion.history[..., 1], [[1, 1], [1, 1], [0, 0], [0, 0]], atol=1e-6)


# --- the CAN bus vector and the status


def test_the_can_bus_vector_tells_ways_and_turns():
    yaw = np.radians([350.0, 5.0, -10.0])
    own = poses(np.array([100.0, 103, 104]), np.array([200.0, 201, 205]), yaw)
    rates = np.arange(27.0).reshape(3, 9)
    vectors = can_bus_vectors(own, rates, np.array([False, True, True]))
    np.testing.assert_allclose(vectors[:, :3], [[0, 0, 0], [3, 1, 0], [1, 4, 0]], atol=1e-4)
    np.testing.assert_allclose(vectors[:, 3:7], np.cos(yaw / 2)[:, None].repeat(4, axis=1), atol=1e-6)
    np.testing.assert_array_equal(vectors[:, 7:16], rates)
    np.testing.assert_allclose(np.degrees(vectors[:, 16]), [350, 5, 350], atol=1e-4)
    np.testing.assert_allclose(vectors[:, 17], [0, -345, 345], atol=1e-3)  # not wrapped, as in VAD


def test_the_sign_of_the_quaternion_is_kept():
    own = poses(np.zeros(1), np.zeros(1), np.zeros(1))
    own = EgoPoses(own.lidar2ego, own.ego2global, -own.rotation)
    assert (can_bus_vectors(own, np.zeros((1, 9)), np.array([False]))[0, 3:7] == -1).all()


def test_the_status_of_a_steady_turn():
    """The misread yaw is 0 for a heading alone: the velocity points forward and the yaw rate is none."""
    angle = 0.2 * np.arange(3)
    own = poses(10 * np.sin(angle), 10 * (1 - np.cos(angle)), angle)
    first, last = one_scene(3)
    motion = ego_motion(own.lidar2global, first, last)
    signals = VehicleSignals(
        np.array([True, False, True]), np.ones((3, 9)), np.array([7.0, 0, 9]), np.array([0.5, 0, 1])
    )
    status = ego_status(own, motion, signals, np.array([False, False, True]), first, last)
    pace = 2 * 10 * np.sin(0.1) / 0.5
    np.testing.assert_allclose(status[:, :2], [[0, pace]] * 3, atol=1e-6)
    np.testing.assert_allclose(status[:, 2:7], [[1, 1, 0, 4.084, 1.85]] * 3, rtol=1e-6)
    np.testing.assert_allclose(status[:, 7], [7, 2 * 10 * np.sin(0.2), 9], rtol=1e-6)
    np.testing.assert_allclose(status[:, 8], [2 * 0.5 / 2.588, 0, -2 / 2.588], rtol=1e-6)


# --- messages


def test_rates_come_from_the_message_after():
    messages = [{"utime": t, "accel": [t, 0, 0], "rotation_rate": [0, t, 0], "vel": [0, 0, t]} for t in (10, 20, 30)]
    rates = later_rates(messages, np.array([5, 10, 19, 20, 30, 99]))
    assert rates[:, 0].tolist() == [10, 20, 20, 30, 30, 30]
    assert (rates[:, [0, 4, 8]] == rates[:, :1]).all()
    assert (rates[:, [1, 2, 3, 5, 6, 7]] == 0).all()


@given(
    moments=st.lists(st.integers(0, 60), min_size=1, max_size=9, unique=True).map(sorted),
    wanted=st.lists(st.integers(-5, 65), min_size=1, max_size=5),
)
def test_the_nearest_message_is_nearest(moments, wanted):
    found = nearest([{"utime": t} for t in moments], np.array(wanted))
    for moment, message in zip(wanted, found, strict=True):
        gap = min(abs(t - moment) for t in moments)
        assert message["utime"] == max(t for t in moments if abs(t - moment) == gap)
