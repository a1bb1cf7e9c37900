"""The town against its promises: a drivable graph, ground that agrees with its polygons, nothing in the way."""

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
import shapely
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from shapely.geometry import LineString, Point, Polygon
from shapely.ops import unary_union

from al_lightning.simulation.town import build_town
from al_lightning.simulation.town.blocks import rectangle
from al_lightning.simulation.town.curves import turn
from al_lightning.simulation.town.raster import fill, inside
from al_lightning.simulation.world import GROUND_CELL, Label, Paint, Shape, Texture

CASES = [("boston-seaport", 3, 1), ("singapore-queenstown", 3, 7), ("singapore-hollandvillage", 2, 3)]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def town(request):
    return build_town(*request.param)


@pytest.fixture(scope="module")
def drivable(town):
    return prepared(unary_union(town.polygons["drivable_area"]))


@pytest.fixture(scope="module")
def feet(town):
    """Footprints of the solids."""
    return np.array([footprint(town.solids, n) for n in range(len(town.solids))])


def prepared(geometry):
    shapely.prepare(geometry)
    return geometry


def directions(path):
    steps = np.diff(path.points, axis=0)
    return steps / np.hypot(*steps.T)[:, None]


def angle_between(a, b):
    return np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


def footprint(solids, n):
    (x, y, _), (half_x, half_y, _), yaw = solids.center[n], solids.half[n], solids.yaw[n]
    if solids.shape[n] == Shape.BOX:
        return rectangle(x, y, yaw, half_x, half_y)
    return Point(x, y).buffer(max(half_x, half_y))


