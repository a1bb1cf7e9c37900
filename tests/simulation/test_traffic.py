"""Scenes in the hand-made town: kinematics, safety, events, consistency."""

import numpy as np
import pytest
from fake_town import fake_town
from shapely import affinity
from shapely.geometry import LineString, Point, box

from al_lightning.simulation.town import build_town
from al_lightning.simulation.traffic import drive
from al_lightning.simulation.traffic.events import EGO_CENTER, EGO_HALF, EVENTS
from al_lightning.simulation.world import CATEGORY_LABELS, TIME_STEP

STEPS = 100
CASES = [(seed, event) for event in EVENTS for seed in ((0, 1, 2, 3) if event == "" else (0, 1))]


@pytest.fixture(scope="module")
def town():
    return fake_town()


@pytest.fixture(scope="module")
def drives(town):
    return {case: drive(town, STEPS, *case) for case in CASES}


def footprint(pose, length, width):
    outline = affinity.rotate(box(-length / 2, -width / 2, length / 2, width / 2), pose[2], (0, 0), use_radians=True)
    return affinity.translate(outline, pose[0], pose[1])


def ego_footprint(pose):
    middle = pose + EGO_CENTER * np.array([np.cos(pose[2]), np.sin(pose[2]), 0])
    return footprint(middle, *(2 * EGO_HALF))


def gaps(one, track, steps):
    """Distances between the ego vehicle and a track by shapely, infinite where the middles are far apart."""
    result = []
    for t in steps:
        far = np.hypot(*(track.poses[t] - one.ego[t])[:2]) > 30
        other = footprint(track.poses[t], track.size[1], track.size[0])
        result.append(np.inf if far else ego_footprint(one.ego[t]).distance(other))
    return np.array(result)


@pytest.mark.parametrize("case", CASES)
def test_the_ego_vehicle_touches_nobody(drives, case):
    one = drives[case]
    assert min(gaps(one, track, range(0, STEPS, 2)).min() for track in one.tracks) > 0


@pytest.mark.parametrize("case", CASES)
def test_the_ego_vehicle_moves_like_a_car(drives, case):
    one = drives[case]
    assert one.acceleration.max() <= 2.5
    assert one.acceleration.min() >= (-7.01 if one.event else -4.0)
    assert np.abs(one.speed * one.yaw_rate).max() <= 2.6
    assert np.abs(np.diff(one.acceleration)).max() <= 30 * TIME_STEP + 1e-9


@pytest.mark.parametrize("case", CASES)
def test_speed_and_rates_are_the_derivatives_of_the_poses(drives, case):
    one = drives[case]
    way = np.hypot(*np.diff(one.ego[:, :2], axis=0).T)
    np.testing.assert_allclose(way / TIME_STEP, (one.speed[1:] + one.speed[:-1]) / 2, atol=0.05)
    np.testing.assert_allclose(np.diff(one.speed) / TIME_STEP, one.acceleration[1:], atol=1e-6)
    turned = np.cumsum((one.yaw_rate[1:] + one.yaw_rate[:-1]) / 2 * TIME_STEP)
    np.testing.assert_allclose(turned, one.ego[1:, 2] - one.ego[0, 2], atol=0.03)
    course = np.arctan2(*np.diff(one.ego[:, :2], axis=0).T[::-1])
    fast = way > 0.2
    off_course = course - (one.ego[1:, 2] + one.ego[:-1, 2]) / 2
    assert np.abs((off_course + np.pi) % (2 * np.pi) - np.pi)[fast].max() < 0.03


@pytest.mark.parametrize("case", CASES)
def test_the_ego_vehicle_follows_its_route(town, drives, case):
    one = drives[case]
    for before, after in zip(one.route, one.route[1:], strict=False):
        assert after in town.lanes[before].successors
    line = LineString(np.concatenate([town.lanes[n].path.points for n in one.route]))
    assert max(line.distance(Point(x, y)) for x, y, _ in one.ego) < 0.6


@pytest.mark.parametrize("case", CASES)
def test_moving_vehicles_keep_to_lanes(town, drives, case):
    lines = [LineString(lane.path.points) for lane in town.lanes]
    for track in drives[case].tracks[1:]:
        if track.category.startswith("vehicle.") and "vehicle.moving" in track.attributes:
            for x, y, _ in track.poses[::20]:
                assert min(line.distance(Point(x, y)) for line in lines) < 1.0


@pytest.mark.parametrize("case", CASES)
def test_vehicles_do_not_overlap_one_another(drives, case):
    tracks = [t for t in drives[case].tracks if t.category.startswith("vehicle.")]
    for t in range(0, STEPS, 20):
        areas = [footprint(track.poses[t], track.size[1], track.size[0]) for track in tracks]
        for i, area in enumerate(areas):
            assert not any(area.intersection(other).area > 1e-6 for other in areas[:i])


