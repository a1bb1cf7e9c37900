"""Room for what stands and walks: checked by shapely against the solids of built towns."""

from functools import cache

import numpy as np
import pytest
import shapely
from fake_town import fake_town
from shapely import affinity
from shapely.geometry import Point, box

from al_lightning.simulation.town import build_town
from al_lightning.simulation.traffic import drive
from al_lightning.simulation.traffic.furniture import Furnisher, parking_area
from al_lightning.simulation.traffic.obstacles import OFFSETS, Obstacles, find_obstacles, steer
from al_lightning.simulation.traffic.phrases import describe
from al_lightning.simulation.traffic.routes import SPACING
from al_lightning.simulation.world import Label, Path, Shape, SolidsBuilder, Track

ADULT = (0.67, 0.72, 1.77)
SCENES = [(town, seed, event) for town in (0, 1) for seed, event in ((0, ""), (1, ""), (2, "narrow_gap"))]


def footprint(pose, size):
    half_width, half_length = size[0] / 2, size[1] / 2
    outline = affinity.rotate(box(-half_length, -half_width, half_length, half_width), pose[2], (0, 0), True)
    return affinity.translate(outline, pose[0], pose[1])


@cache
def built(number):
    return build_town(("boston-seaport", "singapore-queenstown")[number], 3, 1)


@cache
def standing_solids(number):
    """Footprints and lower ends of the solids of a town without the crowns of trees."""
    solids = built(number).solids
    bottom = solids.center[:, 2] - solids.half[:, 2]
    kept = np.flatnonzero((solids.shape != Shape.ELLIPSOID) | (bottom < 1.0))
    outlines = [
        footprint((*solids.center[n, :2], solids.yaw[n]), 2 * solids.half[n, 1::-1])
        if solids.shape[n] == Shape.BOX
        else Point(solids.center[n, :2]).buffer(solids.half[n, 0])
        for n in kept
    ]
    return shapely.STRtree(outlines), np.array(outlines), bottom[kept]


def collides(number, pose, size):
    tree, outlines, bottom = standing_solids(number)
    area = footprint(pose, size)
    met = tree.query(area, "intersects")
    return any(bottom[n] < size[2] and outlines[n].intersection(area).area > 1e-4 for n in met)


@pytest.fixture(scope="module")
def drives():
    return {(number, seed, event): drive(built(number), 60, seed, event) for number, seed, event in SCENES}


def test_nothing_stands_in_a_solid_of_the_town(drives):
    standing = 0
    for (number, _, _), one in drives.items():
        for track in one.tracks:
            if np.ptp(track.poses[:, :2], axis=0).max() == 0 and "vehicle.stopped" not in track.attributes:
                standing += 1
                assert not collides(number, track.poses[0], track.size), track.category
    assert standing > 100


def test_people_walk_around_what_stands(drives):
    steps = [
        collides(number, pose, track.size)
        for (number, _, _), one in drives.items()
        for track in one.tracks
        if track.category.startswith("human.") and "pedestrian.moving" in track.attributes
        for pose in track.poses[::6]
    ]
    assert len(steps) > 300
    assert np.mean(steps) < 0.005


@pytest.mark.parametrize("number", [0, 1])
def test_parked_vehicles_fit_their_places(number):
    town, way, parked = built(number), np.array(built(number).size)[None] / 2, []
    for seed in range(12):
        furnisher = Furnisher(town, way, find_obstacles(town.solids, way, 90.0), np.random.default_rng(seed))
        furnisher.park()
        parked += furnisher.placed
    lanes = np.concatenate([lane.path.points for lane in town.lanes])
    in_yard = np.array([np.hypot(*(lanes - place[:2]).T).min() > 8.0 for place in town.parking])
    yard = [footprint(place, (2.6, 5.0)) for place in town.parking[in_yard]]
    kerb = [footprint(place, (2.4, 6.8)) for place in town.parking[~in_yard]]
    allowed = shapely.union_all([*yard, *kerb]).buffer(0.36, join_style="mitre")
    kinds = {"vehicle.car", "vehicle.truck", *(["vehicle.trailer"] if number == 1 else [])}
    assert kinds <= {thing.category for thing in parked}
    for thing in parked:
        assert allowed.contains(footprint(thing.pose, thing.size)), thing.category


def test_a_place_of_a_car_park_holds_a_car_but_no_trailer():
    place, row = np.zeros((1, 3)), np.column_stack([np.zeros(5), 2.6 * np.arange(5), np.zeros(5)])
    car, trailer = footprint((0, 0, 0), (1.95, 4.62)), footprint((0, 5.2, np.pi / 2), (2.7, 10.5))
    assert parking_area(place, np.array([True])).contains(car)
    assert not parking_area(place, np.array([True])).contains(affinity.translate(trailer, 0, -5.2))
    assert parking_area(row, np.ones(5, bool)).contains(trailer)


