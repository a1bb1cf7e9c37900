"""The thirteen tables of a written data set: fields, vocabularies, chains, references."""

import json

import numpy as np
import pytest
from nuscenes.utils.color_map import get_colormap

from al_lightning.simulation.plan import plan_scenes
from al_lightning.simulation.presets import PRESETS
from al_lightning.simulation.tables import Sighting, annotation_rows
from al_lightning.simulation.vocabulary import ATTRIBUTES, CATEGORIES, CHANNELS, VERSION, visibility_token
from al_lightning.simulation.world import CATEGORY_LABELS, Track

FIELDS = {
    "attribute": {"token", "name", "description"},
    "calibrated_sensor": {"token", "sensor_token", "translation", "rotation", "camera_intrinsic"},
    "category": {"token", "name", "description"},
    "ego_pose": {"token", "translation", "rotation", "timestamp"},
    "instance": {"token", "category_token", "nbr_annotations", "first_annotation_token", "last_annotation_token"},
    "log": {"token", "logfile", "vehicle", "date_captured", "location"},
    "map": {"token", "log_tokens", "category", "filename"},
    "sample": {"token", "timestamp", "scene_token", "next", "prev"},
    "sample_annotation": {
        *("token", "sample_token", "instance_token", "attribute_tokens", "visibility_token", "translation", "size"),
        *("rotation", "num_lidar_pts", "num_radar_pts", "next", "prev"),
    },
    "sample_data": {
        *("token", "sample_token", "ego_pose_token", "calibrated_sensor_token", "filename", "fileformat"),
        *("width", "height", "timestamp", "is_key_frame", "next", "prev"),
    },
    "scene": {"token", "name", "description", "log_token", "nbr_samples", "first_sample_token", "last_sample_token"},
    "sensor": {"token", "channel", "modality"},
    "visibility": {"token", "level", "description"},
}
"""As in the description of nuScenes' schema."""
TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def tables(tiny_world):
    return {path.stem: json.loads(path.read_text()) for path in (tiny_world / VERSION).iterdir()}


@pytest.fixture(scope="module")
def rows(tables):
    """Table -> token -> row."""
    return {name: {row["token"]: row for row in table} for name, table in tables.items()}


def chain(rows, first):
    """The rows from ``first`` on, by ``next``; checks that ``prev`` goes back."""
    found, previous = [], ""
    while first:
        row = rows[first]
        assert row["prev"] == previous
        found.append(row)
        previous, first = first, row["next"]
    return found


def test_all_tables_have_the_fields_of_nuscenes_and_no_others(tables):
    assert set(tables) == set(FIELDS)
    for name, table in tables.items():
        assert table
        assert {frozenset(row) for row in table} == {frozenset(FIELDS[name])}


def test_tokens_are_unique_and_hexadecimal(tables):
    for name, table in tables.items():
        tokens = {row["token"] for row in table}
        assert len(tokens) == len(table)
        assert name == "visibility" or all(len(token) == 32 and int(token, 16) >= 0 for token in tokens)


def test_vocabularies_are_those_of_nuscenes(tables):
    known = {name for name in get_colormap() if not name.startswith(("flat.", "static.", "noise", "vehicle.ego"))}
    assert {row["name"] for row in tables["category"]} == known == set(CATEGORIES) == set(CATEGORY_LABELS)
    assert len(tables["category"]) == 23
    assert {row["name"] for row in tables["attribute"]} == set(ATTRIBUTES)
    assert len(ATTRIBUTES) == 8
    levels = {row["token"]: row["level"] for row in tables["visibility"]}
    assert levels == {"1": "v0-40", "2": "v40-60", "3": "v60-80", "4": "v80-100"}
    assert all(row["description"] for name in ("category", "attribute", "visibility") for row in tables[name])


def test_every_reference_leads_to_a_row(tables, rows):
    targets = {"first_sample": "sample", "last_sample": "sample"}
    targets |= {"first_annotation": "sample_annotation", "last_annotation": "sample_annotation"}
    for table in tables.values():
        for row in table:
            for field, value in row.items():
                if field.endswith("_token"):
                    target = field.removesuffix("_token")
                    assert value in rows[targets.get(target, target)]
                elif field.endswith("_tokens"):
                    assert all(token in rows[field.removesuffix("_tokens")] for token in value)


def test_samples_of_a_scene_are_a_chain_half_a_second_apart(tables, rows):
    plans = {plan.name: plan for plan in plan_scenes(TINY, 0)}
    assert [scene["name"] for scene in tables["scene"]] == sorted(plans)
    for scene in tables["scene"]:
        samples = chain(rows["sample"], scene["first_sample_token"])
        assert len(samples) == scene["nbr_samples"] == TINY.keyframes
        assert samples[-1]["token"] == scene["last_sample_token"]
        assert {sample["scene_token"] for sample in samples} == {scene["token"]}
        start = plans[scene["name"]].timestamp
        assert [sample["timestamp"] - start for sample in samples] == [500_000 * k for k in range(TINY.keyframes)]


def test_every_sensor_has_a_chain_of_files_in_each_scene(tables, rows, tiny_world):
    channel_of = {row["token"]: rows["sensor"][row["sensor_token"]]["channel"] for row in tables["calibrated_sensor"]}
    starts = [row for row in tables["sample_data"] if not row["prev"]]
    assert len(starts) == len(tables["scene"]) * len(CHANNELS) == len(tables["calibrated_sensor"])
    for start in starts:
        files = chain(rows["sample_data"], start["token"])
        samples = [rows["sample"][row["sample_token"]] for row in files]
        assert len({row["calibrated_sensor_token"] for row in files}) == 1
        assert [row["timestamp"] for row in files] == [sample["timestamp"] for sample in samples]
        assert samples == chain(rows["sample"], samples[0]["token"])
        for row in files:
            pose, channel = rows["ego_pose"][row["ego_pose_token"]], channel_of[row["calibrated_sensor_token"]]
            assert pose["timestamp"] == row["timestamp"]
            assert row["is_key_frame"] is True
            assert (tiny_world / row["filename"]).is_file()
            assert row["filename"].startswith(f"samples/{channel}/")
            size, kind = ((0, 0), "pcd") if channel == "LIDAR_TOP" else (TINY.image_size, "jpg")
            assert ((row["height"], row["width"]), row["fileformat"]) == (size, kind)


