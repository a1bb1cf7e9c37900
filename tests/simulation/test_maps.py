"""The map files through nuScenes' own reader, against the town that they were written from."""

import json
import warnings

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import shapely
from nuscenes.map_expansion.arcline_path_utils import length_of_lane
from nuscenes.map_expansion.map_api import NuScenesMap
from nuscenes.utils.map_mask import MapMask
from shapely.geometry import MultiPolygon, Point, Polygon
from shapely.ops import unary_union

from al_lightning.simulation.maps import map_expansion, semantic_prior, write_map_files
from al_lightning.simulation.town import build_town
from al_lightning.simulation.world import GROUND_CELL, Label

LOCATION = "singapore-onenorth"
AREAS = {
    "road_segment": "road_segment",
    "ped_crossing": "ped_crossing",
    "walkway": "walkway",
    "stop_line": "stop_line",
    "carpark_area": "carpark_area",
}
TOLERANCE = 0.025


@pytest.fixture(scope="module")
def town():
    return build_town(LOCATION, 2, 4)


@pytest.fixture(scope="module")
def root(town, tmp_path_factory):
    root = tmp_path_factory.mktemp("nuscenes")
    write_map_files(root / "maps", town, "0123")
    return root


@pytest.fixture(scope="module")
def read(root):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return NuScenesMap(str(root), LOCATION)


@pytest.fixture(scope="module")
def lane_tokens(town, read):
    """Tokens of the lanes in their order in the town, found by where they start."""
    records = read.lane + read.lane_connector
    starts = np.array([read.arcline_path_3[r["token"]][0]["start_pose"][:2] for r in records])
    ends = np.array([read.arcline_path_3[r["token"]][-1]["end_pose"][:2] for r in records])
    tokens = []
    for lane in town.lanes:
        gap = np.hypot(*(starts - lane.path.points[0]).T) + np.hypot(*(ends - lane.path.points[-1]).T)
        assert gap.min() < 1e-6
        tokens.append(records[int(gap.argmin())]["token"])
    return tokens


def random_points(town, count, seed=0):
    return np.random.default_rng(seed).uniform((50, 50), np.array(town.size) - 50, (count, 2))


def layer_polygons(read, layer):
    return [read.extract_polygon(record["polygon_token"]) for record in getattr(read, layer)]


