"""Map lines against VAD's steps on the raw file, and against shapes drawn by hand."""

import gc
import json
import pickle

import numpy as np
import pytest
import shapely
from fake_drives import LOCATION, write_drives
from hypothesis import given
from hypothesis import strategies as st
from nuscenes.map_expansion.map_api import NuScenesMap
from shapely import STRtree, affinity, ops
from shapely.geometry import LineString, MultiLineString, MultiPolygon, Polygon, box

from al_lightning.data import map_vectors
from al_lightning.data.map_vectors import FAR, ORDERS, POINTS, MapLayers, line_orders, map_lines, read_map_layers
from al_lightning.driving import BOUNDARY, DIVIDER, PED_CROSSING
from al_lightning.types import DataFileError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("drives")
    write_drives(root)
    return root


def pose(x, y, yaw):
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    matrix[:2, 3] = x, y
    return matrix


def layers(dividers=(), crossings=(), roads=()):
    return MapLayers(*(STRtree(list(shapes)) for shapes in (dividers, crossings, roads)))


def square(x, y, half):
    return box(x - half, y - half, x + half, y + half)


# --- reading


def test_nothing_of_the_reader_is_kept(root):
    def readers():
        return sum(type(thing) is NuScenesMap for thing in gc.get_objects())

    map_vectors._read_unchanged_layers.cache_clear()
    gc.collect()
    before = readers()
    assert len(read_map_layers(root, LOCATION).dividers) > 0
    assert readers() == before


# --- VAD's own steps


class RawMap:
    """The shapes of a map file as VAD cuts them, one by one."""

    def __init__(self, path, x, y, yaw):
        self.content = json.loads(path.read_text())
        self.place = {row["token"]: (row["x"], row["y"]) for row in self.content["node"]}
        self.shape = {row["token"]: row for key in ("line", "polygon") for row in self.content[key]}
        self.x, self.y, self.degrees = x, y, np.degrees(yaw)
        self.patch = affinity.rotate(box(x - 15, y - 30, x + 15, y + 30), self.degrees, origin=(x, y))

    def cut(self, *names):
        found = []
        for row in (row for name in names for row in self.content[name]):
            shape = self.geometry(row)
            inside = shape.intersection(self.patch) if shape.is_valid else LineString()
            if not inside.is_empty:
                turned = affinity.rotate(inside, -self.degrees, origin=(self.x, self.y))
                found.append(affinity.affine_transform(turned, [1, 0, 0, 1, -self.x, -self.y]))
        return found

    def geometry(self, row):
        if "line_token" in row:
            return LineString([self.place[token] for token in self.shape[row["line_token"]]["node_tokens"]])
        polygon = self.shape[row["polygon_token"]]
        rings = [polygon["exterior_node_tokens"], *(hole["node_tokens"] for hole in polygon["holes"])]
        outline, *holes = ([self.place[token] for token in ring] for ring in rings)
        return Polygon(outline, holes)

    def dividers(self):
        return [part for line in self.cut("road_divider", "lane_divider") for part in parts(line)]

    def outlines(self, names, edge):
        joined = ops.unary_union(self.cut(*names))
        polygons = joined.geoms if isinstance(joined, MultiPolygon) else [joined]
        outer = [shapely.reverse(p.exterior) if p.exterior.is_ccw else p.exterior for p in polygons]
        holes = [h if h.is_ccw else shapely.reverse(h) for p in polygons for h in p.interiors]
        found = []
        for ring in (*outer, *holes):
            lines = ring.intersection(box(-15 - edge, -30 - edge, 15 + edge, 30 + edge))
            found += parts(ops.linemerge(lines) if isinstance(lines, MultiLineString) else lines)
        return found


def parts(shape):
    shapes = shape.geoms if hasattr(shape, "geoms") else [shape]
    return [part for part in shapes if isinstance(part, LineString) and not part.is_empty]


def same_lines(found, expected):
    """Equal up to rounding, whatever their order; closed lines may start anywhere."""
    assert len(found) == len(expected)
    left = list(expected)
    for line in found:
        k = int(np.argmin([line.hausdorff_distance(other) for other in left]))
        assert line.hausdorff_distance(left[k]) < 1e-9
        assert line.length == pytest.approx(left[k].length, abs=1e-8)
        assert line.is_closed == left[k].is_closed
        left.pop(k)


