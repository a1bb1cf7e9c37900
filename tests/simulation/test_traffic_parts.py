"""Parts of the traffic: boxes, routes, right of way, car-following, people at crossings, population."""

import numpy as np
import pytest
from fake_town import fake_town
from shapely import affinity
from shapely.geometry import Point, box

from al_lightning.simulation.traffic import population
from al_lightning.simulation.traffic.boxes import boxes_overlap, clearances, overlapping_pairs, point_clearance
from al_lightning.simulation.traffic.pedestrians import Crowd, Walk
from al_lightning.simulation.traffic.routes import SPACING, build_route, draw_lanes, find_conflicts, find_stops
from al_lightning.simulation.traffic.safety import times_to_collision
from al_lightning.simulation.traffic.vehicles import Vehicle, build_traffic
from al_lightning.simulation.world import TIME_STEP


@pytest.fixture(scope="module")
def town():
    return fake_town()


def outline(pose, half):
    turned = affinity.rotate(box(-half[0], -half[1], half[0], half[1]), pose[2], (0, 0), use_radians=True)
    return affinity.translate(turned, pose[0], pose[1])


def test_boxes_agree_with_shapely():
    rng = np.random.default_rng(0)
    poses = rng.uniform((-4, -4, -4), (4, 4, 4), (300, 3))
    half = rng.uniform(0.3, 2.5, (300, 2))
    areas = [outline(p, h) for p, h in zip(poses, half, strict=True)]
    pairs = overlapping_pairs(poses[:40, None], half[:40], np.ones(40, bool))
    for i in range(40):
        for j in range(i):
            touching = areas[i].intersection(areas[j]).area > 0
            assert boxes_overlap(poses[i], half[i], poses[j], half[j]) == touching
            assert pairs[i, j] == pairs[j, i] == touching
    distances = clearances(poses[:1], half[0], poses[1:, None], half[1:])[:, 0]
    np.testing.assert_allclose(distances, [areas[0].distance(area) for area in areas[1:]], atol=1e-9)
    point = point_clearance(3.0, 1.0, poses[0], half[0])
    assert point == pytest.approx(areas[0].distance(Point(3.0, 1.0)))


def test_boxes_that_meet_only_later_are_found():
    still = np.zeros((3, 3))
    passing = np.array([[9.0, 0, 0], [1.0, 0, 0], [-9.0, 0, 0]])
    half = np.ones((2, 2))
    assert overlapping_pairs(np.stack([still, passing]), half, np.array([False, True]))[0, 1]
    assert not overlapping_pairs(np.stack([still, passing + np.array([0, 5, 0])]), half, np.array([False, True])).any()


def test_time_to_collision_is_clearance_by_closing_speed():
    closing = np.array([[10.0, 9.5, 9.0], [3.0, 3.5, 4.0], [np.inf, np.inf, 5.0]])
    np.testing.assert_allclose(times_to_collision(closing), [[1.9, 1.8], [np.inf] * 2, [np.inf] * 2])


def test_routes_are_smooth_and_comfortable(town):
    for seed in range(6):
        route = build_route(town.lanes, draw_lanes(town.lanes, seed, 300, np.random.default_rng(seed), even=True))
        steps = np.hypot(*np.diff(route.points[:, :2], axis=0).T)
        np.testing.assert_allclose(steps, SPACING, atol=0.01)
        assert np.abs(np.diff(route.points[:, 2])).max() < 0.12
        assert (route.speed**2 * np.abs(np.gradient(route.points[:, 2], SPACING))).max() < 2.2
        assert (np.diff(route.speed**2) / (2 * SPACING)).min() > -1.3
        for begin, number in zip(route.starts, route.lanes, strict=False):
            assert np.hypot(*(route.pose(begin)[:2] - town.lanes[number].path.points[0])) < 0.4


def test_even_draws_take_each_turn_equally_often(town):
    rng = np.random.default_rng(0)
    start = next(n for n, lane in enumerate(town.lanes) if len(lane.successors) == 3)
    turns = [town.lanes[draw_lanes(town.lanes, start, 80, rng, even=True)[1]].turn for _ in range(600)]
    for turn in ("left", "right", "straight"):
        assert turns.count(turn) == pytest.approx(200, abs=50)


