"""nuScenes' own devkit reads a written data set: tables, boxes, pictures, maps."""

import json
import warnings

import matplotlib
import numpy as np
import pytest
from nuscenes import NuScenes
from nuscenes.map_expansion.bitmap import BitMap
from nuscenes.map_expansion.map_api import NuScenesMap
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.splits import create_splits_scenes
from PIL import Image
from pyquaternion import Quaternion

from al_lightning.simulation.presets import PRESETS
from al_lightning.simulation.vocabulary import CHANNELS, VERSION

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def nusc(tiny_world):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        return NuScenes(version=VERSION, dataroot=str(tiny_world), verbose=False)


@pytest.fixture
def canvas():
    """A matplotlib without windows."""
    backend = matplotlib.get_backend()
    matplotlib.use("Agg")
    yield
    matplotlib.pyplot.close("all")
    matplotlib.use(backend)


def test_official_splits_apply(nusc):
    splits = create_splits_scenes()
    names = {scene["name"] for scene in nusc.scene}
    assert len(names & set(splits["train"])) == TINY.train_scenes
    assert len(names & set(splits["val"])) == TINY.val_scenes


def test_every_sample_has_all_sensors_and_objects(nusc):
    for sample in nusc.sample:
        assert set(sample["data"]) == set(CHANNELS)
        assert len(sample["anns"]) >= 3


def test_files_are_what_the_tables_say(nusc):
    for record in nusc.sample_data:
        path = nusc.get_sample_data_path(record["token"])
        if record["channel"] == "LIDAR_TOP":
            points = LidarPointCloud.from_file(path).points
            assert points.shape[0] == 4
            assert 5_000 < points.shape[1] < 40_000
            assert np.isfinite(points).all()
            assert points[3].min() >= 0
            assert points[3].max() <= 255
        else:
            with Image.open(path) as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", TINY.image_size[::-1])
                assert np.asarray(image).std() > 5


def test_voxel_labels_are_those_of_occ3d(nusc, tiny_world):
    folders = {path.parent.parent.name + "/" + path.parent.name for path in tiny_world.glob("gts/*/*/labels.npz")}
    scene_of = {scene["token"]: scene["name"] for scene in nusc.scene}
    assert folders == {f"{scene_of[sample['scene_token']]}/{sample['token']}" for sample in nusc.sample}
    for folder in folders:
        with np.load(tiny_world / "gts" / folder / "labels.npz") as labels:
            assert set(labels) == {"semantics", "mask_lidar", "mask_camera"}
            for values in labels.values():
                assert (values.shape, values.dtype) == ((200, 200, 16), np.uint8)
            assert labels["semantics"].max() == 17
            for mask in ("mask_lidar", "mask_camera"):
                assert set(np.unique(labels[mask])) == {0, 1}


def test_boxes_in_each_sensor(nusc):
    for record in nusc.sample_data[:: TINY.keyframes]:
        path, boxes, intrinsic = nusc.get_sample_data(record["token"])
        assert path.endswith(record["filename"])
        if record["channel"] == "LIDAR_TOP":
            assert intrinsic is None
            assert len(boxes) == len(nusc.get_boxes(record["token"]))
        else:
            assert intrinsic.shape == (3, 3)
            assert abs(intrinsic[0, 2] - TINY.image_size[1] / 2) < 0.03 * TINY.image_size[1]


def test_counted_returns_lie_in_their_boxes(nusc):
    for sample in nusc.sample:
        path, boxes, _ = nusc.get_sample_data(sample["data"]["LIDAR_TOP"])
        points = LidarPointCloud.from_file(path).points[:3]
        for box in boxes:
            counted = nusc.get("sample_annotation", box.token)["num_lidar_pts"]
            box.wlh = box.wlh + 0.2  # noise of the measured distance
            local = box.rotation_matrix.T @ (points - box.center[:, None])
            inside = (np.abs(local) <= np.array(box.wlh)[[1, 0, 2], None] / 2).all(axis=0)
            assert inside.sum() >= 0.98 * counted