@pytest.mark.parametrize(("x", "y", "yaw"), [(200, 200, 0.0), (195, 215, 2.2), (180, 190, -0.7), (210, 205, 1.5)])
def test_lines_are_those_of_vad(root, x, y, yaw):
    raw = RawMap(map_vectors.map_file(root, LOCATION), x, y, yaw)
    expected = {
        DIVIDER: raw.dividers(),
        PED_CROSSING: raw.outlines(["ped_crossing"], 0.2),
        BOUNDARY: raw.outlines(["road_segment", "lane"], -0.2),
    }
    found = map_lines(read_map_layers(root, LOCATION), pose(x, y, yaw))
    assert [label for label, _ in found] == sorted(label for label, _ in found)
    assert all(len(lines) > 2 for lines in expected.values())
    assert any(line.is_closed for line in expected[BOUNDARY])
    for label, lines in expected.items():
        same_lines([line for own, line in found if own == label], lines)


# --- by hand


def test_lines_lie_in_the_lidar_frame():
    """The vehicle looks along +x of the map, so that its right is -y: LiDAR x right is yaw -90 degrees."""
    ahead = LineString([(110, 50), (120, 50)])
    right = LineString([(100, 40), (100, 45)])
    found = map_lines(layers([ahead, right]), pose(100, 50, -np.pi / 2))
    assert [label for label, _ in found] == [DIVIDER, DIVIDER]
    np.testing.assert_allclose(found[0][1].coords, [(0, 10), (0, 20)], atol=1e-12)
    np.testing.assert_allclose(found[1][1].coords, [(10, 0), (5, 0)], atol=1e-12)


def test_what_leaves_the_range_comes_back_as_another_line():
    snake = LineString([(-10, 0), (20, 0), (20, 5), (-20, 5), (-20, 10), (0, 10)])
    found = [np.array(line.coords) for _, line in map_lines(layers([snake]), np.eye(4))]
    assert sorted(line.tolist() for line in found) == [
        [[-15, 10], [0, 10]],
        [[-10, 0], [15, 0]],
        [[15, 5], [-15, 5]],
    ]


def test_joined_roads_lose_the_lines_between_them_and_the_edge_of_the_range():
    roads = [box(-40, -5, 0, 5), box(0, -5, 40, 5)]
    found = map_lines(layers(roads=roads), np.eye(4))
    assert [label for label, _ in found] == [BOUNDARY, BOUNDARY]
    edges = sorted(sorted(map(tuple, np.round(line.simplify(0).coords, 9).tolist())) for _, line in found)
    assert edges == [[(-14.8, -5), (14.8, -5)], [(-14.8, 5), (14.8, 5)]]


def test_a_crossing_keeps_its_outline_along_the_edge_of_the_range():
    ((label, line),) = map_lines(layers(crossings=[box(10, 0, 20, 4), box(12, 4, 20, 6)]), np.eye(4))
    assert label == PED_CROSSING
    assert line.is_closed
    assert Polygon(line).symmetric_difference(box(10, 0, 15, 4).union(box(12, 4, 15, 6))).area < 1e-9


def test_outlines_run_clockwise_and_holes_counter_clockwise():
    block = Polygon(square(0, 0, 10).exterior, [square(0, 0, 5).exterior])
    lines = [line for _, line in map_lines(layers(roads=[block]), np.eye(4))]
    assert {(round(Polygon(line).area), shapely.LinearRing(line.coords).is_ccw) for line in lines} == {
        (400, False),
        (100, True),
    }


def test_a_touch_at_the_edge_is_no_line():
    assert map_lines(layers([LineString([(15, 0), (20, 0)])], [square(20, 0, 5)], [square(-20, 0, 5)]), np.eye(4)) == []


def test_an_empty_map_has_no_lines():
    assert map_lines(layers(), np.eye(4)) == []


# --- orders