def test_all_sensors_of_a_sample_share_its_pose(tables, rows):
    poses = {}
    for row in tables["sample_data"]:
        pose = rows["ego_pose"][row["ego_pose_token"]]
        poses.setdefault(row["sample_token"], set()).add(json.dumps([pose["translation"], pose["rotation"]]))
    assert all(len(different) == 1 for different in poses.values())


def test_annotations_of_an_instance_are_a_chain(tables, rows):
    order = [sample["token"] for sample in tables["sample"]]
    for instance in tables["instance"]:
        boxes = chain(rows["sample_annotation"], instance["first_annotation_token"])
        assert boxes[-1]["token"] == instance["last_annotation_token"]
        assert len(boxes) == instance["nbr_annotations"]
        assert {box["instance_token"] for box in boxes} == {instance["token"]}
        places = [order.index(box["sample_token"]) for box in boxes]
        assert np.diff(places).tolist() == [1] * (len(boxes) - 1)
        assert len({rows["sample"][box["sample_token"]]["scene_token"] for box in boxes}) == 1
        assert boxes[0]["num_lidar_pts"] > 0
        assert boxes[-1]["num_lidar_pts"] > 0
        assert len({json.dumps(box["size"]) for box in boxes}) == 1
    assert sum(instance["nbr_annotations"] for instance in tables["instance"]) == len(tables["sample_annotation"])


def test_attributes_fit_the_category(tables, rows):
    for box in tables["sample_annotation"]:
        category = rows["category"][rows["instance"][box["instance_token"]]["category_token"]]["name"]
        names = [rows["attribute"][token]["name"] for token in box["attribute_tokens"]]
        assert len(names) <= 1
        for name in names:
            kind = {"cycle": ("vehicle.bicycle", "vehicle.motorcycle"), "pedestrian": "human", "vehicle": "vehicle"}
            assert category.startswith(kind[name.split(".")[0]])


def test_objects_stand_on_the_ground_within_reach(tables, rows):
    pose_of = {row["sample_token"]: rows["ego_pose"][row["ego_pose_token"]] for row in tables["sample_data"]}
    for box in tables["sample_annotation"]:
        assert box["translation"][2] == box["size"][2] / 2
        assert np.linalg.norm(box["rotation"]) == pytest.approx(1)
        if box["num_lidar_pts"]:
            away = np.subtract(box["translation"], pose_of[box["sample_token"]]["translation"])
            assert np.hypot(*away[:2]) <= 80


def test_weather_is_told_in_the_descriptions_and_nowhere_else(tables):
    for plan, scene in zip(plan_scenes(TINY, 0), tables["scene"], strict=True):
        assert ("Night" in scene["description"]) == ("night" in scene["description"].lower()) == plan.weather.night
        assert ("Rain" in scene["description"]) == ("rain" in scene["description"].lower()) == plan.weather.rain
        assert len(scene["description"]) > len("Night, Rain")


def test_maps_hold_the_logs_of_their_town(tables, rows, tiny_world):
    assert len(tables["map"]) == TINY.towns
    for row in tables["map"]:
        assert (tiny_world / row["filename"]).is_file()
        assert len({rows["log"][token]["location"] for token in row["log_tokens"]}) == 1
    assert sorted(token for row in tables["map"] for token in row["log_tokens"]) == sorted(rows["log"])


@pytest.mark.parametrize(
    ("share", "level"), [(0, 1), (0.4, 1), (0.41, 2), (0.6, 2), (0.7, 3), (0.8, 3), (0.81, 4), (1, 4)]
)
def test_visibility_levels(share, level):
    assert visibility_token(share) == str(level)


def track(attribute="vehicle.moving"):
    poses = np.stack([np.arange(11.0), np.zeros(11), np.zeros(11)], axis=1)
    return Track("vehicle.car", (2.0, 4.0, 1.5), poses, (attribute,) * 11, 0)


def test_annotated_from_the_first_to_the_last_keyframe_with_a_return():
    plan = plan_scenes(TINY, 0)[0]
    points = [[0, 3, 0], [0, 0, 0], [0, 5, 0], [0, 0, 0]]  # keyframes x tracks
    sightings = [[Sighting(count, 0.5) for count in row] for row in points]
    made = annotation_rows("world", plan, [track()] * 3, [0, 5, 7, 10], sightings)
    assert [row["nbr_annotations"] for row in made["instance"]] == [3]
    boxes = made["sample_annotation"]
    assert [box["num_lidar_pts"] for box in boxes] == [3, 0, 5]
    assert [box["translation"] for box in boxes] == [[0, 0, 0.75], [5, 0, 0.75], [7, 0, 0.75]]
    assert [bool(box["prev"]) for box in boxes] == [False, True, True]
    assert [bool(box["next"]) for box in boxes] == [True, True, False]


def test_unknown_attribute_is_refused():
    plan = plan_scenes(TINY, 0)[0]
    with pytest.raises(ValueError, match=r"no attribute 'vehicle.flying'"):
        annotation_rows("world", plan, [track("vehicle.flying")], [0], [[Sighting(1, 1.0)]])