def test_velocities_are_those_of_the_boxes(nusc):
    speeds = []
    for annotation in nusc.sample_annotation:
        velocity = nusc.box_velocity(annotation["token"])
        names = [nusc.get("attribute", token)["name"] for token in annotation["attribute_tokens"]]
        if np.isfinite(velocity).all():
            speed = float(np.hypot(*velocity[:2]))
            speeds.append(speed)
            assert velocity[2] == pytest.approx(0, abs=1e-9)
            assert speed < 30
            if "vehicle.parked" in names:
                assert speed == pytest.approx(0, abs=1e-6)
    assert max(speeds) > 1


def test_lists_and_statistics(nusc, capsys):
    nusc.list_categories()
    nusc.list_attributes()
    nusc.list_scenes()
    nusc.list_sample(nusc.sample[0]["token"])
    printed = capsys.readouterr().out
    assert "vehicle.car" in printed
    assert all(scene["name"] in printed for scene in nusc.scene)


@pytest.mark.filterwarnings("ignore")
def test_rendered_sample(nusc, canvas, tmp_path):
    nusc.render_sample(nusc.sample[1]["token"], out_path=str(tmp_path / "sample.png"), verbose=False)
    with Image.open(tmp_path / "sample.png") as image:
        assert np.asarray(image.convert("RGB")).std() > 20


@pytest.mark.filterwarnings("ignore")
def test_rendered_annotation(nusc, canvas, tmp_path):
    boxes = [box for sample in nusc.sample for box in nusc.get_sample_data(sample["data"]["CAM_FRONT"])[1]]
    nusc.render_annotation(boxes[0].token, out_path=str(tmp_path / "annotation.png"))
    assert (tmp_path / "annotation.png").stat().st_size > 10_000


def test_ego_drives_on_the_map(nusc, tiny_world):
    masks = {log: row["mask"] for row in nusc.map for log in row["log_tokens"]}
    maps = {log["location"]: NuScenesMap(str(tiny_world), log["location"]) for log in nusc.log}
    for sample in nusc.sample:
        log = nusc.get("log", nusc.get("scene", sample["scene_token"])["log_token"])
        record = nusc.get("sample_data", sample["data"]["LIDAR_TOP"])
        x, y, _ = nusc.get("ego_pose", record["ego_pose_token"])["translation"]
        assert masks[log["token"]].is_on_mask(x, y).all()
        assert maps[log["location"]].layers_on_point(x, y)["drivable_area"]


def test_vehicles_in_motion_are_on_the_drivable_area(nusc, tiny_world):
    maps = {log["location"]: NuScenesMap(str(tiny_world), log["location"]) for log in nusc.log}
    checked = 0
    for annotation in nusc.sample_annotation:
        names = [nusc.get("attribute", token)["name"] for token in annotation["attribute_tokens"]]
        if annotation["category_name"].startswith("vehicle") and "vehicle.moving" in names:
            sample = nusc.get("sample", annotation["sample_token"])
            log = nusc.get("log", nusc.get("scene", sample["scene_token"])["log_token"])
            layers = maps[log["location"]].layers_on_point(*annotation["translation"][:2])
            assert layers["drivable_area"]
            checked += 1
    assert checked > 0


def test_maps_of_all_locations(nusc, tiny_world):
    for row in nusc.map:
        location = nusc.get("log", row["log_tokens"][0])["location"]
        town = NuScenesMap(str(tiny_world), location)
        assert all(len(getattr(town, layer)) > 0 for layer in ("lane", "lane_connector", "ped_crossing", "walkway"))
        assert BitMap(str(tiny_world), location, "semantic_prior").image.ndim == 2
        expansion = json.loads((tiny_world / "maps" / "expansion" / f"{location}.json").read_text())
        height, width = row["mask"].mask().shape
        assert np.allclose((width / 10, height / 10), expansion["canvas_edge"], atol=0.2)


def test_heading_of_the_ego_is_its_direction_of_travel(nusc):
    for scene in nusc.scene:
        first, last = (nusc.get("sample", scene[f"{end}_sample_token"]) for end in ("first", "last"))
        poses = [
            nusc.get("ego_pose", nusc.get("sample_data", s["data"]["LIDAR_TOP"])["ego_pose_token"])
            for s in (first, last)
        ]
        moved = np.subtract(poses[1]["translation"], poses[0]["translation"])
        if np.linalg.norm(moved) > 1:
            ahead = Quaternion(poses[0]["rotation"]).rotate(np.array([1.0, 0.0, 0.0]))
            assert ahead @ moved / np.linalg.norm(moved) > 0.7