class TestLayers:
    @pytest.mark.parametrize(("layer", "ours"), AREAS.items())
    def test_areas_are_those_of_the_town(self, town, read, layer, ours):
        written = layer_polygons(read, layer)
        assert len(written) == len(town.polygons[ours]) > 0
        for polygon, area in zip(written, town.polygons[ours], strict=True):
            assert polygon.is_valid
            assert polygon.hausdorff_distance(area) < TOLERANCE

    def test_drivable_area(self, town, read):
        (record,) = read.drivable_area
        written = MultiPolygon([read.extract_polygon(token) for token in record["polygon_tokens"]])
        gap = written.symmetric_difference(unary_union(town.polygons["drivable_area"]))
        assert gap.area < 0.002 * written.area
        assert all(r["drivable_area_token"] == record["token"] for r in read.road_segment)

    def test_layers_on_point_say_what_the_ground_is(self, town, read):
        outline = unary_union([area.boundary for area in town.polygons["drivable_area"]])
        found = []
        for x, y in random_points(town, 150):
            if outline.distance(Point(x, y)) > 0.2:
                label = town.ground.label[int(y / GROUND_CELL), int(x / GROUND_CELL)]
                layers = read.layers_on_point(x, y)
                assert (layers["drivable_area"] != "") == (label == Label.DRIVEABLE_SURFACE)
                found.append(label)
        assert found.count(Label.DRIVEABLE_SURFACE) > 15

    def test_junctions_are_marked(self, town, read):
        marked = [
            p
            for p, r in zip(layer_polygons(read, "road_segment"), read.road_segment, strict=True)
            if r["is_intersection"]
        ]
        assert len(marked) == len(town.polygons["junction"]) == 5
        nodes = {lane.junction: lane.path.points[len(lane.path.points) // 2] for lane in town.lanes if lane.turn}
        assert all(sum(polygon.contains(Point(node)) for polygon in marked) == 1 for node in nodes.values())

    def test_road_boundary_has_no_slits(self, town, read):
        whole = unary_union([*layer_polygons(read, "road_segment"), *layer_polygons(read, "lane")])
        assert isinstance(whole, Polygon)
        assert len(whole.interiors) == len(town.sidewalks) - 1
        assert min(Polygon(ring).area for ring in whole.interiors) > 400

    @pytest.mark.parametrize("layer", ["road_divider", "lane_divider"])
    def test_dividers_are_those_of_the_town(self, town, read, layer):
        ours = town.road_dividers if layer == "road_divider" else town.lane_dividers
        written = [read.extract_line(record["line_token"]) for record in getattr(read, layer)]
        assert len(written) == len(ours) > 0
        assert max(a.hausdorff_distance(b) for a, b in zip(written, ours, strict=True)) < TOLERANCE

    def test_dividers_and_crossings_know_their_road(self, read):
        for layer, key in (("road_divider", "line_token"), ("ped_crossing", "polygon_token")):
            for record in getattr(read, layer):
                extract = read.extract_line if key == "line_token" else read.extract_polygon
                segment = read.get("road_segment", record["road_segment_token"])
                road = read.extract_polygon(segment["polygon_token"])
                assert not segment["is_intersection"]
                assert road.buffer(0.05).contains(extract(record[key]))

    def test_road_blocks_hold_the_lanes_of_one_direction(self, town, read):
        assert len(read.road_block) == 2 * len(town.road_dividers)
        held = 0
        for record in read.road_block:
            area = read.extract_polygon(record["polygon_token"]).buffer(0.05)
            held += sum(area.contains(read.extract_polygon(lane["polygon_token"])) for lane in read.lane)
            for edge in ("from_edge_line_token", "to_edge_line_token"):
                assert area.contains(read.extract_line(record[edge]))
        assert held == len(read.lane)

    def test_stop_lines_have_cues(self, read):
        kinds = {record["stop_line_type"] for record in read.stop_line}
        assert kinds == {"TRAFFIC_LIGHT", "PED_CROSSING", "STOP_SIGN"}
        for record in read.stop_line:
            line = read.extract_polygon(record["polygon_token"])
            for cue in record["cue"]:
                if record["stop_line_type"] == "PED_CROSSING":
                    assert line.distance(read.extract_polygon(cue["polygon_token"])) < 1.5
                else:
                    assert line.distance(read.extract_line(cue["line_token"])) < 1.5

    def test_traffic_lights_stand_where_the_town_has_them(self, town, read):
        for record in read.traffic_light:
            place = np.array([record["pose"][axis] for axis in ("tx", "ty", "tz")])
            assert np.linalg.norm(town.solids.center - place, axis=1).min() < 0.1


class TestLanes:
    def test_lanes_are_those_of_the_town(self, town, read, lane_tokens):
        for number, token in enumerate(lane_tokens):
            layer = "lane" if town.lanes[number].road >= 0 else "lane_connector"
            written = read.extract_polygon(read.get(layer, token)["polygon_token"])
            assert written.is_valid
            assert written.hausdorff_distance(town.polygons["lane"][number]) < TOLERANCE
        assert len(set(lane_tokens)) == len(town.lanes) == len(read.lane) + len(read.lane_connector)

    @pytest.mark.parametrize("resolution", [0.5, 1.0, 3.0])
    def test_center_lines(self, town, read, lane_tokens, resolution):
        discretized = read.discretize_lanes(lane_tokens, resolution)
        for lane, token in zip(town.lanes, lane_tokens, strict=True):
            poses = np.array(discretized[token])
            s, sideways = lane.path.project(poses[:, :2])
            assert np.abs(sideways).max() < 0.1
            turned = (poses[:, 2] - lane.path.pose(s)[:, 2] + np.pi) % (2 * np.pi) - np.pi
            assert np.degrees(np.abs(turned)).max() < 5
            assert (np.diff(s) > -1e-6).all()
            assert length_of_lane(read.get_arcline_path(token)) == pytest.approx(lane.path.length, rel=0.01)

    def test_connectivity(self, town, read, lane_tokens):
        for lane, token in zip(town.lanes, lane_tokens, strict=True):
            assert read.get_outgoing_lane_ids(token) == [lane_tokens[n] for n in lane.successors]
            assert read.get_incoming_lane_ids(token) == [lane_tokens[n] for n in lane.predecessors]

    def test_closest_lane(self, town, read, lane_tokens):
        rng = np.random.default_rng(2)
        roads = [n for n, lane in enumerate(town.lanes) if lane.road >= 0]
        for number in rng.choice(roads, 12, replace=False):
            path = town.lanes[number].path
            x, y, _ = path.pose(rng.uniform(2, path.length - 2))
            assert read.get_closest_lane(x, y, radius=3) == lane_tokens[number]

    def test_edges_and_dividers_of_lanes(self, town, read, lane_tokens):
        for lane, token in zip(town.lanes, lane_tokens, strict=True):
            if lane.road < 0:
                continue
            record = read.get("lane", token)
            for side, key in ((1, "left"), (-1, "right")):
                nodes = record[f"{key}_lane_divider_segment_nodes"]
                _, sideways = lane.path.project(np.array([(node["x"], node["y"]) for node in nodes]))
                np.testing.assert_allclose(sideways, side * lane.width / 2, atol=0.05)
                shared = (lane.left if side > 0 else lane.right) >= 0
                kinds = {segment["segment_type"] for segment in record[f"{key}_lane_divider_segments"]}
                assert (kinds == {"DASHED_SEGMENT_WHITE"}) == shared
            for edge, s in (("from", 0.0), ("to", lane.path.length)):
                middle = read.extract_line(record[f"{edge}_edge_line_token"]).centroid
                assert Point(lane.path.pose(s)[:2]).distance(middle) < 0.01


class TestReader:
    def test_opens_silently(self, read, capsys):
        assert read.version == "1.3"
        assert capsys.readouterr().out == ""

    def test_records_in_patch(self, town, read):
        x, y = np.array(town.size) / 2
        box = (x - 40, y - 40, x + 40, y + 40)
        patch = shapely.box(*box)
        found = read.get_records_in_patch(box, [*AREAS, "drivable_area"], mode="intersect")
        for layer, ours in AREAS.items():
            assert len(found[layer]) == sum(area.intersects(patch) for area in town.polygons[ours])
        everything = read.get_records_in_patch((0, 0, *town.size), read.non_geometric_layers, mode="within")
        for layer in read.non_geometric_layers:
            assert len(everything[layer]) == len(getattr(read, layer))

    def test_map_masks(self, town, read):
        x, y, yaw = town.lanes[0].path.pose(town.lanes[0].path.length / 2)
        layers = ["drivable_area", "walkway", "ped_crossing", "road_segment", "lane", "road_divider", "lane_divider"]
        masks = read.get_map_mask((x, y, 60, 60), float(np.degrees(yaw)), layers, (300, 300))
        assert masks.shape == (len(layers), 300, 300)
        across, along = np.meshgrid((np.arange(300) + 0.5) / 5 - 30, (np.arange(300) + 0.5) / 5 - 30, indexing="ij")
        cos, sin = np.cos(yaw), np.sin(yaw)
        px, py = x + along * cos - across * sin, y + along * sin + across * cos
        labels = town.ground.label[(py / GROUND_CELL).astype(int), (px / GROUND_CELL).astype(int)]
        assert ((labels == Label.DRIVEABLE_SURFACE) != masks[0]).mean() < 0.015
        assert ((labels == Label.SIDEWALK) != masks[1]).mean() < 0.03
        assert (masks[4] & ~masks[3] & 1).mean() < 0.01
        assert masks[5].any()

    def test_lines_render(self, read):
        figure, axes = read.render_layers(read.non_geometric_line_layers, figsize=1)
        assert len(axes.lines) == len(read.road_divider) + len(read.lane_divider)
        plt.close(figure)
        figure, axes = read.render_centerlines(resolution_meters=1.0, figsize=1)
        assert len(axes.lines) == len(read.lane) + len(read.lane_connector)
        plt.close(figure)

    def test_bounds(self, town, read):
        for layer, ours in AREAS.items():
            for record, area in zip(getattr(read, layer), town.polygons[ours], strict=True):
                np.testing.assert_allclose(read.get_bounds(layer, record["token"]), area.bounds, atol=TOLERANCE)


class TestMask:
    def test_agrees_with_the_raster(self, town, root):
        mask = MapMask(str(root / "maps" / "0123.png"), resolution=0.1)
        height, width = town.ground.label.shape
        rng = np.random.default_rng(3)
        rows, columns = rng.integers(0, height, 20000), rng.integers(0, width, 20000)
        x, y = (columns + 0.5) * GROUND_CELL, (rows + 0.5) * GROUND_CELL
        found = mask.is_on_mask(x, y)
        expected = np.isin(town.ground.label[rows, columns], (Label.DRIVEABLE_SURFACE, Label.SIDEWALK))
        assert expected.mean() > 0.1
        np.testing.assert_array_equal(found, expected)

    def test_size_and_values(self, town):
        mask = semantic_prior(town)
        assert mask.shape == (round(town.size[1] * 10), round(town.size[0] * 10))
        assert set(np.unique(mask)) == {0, 255}

    def test_dilation_reaches_beyond_the_sidewalk(self, town, root):
        mask = MapMask(str(root / "maps" / "0123.png"), resolution=0.2)
        x, y = town.size[0] / 2, 3.0
        gap = Point(x, y).distance(unary_union(town.polygons["walkway"]))
        assert gap > 20
        assert not mask.is_on_mask(x, y, dilation=gap - 1)[0]
        assert mask.is_on_mask(x, y, dilation=gap + 1)[0]


class TestFiles:
    def test_same_town_gives_the_same_files(self, town, root, tmp_path):
        write_map_files(tmp_path, build_town(LOCATION, 2, 4), "0123")
        for name in ("0123.png", f"expansion/{LOCATION}.json"):
            assert (tmp_path / name).read_bytes() == (root / "maps" / name).read_bytes()

    def test_tokens_are_unique_and_all_references_resolve(self, read):
        for layer in read.layer_names:
            tokens = [record["token"] for record in getattr(read, layer)]
            assert len(set(tokens)) == len(tokens)
        nodes = {node["token"] for node in read.node}
        for polygon in read.polygon:
            assert {*polygon["exterior_node_tokens"], *(t for h in polygon["holes"] for t in h["node_tokens"])} <= nodes
        assert all(set(line["node_tokens"]) <= nodes for line in read.line)

    def test_json_is_compact_and_finite(self, town, root):
        text = (root / "maps" / "expansion" / f"{LOCATION}.json").read_text()
        assert ", " not in text
        assert "NaN" not in text
        assert json.loads(text)["canvas_edge"] == list(town.size)

    def test_other_locations_have_other_tokens(self, read):
        other = map_expansion(build_town("boston-seaport", 2, 4))
        assert not {r["token"] for r in other["node"]} & {r["token"] for r in read.node}