def test_an_open_line_has_two_orders():
    orders = line_orders(LineString([(0, 0), (0, 10), (9, 10)]))
    assert (orders.shape, orders.dtype) == ((ORDERS, POINTS, 2), np.float32)
    np.testing.assert_allclose(orders[0, :11], [(0, k) for k in range(11)], atol=1e-6)
    np.testing.assert_allclose(orders[0, 10:], [(k, 10) for k in range(10)], atol=1e-6)
    np.testing.assert_array_equal(orders[1], orders[0, ::-1])
    assert (orders[2:] == FAR).all()


def test_a_closed_line_starts_at_each_of_its_corners():
    orders = line_orders(LineString([(0, 0), (0, 4), (6, 4), (6, 0), (0, 0)]))
    starts = [(0, 0), (0, 4), (6, 4), (6, 0)]
    np.testing.assert_allclose(orders[:4, 0], starts, atol=1e-6)
    np.testing.assert_allclose(orders[:4, -1], starts, atol=1e-6)
    assert (orders[4:] == FAR).all()
    ring = LineString([*starts, starts[0]])
    for start, points in zip(starts, orders[:4], strict=True):
        way = [ring.project(shapely.Point(point)) for point in points[1:-1]]
        steps = np.diff([ring.project(shapely.Point(start)), *way]) % 20
        np.testing.assert_allclose(steps, 20 / 19, atol=1e-5)


@given(corners=st.integers(3, 60), turn=st.floats(0, 6))
def test_many_corners_give_nineteen_different_orders(corners, turn):
    angles = turn + np.linspace(0, 2 * np.pi, corners, endpoint=False)
    ring = np.stack([5 * np.cos(angles), 3 * np.sin(angles)], axis=1)
    orders = line_orders(LineString([*ring, ring[0]]))
    used = orders[: min(corners, 19)]
    assert (orders[len(used) :] == FAR).all()
    assert len(np.unique(used[:, 0].round(4), axis=0)) == len(used)
    gap = np.linalg.norm(used[:, :1, None] - ring, axis=-1).min(axis=-1)
    assert gap.max() < 1e-5


def test_points_stay_within_the_range():
    orders = line_orders(LineString([(-15.2, 0), (0, 30.2)]))
    assert orders[0].tolist()[0] == [-15.0, 0.0]
    assert orders[0].tolist()[-1] == [0.0, 30.0]


# --- files


def test_a_map_is_read_once_and_is_light(root, monkeypatch):
    first = read_map_layers(root, LOCATION)
    monkeypatch.setattr("nuscenes.map_expansion.map_api.NuScenesMap", lambda *_: pytest.fail("the map was read again"))
    assert read_map_layers(root, LOCATION) is first
    copy = pickle.loads(pickle.dumps(first))
    same_lines(
        [line for _, line in map_lines(copy, pose(200, 200, 1))],
        [line for _, line in map_lines(first, pose(200, 200, 1))],
    )


def test_a_changed_map_is_read_again(root, tmp_path):
    source = map_vectors.map_file(root, LOCATION)
    path = map_vectors.map_file(tmp_path, LOCATION)
    path.parent.mkdir(parents=True)
    content = json.loads(source.read_text())
    path.write_text(json.dumps(content))
    assert len(read_map_layers(tmp_path, LOCATION).dividers.geometries) == 30
    path.unlink()
    path.write_text(json.dumps({**content, "road_divider": []}))
    assert len(read_map_layers(tmp_path, LOCATION).dividers.geometries) == 15


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "No such file"),
        ("[{", "Expecting"),
        ({"lane": None}, "cannot read the map"),
        ({"version": "1.0"}, "outdated map version"),
        ({"node": []}, "lacks the key or the record"),
    ],
)
def test_bad_maps_are_named(root, tmp_path, change, message):
    path = map_vectors.map_file(tmp_path, LOCATION)
    path.parent.mkdir(parents=True)
    if isinstance(change, str):
        path.write_text(change)
    elif change:
        content = json.loads(map_vectors.map_file(root, LOCATION).read_text())
        path.write_text(json.dumps({**content, **change}))
    with pytest.raises(DataFileError, match=message) as caught:
        read_map_layers(tmp_path, LOCATION)
    assert str(path) in str(caught.value)


def test_an_unknown_location_is_refused(tmp_path):
    path = map_vectors.map_file(tmp_path, "paris")
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(DataFileError, match="Unknown map name paris"):
        read_map_layers(tmp_path, "paris")