def solids_of(*rows):
    builder = SolidsBuilder()
    for shape, center, half, yaw in rows:
        builder.add(shape, center, half, Label.MANMADE, (0, 0, 0), yaw=yaw)
    return builder.build()


def test_obstacles_agree_with_shapely():
    rng = np.random.default_rng(0)
    shapes = [Shape.BOX, Shape.CYLINDER] * 40
    rows = [
        (shape, (*rng.uniform(-9, 9, 2), 1.0), np.array([*np.repeat(rng.uniform(0.1, 2), 2), 1.0]), rng.uniform(-3, 3))
        for shape in shapes
    ]
    obstacles = find_obstacles(solids_of(*rows), np.zeros((1, 2)), 50.0)
    outlines = [
        Point(center[:2]).buffer(half[0], 64) if shape == Shape.CYLINDER else footprint((*center[:2], yaw), 2 * half)
        for shape, center, half, yaw in rows
    ]
    answers = []
    for pose in rng.uniform((-12, -12, -4), (12, 12, 4), (400, 3)):
        area = footprint(pose, ADULT)
        answers.append(obstacles.touch(pose, ADULT))
        depth = max(outline.intersection(area).area for outline in outlines)
        if not 0 < depth < 1e-3:  # a circle of shapely has corners
            assert answers[-1] == (depth > 0)
    assert 0.1 < np.mean(answers) < 0.9


def test_crowns_and_what_hangs_high_give_way():
    crown = (Shape.ELLIPSOID, (0, 0, 3.0), (1.5, 1.5, 1.4), 0.0)
    roof = (Shape.BOX, (0, 0, 2.5), (2.0, 2.0, 0.1), 0.0)
    bush = (Shape.ELLIPSOID, (0, 0, 0.4), (0.5, 0.5, 0.5), 0.0)
    middle, way = np.zeros(3), np.zeros((1, 2))
    assert not find_obstacles(solids_of(crown, roof), way, 5.0).touch(middle, ADULT)
    assert find_obstacles(solids_of(roof), way, 5.0).touch(middle, (2.5, 7.0, 2.9))
    assert find_obstacles(solids_of(bush), way, 5.0).touch(middle, ADULT)


def straight(length=20.0):
    x = np.arange(0, length, SPACING)
    return np.column_stack([x, np.zeros_like(x), np.zeros_like(x)])


def poles(*places):
    rows = [(Shape.CYLINDER, (*place, 1.0), (0.1, 0.1, 1.0), 0.0) for place in places]
    return find_obstacles(solids_of(*rows), straight()[:, :2], 50.0)


def test_ways_lead_around_poles_and_back():
    line = steer(straight(), 0.3, ADULT, poles((10.0, 0.3)))
    assert min(footprint(pose, ADULT).distance(Point(10.0, 0.3)) for pose in line) > 0.1
    np.testing.assert_allclose(line[[0, -1], 1], 0.3, atol=0.05)
    course = np.arctan2(*np.diff(line[:, :2], axis=0).T[::-1])
    np.testing.assert_allclose((line[1:, 2] + line[:-1, 2]) / 2, course, atol=0.1)


def test_free_ways_stay_as_they_are():
    line = steer(straight(), -0.5, ADULT, poles((10.0, 3.0)))
    np.testing.assert_allclose(line, straight() + np.array([0, -0.5, 0]), atol=1e-9)


def test_a_wall_across_lets_nobody_pass():
    assert OFFSETS.min() > -2
    wall = Obstacles(np.array([[10.0, 0, 0]]), np.array([[0.1, 4.0]]), np.array([False]), np.zeros(1))
    assert steer(straight(), 0.0, ADULT, wall) is None


def test_rows_of_barriers_follow_their_path_to_its_end():
    town = fake_town()
    quarter = np.linspace(0, np.pi / 2, 40)
    curve = Path(np.array([-20.0, 45.0]) + 25 * np.column_stack([np.cos(quarter), np.sin(quarter)]))
    for seed in range(8):
        furnisher = Furnisher(
            town, curve.points, find_obstacles(town.solids, curve.points, 50), np.random.default_rng(seed)
        )
        furnisher._barrier_row([curve])
        s, offset = curve.project(np.array([thing.pose[:2] for thing in furnisher.placed]))
        assert np.allclose(abs(offset), 1.1, atol=0.02)
        assert s.max() < curve.length


def test_only_sites_are_called_construction_zones():
    town = fake_town()
    site = town.sites[0]
    ego = np.tile([site.x, site.y, 0.0], (10, 1))

    def told(*places):
        tracks = [
            Track("movable_object.barrier", (2.4, 0.5, 1.0), np.tile([*place, 0.0], (10, 1)), ("",) * 10, 0)
            for place in places
        ]
        phrases = describe(town, town.lanes[0].successors[:0], np.ones(10), ego, tracks, "")
        return "construction zone" in ", ".join(phrases).lower()

    assert told((site.x, site.y), (site.x, site.y + 2.7))
    assert not told(*[(site.x + 8.0, site.y + 2.7 * k) for k in range(8)])