def test_only_crossing_ways_exclude_each_other(town):
    numbers = [n for n, lane in enumerate(town.lanes) if lane.junction == 4]
    clear = find_conflicts(town.lanes, numbers)
    lines = [town.lanes[n].path for n in numbers]
    for i, a in enumerate(numbers):
        for j, b in enumerate(numbers):
            nearest = min(np.hypot(*(lines[j].points - p).T).min() for p in lines[i].points)
            same_start = town.lanes[a].predecessors == town.lanes[b].predecessors
            assert (clear[i, j] >= 0) == (not same_start and nearest < 2.6)


def test_stops_know_their_crossing(town):
    route = build_route(town.lanes, draw_lanes(town.lanes, 0, 250, np.random.default_rng(3), even=True))
    stops = find_stops(town, route)
    for start, end, number in stops.crossings:
        assert abs(town.crossings[int(number)].project(route.pose((start + end) / 2)[:2])[1]) < 0.5
    for line, entry, leave, number in stops.junctions:
        assert line < entry < leave
        assert town.lanes[int(number)].junction >= 0


def _column(town, positions, speeds=None):
    """Traffic of an ego vehicle and cars ahead of it on one route without junctions."""
    route = build_route(town.lanes, draw_lanes(town.lanes, 0, 300, np.random.default_rng(1), even=True))
    size, manner = population.SIZES["vehicle.car"], (1.8, 2.0, 1.3)
    cars = [Vehicle("vehicle.car", size, route, s, manner, 0) for s in positions[1:]]
    return build_traffic(town, route, positions[0], manner, cars)


def _advance(traffic, step, walkers=None):
    poses = traffic.poses()
    bodies = np.column_stack([poses, traffic.half, traffic.v])
    walkers = np.zeros((0, 4)) if walkers is None else walkers
    unbounded = np.outer((-np.inf, np.inf), np.ones(len(poses)))
    traffic.step(step, bodies, np.arange(len(poses)), walkers, unbounded)


def test_followers_keep_their_distance(town):
    traffic = _column(town, [5.0, 17.0, 28.0, 40.0])
    for step in range(250):
        _advance(traffic, step)
        gap = traffic.s[1:] - traffic.half[1:, 0] - traffic.s[:-1] - traffic.front[:-1]
        assert gap.min() > 1.0
    assert traffic.s[0] > 60


def test_vehicles_stop_for_people_on_a_crossing_and_go_on_after(town):
    traffic = _column(town, [20.0])
    start, _, number = traffic.crossings[0, 1]
    x, y, yaw = traffic.points[0, int((start + 1.5) / SPACING)]
    walker = np.array([[number, x, y, yaw + np.pi / 2]])
    for step in range(150):
        _advance(traffic, step, walker)
    assert traffic.v[0] < 0.1
    assert start - 2.5 < traffic.s[0] + traffic.front[0] < start
    for step in range(150, 220):
        _advance(traffic, step)
    assert traffic.s[0] + traffic.front[0] > start


def test_people_wait_while_a_crossing_is_busy():
    way = np.column_stack([np.arange(0, 20, SPACING), np.zeros(40), np.zeros(40)])
    size = population.SIZES["human.pedestrian.adult"]
    walk = Walk("human.pedestrian.adult", size, way, 0.0, 1.25, "standing", "moving", 0, 5.0, 11.0, 2)
    crowd = Crowd([walk])
    busy = np.array([False, False, True])
    for _ in range(100):
        crowd.step(busy)
    assert 4.8 < crowd.poses[0, 0] <= 5.0
    assert crowd.velocity[0] == 0
    assert len(crowd.crossers()) == 0
    for _ in range(20):
        crowd.step(~busy)
    assert crowd.crossers()[0, 0] == 2
    assert crowd.poses[0, 0] == pytest.approx(5.0 + 20 * 1.25 * TIME_STEP, abs=0.15)
    assert crowd.bodies()[0, 3] > size[1] / 2


def test_sizes_stay_near_the_mean():
    rng = np.random.default_rng(0)
    drawn = np.array([population.draw_size("vehicle.truck", rng) for _ in range(500)])
    np.testing.assert_allclose(drawn.mean(axis=0), population.SIZES["vehicle.truck"], rtol=0.02)
    assert np.abs(drawn / population.SIZES["vehicle.truck"] - 1).max() < 0.121


def test_categories_are_drawn_by_their_share():
    rng = np.random.default_rng(0)
    drawn = [population.draw_category({"a": 3.0, "b": 1.0, "c": 0.0}, rng) for _ in range(2000)]
    assert drawn.count("a") == pytest.approx(1500, abs=80)
    assert drawn.count("c") == 0