class TestLanes:
    def test_points_are_dense(self, town):
        assert max(np.diff(lane.path.s).max() for lane in town.lanes) <= 1.0

    def test_successors_and_predecessors_say_the_same(self, town):
        forwards = {(n, other) for n, lane in enumerate(town.lanes) for other in lane.successors}
        backwards = {(other, n) for n, lane in enumerate(town.lanes) for other in lane.predecessors}
        assert forwards == backwards

    def test_each_lane_begins_where_and_as_its_predecessor_ends(self, town):
        for lane in town.lanes:
            for other in lane.successors:
                after = town.lanes[other]
                assert np.hypot(*(lane.path.points[-1] - after.path.points[0])) < 0.01
                assert angle_between(directions(lane.path)[-1], directions(after.path)[0]) < 5

    def test_every_lane_leads_to_every_other_with_changes_of_lane(self, town):
        beside = [(n, other) for n, lane in enumerate(town.lanes) for other in (lane.left, lane.right) if other >= 0]
        links = np.array([(n, other) for n, lane in enumerate(town.lanes) for other in lane.successors] + beside)
        count = len(town.lanes)
        matrix = coo_matrix((np.ones(len(links)), links.T), shape=(count, count))
        assert connected_components(matrix, connection="strong")[0] == 1

    def test_roads_alternate_with_junctions(self, town):
        for lane in town.lanes:
            assert (lane.road >= 0) == (lane.junction < 0) == (lane.turn == "")
            assert {town.lanes[other].road >= 0 for other in lane.successors} == {lane.road < 0}

    @pytest.mark.parametrize(("name", "radius"), [("", 35.0), ("straight", 35.0), ("left", 10.0), ("right", 6.0)])
    def test_curves_are_no_tighter_than_cars_can_turn(self, town, name, radius):
        bends = []
        for lane in town.lanes:
            if lane.turn == name:
                s = np.arange(0, lane.path.length - 2, 0.25)
                bends.append(np.abs(lane.path.pose(s + 2)[:, 2] - lane.path.pose(s)[:, 2]).max() / 2)
        assert max(bends) < 1 / radius

    def test_turns_go_where_their_name_says(self, town):
        for lane in town.lanes:
            start, end = lane.path.pose(np.array([0.0, lane.path.length]))[:, 2]
            low, high = {"": (-100, 100), "straight": (-45, 45), "left": (45, 135), "right": (-135, -45)}[lane.turn]
            assert low <= np.degrees(end - start) <= high

    def test_neighbours_run_side_by_side(self, town):
        assert any(lane.left >= 0 for lane in town.lanes)
        for number, lane in enumerate(town.lanes):
            if lane.left >= 0:
                left = town.lanes[lane.left]
                assert left.right == number
                assert left.road == lane.road
                np.testing.assert_allclose(lane.path.project(left.path.points)[1], 3.5, atol=0.05)

    def test_traffic_keeps_to_the_right(self, town):
        for lane in town.lanes:
            if lane.road >= 0:
                divider = town.road_dividers[lane.road]
                middle = lane.path.points[len(lane.path.points) // 2]
                foot = divider.interpolate(divider.project(Point(middle)))
                assert lane.path.project(np.array(foot.coords))[1] > 0

    def test_lanes_lie_on_the_driveable_area(self, town, drivable):
        roomy = drivable.buffer(0.01)
        shapely.prepare(roomy)
        assert all(roomy.contains(LineString(lane.path.points)) for lane in town.lanes)
        assert max(area.difference(roomy).area for area in town.polygons["lane"]) < 0.01

    def test_crossings_are_where_the_lanes_cross_the_zebra(self, town):
        zebras = prepared(unary_union(town.polygons["ped_crossing"]))
        for lane in town.lanes:
            on = np.zeros(400, bool)
            s = np.linspace(0, lane.path.length, 400)
            for start, end in lane.crossings:
                assert 3.0 < end - start < 4.5
                on |= (start < s) & (s < end)
            edge = np.array([np.abs(s - at).min() for at in np.ravel(lane.crossings)]) if lane.crossings else 0
            x, y, _ = lane.path.pose(s).T
            assert (shapely.contains_xy(zebras, x, y) != on).sum() <= 2 * np.size(edge)

    def test_limits_suit_the_curves(self, town):
        for lane in town.lanes:
            s = np.arange(0, lane.path.length - 2, 0.5)
            bend = np.abs(lane.path.pose(s + 2)[:, 2] - lane.path.pose(s)[:, 2]).max() / 2
            assert 2.5 < lane.speed_limit <= 14
            assert lane.speed_limit**2 * bend < 5.0


class TestGround:
    def test_raster_agrees_with_the_polygons(self, town, drivable):
        rng = np.random.default_rng(0)
        height, width = town.ground.label.shape
        assert (width * GROUND_CELL, height * GROUND_CELL) == pytest.approx(town.size)
        rows, columns = rng.integers(0, height, 20000), rng.integers(0, width, 20000)
        x, y = (columns + 0.5) * GROUND_CELL, (rows + 0.5) * GROUND_CELL
        labels = town.ground.label[rows, columns]
        np.testing.assert_array_equal(labels == Label.DRIVEABLE_SURFACE, shapely.contains_xy(drivable, x, y))
        walkway = prepared(unary_union(town.polygons["walkway"]).difference(drivable))
        np.testing.assert_array_equal(labels == Label.SIDEWALK, shapely.contains_xy(walkway, x, y))

    def test_all_kinds_of_ground_are_there(self, town):
        assert set(np.unique(town.ground.label)) == {11, 12, 13, 14}
        assert 0.0005 < (town.ground.label == Label.OTHER_FLAT).mean() < 0.03

    def test_paint_lies_on_the_road(self, town):
        painted = town.ground.paint != Paint.NONE
        assert set(np.unique(town.ground.paint)) == set(Paint)
        assert (town.ground.label[painted] == Label.DRIVEABLE_SURFACE).all()

    def test_zebra_bars_fill_half_of_the_crossings(self, town):
        zone = np.zeros(town.ground.label.shape, np.uint8)
        fill(zone, town.polygons["ped_crossing"], 1, GROUND_CELL)
        share = (town.ground.paint[zone == 1] == Paint.ZEBRA).mean()
        assert 0.4 < share < 0.6
        assert not (town.ground.paint[zone == 0] == Paint.ZEBRA).any()

    def test_sidewalks_are_walkable(self, town):
        for path in town.sidewalks:
            column, row = (path.points / GROUND_CELL).astype(int).T
            labels = town.ground.label[row, column]
            assert np.isin(labels, (Label.SIDEWALK, Label.DRIVEABLE_SURFACE)).mean() > 0.99
            assert (labels == Label.SIDEWALK).mean() > 0.8

    def test_crossings_lead_from_sidewalk_to_sidewalk(self, town):
        rings = unary_union([LineString(path.points) for path in town.sidewalks])
        assert len(town.crossings) == len(town.polygons["ped_crossing"])
        for path, area in zip(town.crossings, town.polygons["ped_crossing"], strict=True):
            assert all(rings.distance(Point(end)) < 0.01 for end in path.points[[0, -1]])
            assert LineString(path.points).intersection(area).length > 6.9
            assert path.length < 40


class TestAreas:
    def test_polygons_are_proper(self, town):
        assert set(town.polygons) == {
            "drivable_area",
            "road_segment",
            "junction",
            "lane",
            "ped_crossing",
            "walkway",
            "stop_line",
            "carpark_area",
        }
        for layer, polygons in town.polygons.items():
            assert len(polygons) > 0 or layer == "carpark_area"
            assert all(isinstance(p, Polygon) and p.is_valid and p.area > 0 for p in polygons), layer

    def test_road_segments_and_lanes_leave_no_slits(self, town):
        whole = unary_union([*town.polygons["road_segment"], *town.polygons["lane"]])
        assert isinstance(whole, Polygon)
        assert min(Polygon(ring).area for ring in whole.interiors) > 400

    def test_stop_lines_lie_across_lanes_that_lead_to_a_junction(self, town):
        for area in town.polygons["stop_line"]:
            crossed = [
                (lane, lane.path.project(np.array(area.centroid.coords[0]))[0])
                for lane in town.lanes
                if lane.road >= 0 and LineString(lane.path.points).intersects(area)
            ]
            assert crossed
            assert all(lane.path.length - s < 7 for lane, s in crossed)

    def test_parking_places_are_off_the_lanes(self, town, drivable):
        lanes, roomy = unary_union(town.polygons["lane"]), prepared(drivable.buffer(0.05))
        assert len(town.parking) > 5
        for x, y, yaw in town.parking:
            car = rectangle(x, y, yaw, 2.3, 0.9)
            assert roomy.contains(car)
            assert not lanes.intersects(car)

    def test_parked_cars_do_not_overlap(self, town):
        cars = [rectangle(x, y, yaw, 2.3, 0.9) for x, y, yaw in town.parking]
        first, second = shapely.STRtree(cars).query(cars, predicate="intersects")
        np.testing.assert_array_equal(first, second)

    def test_construction_sites_are_free(self, town, drivable, feet):
        assert town.sites
        tree = shapely.STRtree(feet)
        for site in town.sites:
            zone = rectangle(site.x, site.y, site.yaw, site.length / 2, site.width / 2)
            assert not zone.intersects(drivable)
            assert zone.distance(drivable) < 8
            assert len(tree.query(zone, predicate="intersects")) == 0


class TestSolids:
    def test_nothing_stands_on_the_road_or_close_to_a_lane(self, town, feet):
        tree = shapely.STRtree(feet)
        for area in town.polygons["drivable_area"]:
            assert len(tree.query(area, predicate="intersects")) == 0
        for area in town.polygons["lane"]:
            assert len(tree.query(area, predicate="dwithin", distance=0.5)) == 0

    def test_nothing_stands_where_people_walk(self, town, feet):
        low = feet[town.solids.center[:, 2] - town.solids.half[:, 2] < 1.5]
        ways = [LineString(step) for path in town.sidewalks for step in pairwise(path.points)]
        assert shapely.STRtree(ways).query(low, predicate="dwithin", distance=0.25).size == 0

    def test_labels_and_extents(self, town):
        solids = town.solids
        assert set(solids.label) == {Label.MANMADE, Label.VEGETATION}
        assert (solids.half > 0).all()
        assert (solids.center[:, 2] - solids.half[:, 2] > -0.6).all()
        assert (solids.instance == -1).all()
        plants = np.isin(solids.texture, (Texture.BARK, Texture.FOLIAGE))
        np.testing.assert_array_equal(plants, solids.label == Label.VEGETATION)
        assert {Texture.FACADE, Texture.BRICK, Texture.STREETLAMP, Texture.GLASS} <= set(solids.texture)

    def test_everything_is_on_the_map(self, town):
        assert (town.solids.center[:, :2] > 0).all()
        assert (town.solids.center[:, :2] < town.size).all()


class TestWhole:
    def test_same_arguments_give_the_same_town(self):
        first, second = (build_town("boston-seaport", 2, 5) for _ in range(2))
        for column in fields(first.solids):
            np.testing.assert_array_equal(getattr(first.solids, column.name), getattr(second.solids, column.name))
        np.testing.assert_array_equal(first.ground.label, second.ground.label)
        np.testing.assert_array_equal(first.ground.paint, second.ground.paint)
        np.testing.assert_array_equal(first.parking, second.parking)
        for lane, other in zip(first.lanes, second.lanes, strict=True):
            np.testing.assert_array_equal(lane.path.points, other.path.points)
        assert first.sites == second.sites
        assert {k: [p.wkb for p in v] for k, v in first.polygons.items()} == {
            k: [p.wkb for p in v] for k, v in second.polygons.items()
        }

    def test_seed_and_location_matter(self):
        towns = [build_town(*case) for case in (("boston-seaport", 2, 0), ("boston-seaport", 2, 1))]
        towns.append(build_town("singapore-onenorth", 2, 0))
        assert len({town.lanes[0].path.points.tobytes() for town in towns}) == 3

    def test_bad_arguments(self):
        with pytest.raises(ValueError, match="location must be one of boston-seaport"):
            build_town("berlin", 3, 0)
        with pytest.raises(ValueError, match="blocks must be at least 2, got 1"):
            build_town("boston-seaport", 1, 0)

    @pytest.mark.parametrize("seed", range(4))
    def test_any_seed_gives_a_sound_town(self, seed):
        town = build_town("singapore-onenorth", 2, seed)
        assert all(lane.successors and lane.predecessors for lane in town.lanes)
        assert all(polygon.is_valid for layer in town.polygons.values() for polygon in layer)
        assert set(np.unique(town.ground.label)) == {11, 12, 13, 14}


class TestRaster:
    def test_inside_is_that_of_the_cells_middles(self):
        rng = np.random.default_rng(1)
        spokes = rng.uniform(2, 9, 40)
        turn_ = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        shell = np.stack([10 + spokes * np.cos(turn_), 9 + spokes * np.sin(turn_)], -1)
        polygon = Polygon(shell, [Point(10, 9).buffer(1.3).exterior.coords])
        assert polygon.is_valid
        found = inside(polygon, (70, 80), np.array([0.3, -0.2]), 0.27)
        y, x = np.meshgrid(-0.2 + (np.arange(70) + 0.5) * 0.27, 0.3 + (np.arange(80) + 0.5) * 0.27, indexing="ij")
        np.testing.assert_array_equal(found, shapely.contains_xy(polygon, x, y))

    def test_fill_cuts_at_the_border(self):
        raster = np.zeros((5, 6), np.uint8)
        fill(raster, [Polygon([(-3, -3), (2, -3), (2, 3), (-3, 3)]), Polygon([(90, 0), (91, 0), (91, 1)])], 7, 1.0)
        expected = np.zeros((5, 6), np.uint8)
        expected[:3, :2] = 7
        np.testing.assert_array_equal(raster, expected)


class TestTurn:
    @pytest.mark.parametrize("side", [1.0, -1.0])
    def test_quarter_turn_is_an_arc_between_straights(self, side):
        points = turn(np.zeros(2), np.array([1.0, 0.0]), np.array([15.0, 10.0 * side]), np.array([0.0, side]))
        on_arc = points[points[:, 0] > 5.01]
        np.testing.assert_allclose(np.hypot(*(on_arc - (5.0, 10.0 * side)).T), 10.0, atol=1e-9)
        np.testing.assert_allclose(points[points[:, 0] < 5, 1], 0.0, atol=1e-9)

    def test_shift_keeps_the_heading_at_both_ends(self):
        east = np.array([1.0, 0.0])
        points = turn(np.zeros(2), east, np.array([25.0, 3.0]), east)
        steps = np.diff(points, axis=0)
        assert np.degrees(np.abs(np.arctan2(*steps[[0, -1]].T[::-1]))).max() < 1.0
        np.testing.assert_array_equal(points[[0, -1]], [(0, 0), (25, 3)])