@pytest.mark.parametrize("case", CASES)
def test_attributes_agree_with_the_motion(drives, case):
    known = {"vehicle.moving", "vehicle.stopped", "vehicle.parked", "cycle.with_rider", "cycle.without_rider",
             "pedestrian.moving", "pedestrian.standing", "pedestrian.sitting_lying_down", ""}  # fmt: skip
    for track in drives[case].tracks:
        assert track.category in CATEGORY_LABELS
        assert track.poses.shape == (STEPS, 3)
        assert len(track.attributes) == STEPS
        assert set(track.attributes) <= known
        assert np.isfinite(track.poses).all()
        speed = np.hypot(*np.gradient(track.poses[:, :2], TIME_STEP, axis=0).T)
        attributes = np.array(track.attributes)
        assert (speed[attributes == "vehicle.parked"] == 0).all()
        assert (speed[attributes == "cycle.without_rider"] == 0).all()
        assert (speed[attributes == "vehicle.stopped"] < 0.6).all()
        assert (speed[attributes == "pedestrian.moving"] > 0.05).all()
        assert (speed[attributes == "vehicle.moving"] > 0.0).all()


@pytest.mark.parametrize("case", [case for case in CASES if case[1]])
def test_events_are_critical_around_the_middle(drives, case):
    one = drives[case]
    middle = np.arange(int(0.25 * STEPS), int(0.75 * STEPS))
    actors = one.tracks[: 2 if one.event == "narrow_gap" else 1]
    distance = np.array([gaps(one, actor, middle) for actor in actors])
    driving = one.speed[middle] > 1.0
    if one.event == "narrow_gap":
        assert distance.min(axis=0)[driving].min() < 0.6
    else:
        closing = -np.diff(np.minimum(distance, 99.0), axis=1) / TIME_STEP
        known = (closing > 1e-3) & (distance[:, :-1] < 99) & driving[1:]
        assert (distance[:, 1:][known] / closing[known]).min() < 2.2


def test_calm_scenes_have_no_emergency(drives):
    hard = [drives[case].acceleration.min() < -3.0 for case in CASES if not case[1]]
    assert np.mean(hard) <= 0.25


def test_the_ego_vehicle_mostly_drives(drives):
    assert np.mean([one.speed.mean() > 1.0 for one in drives.values()]) > 0.7


def test_everything_comes_within_reach(drives):
    for one in drives.values():
        for track in one.tracks:
            assert np.hypot(*(track.poses - one.ego)[:, :2].T).min() < 70


def test_a_seed_gives_the_same_scene_again(town, drives):
    for case in ((1, ""), (0, "jaywalking")):
        again = drive(fake_town(), STEPS, *case)
        one = drives[case]
        np.testing.assert_array_equal(again.ego, one.ego)
        assert again.phrases == one.phrases
        assert [t.seed for t in again.tracks] == [t.seed for t in one.tracks]
        for a, b in zip(again.tracks, one.tracks, strict=True):
            np.testing.assert_array_equal(a.poses, b.poses)
            assert a.attributes == b.attributes
    assert not np.array_equal(drives[0, ""].ego, drives[1, ""].ego)


@pytest.mark.parametrize("event", EVENTS)
def test_the_built_towns_host_every_event(event):
    built = build_town("boston-seaport", 3, 1)
    one = drive(built, STEPS, 0, event)
    assert one.location == "boston-seaport"
    assert len(one.tracks) > 10
    assert min(gaps(one, track, range(0, STEPS, 4)).min() for track in one.tracks) > 0


def test_phrases_tell_the_turns_and_the_event(town, drives):
    for one in drives.values():
        text = ", ".join(one.phrases).lower()
        turns = {town.lanes[n].turn for n in one.route if town.lanes[n].junction >= 0}
        assert ("left" in turns) == ("turn left" in text)
        assert ("right" in turns) == ("turn right" in text)
        assert (one.event == "cut_in") == ("cut in" in text)


def test_bad_arguments_are_refused(town):
    with pytest.raises(ValueError, match="event must be one of"):
        drive(town, STEPS, 0, "meteor")
    with pytest.raises(ValueError, match="at least 10 steps"):
        drive(town, 3, 0)


def test_a_town_without_a_fitting_place_gives_a_clear_error():
    dead_end = fake_town(2, 1)  # one road to and fro without any junction way
    with pytest.raises(RuntimeError, match="no scene with event"):
        drive(dead_end, STEPS, 0)
