"""The drives of written sets against VAD's converter; files, oracle boundary, splits, missing and damaged files."""

import os
import pickle
import shutil
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import vad_converter
import yaml
from fake_drives import DESCRIPTIONS, LOCATION, SCENES, VERSION, read_table, write_drives, write_table
from fake_nuscenes import token
from nuscenes import NuScenes
from nuscenes.can_bus.can_bus_api import NuScenesCanBus
from nuscenes.eval.detection.utils import category_to_detection_name
from PIL import Image
from torch.utils.data import DataLoader

from al_lightning.acquisition import ErrorWindows
from al_lightning.config.components import check_component, instantiate
from al_lightning.data import NuScenesDriving
from al_lightning.data.driving_can_bus import read_signals
from al_lightning.data.driving_tables import CAMERAS
from al_lightning.data.module import SensorRows
from al_lightning.driving import PADDING, DrivingInputs
from al_lightning.types import ActiveDataset, DataFileError, Summary, collate

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "data"
SIZE = (96, 160)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("drives")
    write_drives(root)
    return root


@pytest.fixture
def root(pristine, tmp_path):
    """A copy to damage, of hard links for speed: remove files before writing them anew."""
    return shutil.copytree(pristine, tmp_path / "drives", copy_function=os.link)


@pytest.fixture(scope="module")
def nusc(pristine):
    return NuScenes(VERSION, str(pristine), verbose=False)


@pytest.fixture(scope="module")
def reader(pristine):
    return NuScenesCanBus(str(pristine))


def dataset(root, **arguments):
    return NuScenesDriving(str(root), **{"version": VERSION, "image_size": SIZE, **arguments})


def keyframes(subject, nusc):
    """The devkit's samples in the order of the rows."""
    samples = {scene["name"]: nusc.get("sample", scene["first_sample_token"]) for scene in nusc.scene}
    scenes = dict.fromkeys(unit.split("/")[0] for unit in subject.units)
    rows = [[samples[name], *vad_converter.neighbours(nusc, samples[name], "next", 100)] for name in scenes]
    return [sample for row in rows for sample in row]


# --- rows


def test_units_are_scenes_and_rows_are_in_time_order(pristine):
    train, val = dataset(pristine), dataset(pristine, split="val")
    assert (train.units, val.units) == (("scene-0001", "scene-0002"), ("scene-0003", "scene-0012"))
    assert train.unit_of.tolist() == [0] * 8 + [1]
    assert val.unit_of.tolist() == [0] * 9 + [1] * 7
    assert (len(train), len(val)) == (9, 16)
    assert train.class_names == tuple(vad_converter.CLASSES)
    assert [bool(train.sample(row).inputs.new_scene) for row in range(9)] == [True] + [False] * 7 + [True]


def test_subsets_follow_the_words_of_the_scenes(pristine):
    subject = dataset(pristine, split="val")
    assert {name: rows.tolist() for name, rows in subject.subsets.items()} == {
        name: [word in DESCRIPTIONS.get(unit, "").lower() for unit in subject.units]
        for name, word in (("night", "night"), ("rain", "wet"))
    }


def test_clips_are_pieces_of_scenes(pristine):
    subject, scenes = dataset(pristine, clip=3), dataset(pristine)
    assert subject.units == ("scene-0001/00", "scene-0001/01", "scene-0002/00")
    assert np.bincount(subject.unit_of).tolist() == [4, 4, 1]
    for name, members in scenes.subsets.items():
        assert subject.subsets[name].tolist() == members[[0, 0, 1]].tolist()


def test_a_clip_begins_a_history_of_its_own(pristine):
    clips, scenes = dataset(pristine, clip=3), dataset(pristine)
    for row in range(9):
        ours, theirs = (subject.sample(row, annotations=False).inputs for subject in (clips, scenes))
        assert bool(ours.new_scene) == (row in (0, 4, 8))
        turned = [0, 1, 2, 17]  # since the frame before
        assert (ours.can_bus[turned] == (0 if ours.new_scene else theirs.can_bus[turned])).all()
        assert torch.equal(ours.ego_history, theirs.ego_history)
        assert torch.equal(ours.ego_future, theirs.ego_future)
        assert int(ours.unit_mask.sum()) == (3 - row % 4 if row < 8 else 0)
        assert torch.equal(ours.unit_mask, ours.unit_mask & theirs.unit_mask)
        assert torch.equal(theirs.unit_mask, theirs.ego_future_mask)


@pytest.mark.parametrize("moved", [0, 1])
def test_the_labels_of_a_clip_are_made_of_its_own_boxes(root, moved):
    """The boxes of one of the two clips of a scene are moved."""
    scene = "scene-0001"
    rows = [range(4), range(4, 8)]
    other, plans = 1 - moved, torch.randn(4, 1, 6, 2).cumsum(2)
    before = dataset(root, clip=3), dataset(root)
    own = {token("sample", scene, keyframe) for keyframe in rows[moved]}
    boxes = read_table(root, "sample_annotation")
    for box in boxes:
        if box["sample_token"] in own:
            box["translation"] = [box["translation"][0] + 4, *box["translation"][1:]]
            box["rotation"] = [1, 0, 0, 0]
    (root / VERSION / "sample_annotation.json").unlink()
    write_table(root, "sample_annotation", boxes)
    after = dataset(root, clip=3), dataset(root)
    pairs = zip(before, after, strict=True)
    clips, scenes = ([labels_of(subject, rows[other], plans) for subject in pair] for pair in pairs)
    torch.testing.assert_close(clips[0], clips[1], rtol=0, atol=0)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(scenes[0], scenes[1])  # of a whole scene they are labels of its own
    assert not torch.equal(*(subject.sample(rows[moved][1]).annotations.boxes for subject in (before[0], after[0])))
    known = before[0].sample(rows[other][0]).annotations.future_mask
    assert known[:, :3].any()
    assert not known[:, 3:].any()


def labels_of(subject, rows, plans, horizon=2):
    """Annotations of the rows of a clip, and its safety state."""
    windows = ErrorWindows(horizon)
    batch = collate([subject.sample(row, annotations=False) for row in rows])
    unit = windows.group(Summary(torch.zeros(len(rows), dtype=torch.int64), windows(batch, plans)))
    safety = windows.with_labels(unit, lambda row: subject.sample(row).annotations)["safety"]
    assert (safety > 0).any()
    return {"safety": safety, "rows": [asdict(subject.sample(row).annotations) for row in rows]}


def test_objects_that_are_no_targets_are_kept_apart(pristine, nusc):
    """All boxes of the ten classes are targets or others; others are far away or hit by no sensor."""
    subject, far, missed = dataset(pristine, max_agents=60), 0, 0
    for row, sample in enumerate(keyframes(subject, nusc)):
        truth = subject.sample(row).annotations
        records = [nusc.get("sample_annotation", t) for t in sample["anns"]]
        classes = [category_to_detection_name(record["category_name"]) for record in records]
        targets, others = ((group.labels != PADDING).sum() for group in (truth, truth.others))
        assert targets + others == sum(name is not None for name in classes)
        outside = (truth.others.boxes[:others, :2].abs() >= torch.tensor([15.0, 30.0])).any(dim=1)
        far, missed = far + int(outside.sum()), missed + int((~outside).sum())
        hits = [r["num_lidar_pts"] + r["num_radar_pts"] for r, n in zip(records, classes, strict=True) if n]
        assert (~outside).sum() <= sum(count == 0 for count in hits)
        assert truth.others.future_yaw.shape == truth.others.future_mask.shape == (60, 6)
    assert min(far, missed) > 5


def test_validation_is_on_whole_scenes(pristine):
    assert dataset(pristine, split="val", clip=3).units == dataset(pristine, split="val").units


# --- the ego vehicle and objects, against VAD's converter


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_ego_vehicle_is_as_in_vads_converter(pristine, nusc, reader, split):
    subject, previous, commands = dataset(pristine, split=split), None, set()
    for row, sample in enumerate(keyframes(subject, nusc)):
        inputs = subject.sample(row, annotations=False).inputs
        future, mask, command = vad_converter.future(nusc, sample)
        np.testing.assert_allclose(inputs.ego_future, future, atol=1e-6)
        np.testing.assert_array_equal(inputs.ego_future_mask, mask)
        np.testing.assert_allclose(inputs.ego_history, vad_converter.history(nusc, sample), atol=1e-6)
        assert int(inputs.command) == command
        if previous and previous["scene_token"] != sample["scene_token"]:
            previous = None
        bus = vad_converter.can_bus(nusc, reader, sample, previous)
        np.testing.assert_allclose(inputs.can_bus, bus, rtol=1e-6, atol=1e-5)
        np.testing.assert_allclose(inputs.ego_status, vad_converter.status(nusc, reader, sample), rtol=1e-5, atol=1e-5)
        previous, commands = sample, commands | {command}
    assert commands == ({1, 2} if split == "train" else {0, 2})


@pytest.mark.parametrize("split", ["train", "val"])
def test_objects_are_as_in_vads_converter(pristine, nusc, split):
    def hit(record):
        return record["num_lidar_pts"] + (record["num_radar_pts"] if split == "train" else 0) > 0

    subject, seen = dataset(pristine, split=split), 0
    for row, sample in enumerate(keyframes(subject, nusc)):
        truth = subject.sample(row).annotations
        expected = vad_converter.agents(nusc, sample, hit)
        count = len(expected)
        assert (truth.labels[count:] == PADDING).all()
        for k, (box, label, steps, mask, turns) in enumerate(expected):
            np.testing.assert_allclose(truth.boxes[k], box, atol=1e-5)
            assert truth.labels[k] == label
            np.testing.assert_allclose(truth.futures[k], steps, atol=1e-5)
            np.testing.assert_array_equal(truth.future_mask[k], mask)
            np.testing.assert_allclose(np.cos(truth.future_yaw[k] - turns), 1, atol=1e-9)
            assert (truth.future_yaw[k].abs() <= np.pi).all()
            seen += int(mask.sum())
    assert seen > 30


def test_sizes_are_fixed_and_too_many_rows_lose_the_farthest(pristine, caplog):
    full, short = dataset(pristine), dataset(pristine, max_agents=1, max_lines=3)
    for row in (1, 2):
        whole, cut = full.sample(row).annotations, short.sample(row).annotations
        assert (whole.boxes.shape, whole.lines.shape) == ((300, 9), (100, 19, 20, 2))
        assert (cut.boxes.shape, cut.lines.shape) == ((1, 9), (3, 19, 20, 2))
        distance = whole.boxes[whole.labels != PADDING, :2].norm(dim=1)
        assert len(distance) > 1
        nearest = distance.argmin()[None]
        torch.testing.assert_close(cut.boxes, whole.boxes[nearest])
        torch.testing.assert_close(cut.futures, whole.futures[nearest])
        lines = whole.lines[whole.line_labels != PADDING, 0].norm(dim=-1).amin(1)
        torch.testing.assert_close(cut.lines[:, 0].norm(dim=-1).amin(1).sort().values, lines.sort().values[:3])
    assert "the 1 nearest are kept" in caplog.text


def test_the_logged_way_is_no_label(pristine):
    subject = dataset(pristine)
    with_labels, without = subject.sample(1), subject.sample(1, annotations=False)
    assert without.annotations is None
    torch.testing.assert_close(without.inputs.ego_future, with_labels.annotations.ego_future, rtol=0, atol=0)
    assert torch.equal(without.inputs.ego_future_mask, with_labels.annotations.ego_future_mask)


# --- images


def test_images_are_normalized_resized_and_padded_as_in_vad(pristine, nusc):
    subject = dataset(pristine, image_size=(64, 80))
    sample = keyframes(subject, nusc)[2]
    inputs = subject.sample(2, annotations=False).inputs
    assert inputs.images.shape == (6, 3, 64, 80)
    assert (
        *("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_FRONT_LEFT"),
        *("CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT"),
    ) == CAMERAS
    for image, matrix, channel in zip(inputs.images, inputs.lidar2img, CAMERAS, strict=True):
        pixels = np.asarray(Image.open(nusc.get_sample_data_path(sample["data"][channel])), dtype=np.float32)
        normal = (pixels - np.float32([123.675, 116.28, 103.53])) / np.float32([58.395, 57.12, 57.375])
        expected = cv2.resize(normal, (80, 45), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(image[:, :45], expected.transpose(2, 0, 1), atol=1e-5)
        assert (image[:, 45:] == 0).all()
        np.testing.assert_allclose(matrix, vad_converter.lidar2img(nusc, sample, channel, 0.5), rtol=1e-5, atol=1e-3)


def test_caffe_normalization_is_blue_first(pristine):
    imagenet, caffe = (
        dataset(pristine, normalization=n).sample(0, annotations=False).inputs.images[:, :, :90]
        for n in ("imagenet", "caffe")
    )
    mean, deviation = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    red_first = imagenet * deviation[:, None, None]
    torch.testing.assert_close(caffe.flip(1), red_first, rtol=0, atol=1e-3)
    assert (caffe.flip(1) + mean[:, None, None]).min() > -1e-3


def test_a_low_input_is_refused(pristine):
    with pytest.raises(ValueError, match=r"image_size \(89, 160\) cannot hold .* 90 pixels high"):
        dataset(pristine, image_size=(89, 160)).sample(0)


# --- the oracle boundary, worker processes


def test_sensor_rows_touch_neither_boxes_nor_maps(pristine, openings, monkeypatch):
    subject = dataset(pristine)
    for name in ("agents_at", "map_lines", "read_map_layers"):
        monkeypatch.setattr(f"al_lightning.data.driving_nuscenes.{name}", lambda *_: pytest.fail("a label was read"))
    openings.clear()
    sample = SensorRows(subject)[3]
    assert sample.annotations is None
    assert openings
    assert all(name.endswith(".jpg") for name in openings)


def test_rows_travel_to_worker_processes(pristine):
    subject = dataset(pristine)
    copy = pickle.loads(pickle.dumps(subject))
    a, b = subject.sample(2), copy.sample(2)
    torch.testing.assert_close(vars(a.inputs), vars(b.inputs), rtol=0, atol=0)
    torch.testing.assert_close(asdict(a.annotations), asdict(b.annotations), rtol=0, atol=0)
    rows = [subject.sample(row) for row in range(4)]
    batch = next(iter(DataLoader(SensorRows(subject), batch_size=4, num_workers=1, collate_fn=collate)))
    assert isinstance(batch.inputs, DrivingInputs)
    assert batch.annotations is None
    torch.testing.assert_close(vars(batch.inputs), vars(collate(rows).inputs), rtol=0, atol=0)
    assert collate(rows).annotations.lines.shape == (4, 100, 19, 20, 2)


def test_there_is_no_visibility_mask(pristine):
    with pytest.raises(ValueError, match="label_mask"):
        dataset(pristine).sample(0, label_mask=True)


# --- splits that cut scenes


class EveryOther:
    def __call__(self, samples):
        train = np.arange(len(samples)) % 3 > 0
        return {"train": train, "val": ~train}


def test_a_cut_ends_the_carried_history_and_what_labels_tell(pristine):
    """Beyond a cut lie the keyframes of the other part. The way of the ego vehicle is no label."""
    whole, cut = dataset(pristine), dataset(pristine, splits=EveryOther())
    assert whole.units[0] == cut.units[0] == "scene-0001"
    for row, source in enumerate((1, 2, 4, 5, 7)):  # of scene-0001
        a, b = cut.sample(row).inputs, whole.sample(source).inputs
        torch.testing.assert_close(a.ego_future, b.ego_future, rtol=0, atol=0)
        torch.testing.assert_close(a.ego_history, b.ego_history, rtol=0, atol=0)
        assert bool(a.new_scene) == (source in (1, 4, 7))
        assert int(a.unit_mask.sum()) == (source in (1, 4))
        assert (a.can_bus[[0, 1, 2, 17]] == (0 if a.new_scene else b.can_bus[[0, 1, 2, 17]])).all()
        assert (a.can_bus[3:17] == b.can_bus[3:17]).all()
        found, expected = cut.sample(row).annotations, whole.sample(source).annotations
        torch.testing.assert_close(found.boxes[:, :7], expected.boxes[:, :7])
        steps = 1 if source in (1, 4) else 0  # of these alone the next keyframe is in the same part
        assert not found.future_mask[:, steps:].any()
        assert (found.future_mask[:, :steps] <= expected.future_mask[:, :steps]).all()


# --- labels, missing and damaged files


def test_paths_lead_to_images_boxes_and_map(pristine):
    subject = dataset(pristine)
    for unit in range(2):
        paths = subject.paths(unit)
        assert set(paths) == {"first_image", "last_image", "boxes", "map"}
        assert all((pristine / path).is_file() for path in paths.values())
        assert f"{subject.units[unit]}__CAM_FRONT__000" in paths["first_image"]
    assert f"{SCENES['scene-0001'] - 1:03d}.jpg" in subject.paths(0)["last_image"]
    assert subject.label_problems(0) == subject.label_problems(1) == []


def test_training_waits_for_a_map_and_boxes(root):
    (root / "maps" / "expansion" / f"{LOCATION}.json").unlink()
    scene = {row["token"]: row["name"] for row in read_table(root, "scene")}
    own = {row["token"] for row in read_table(root, "sample") if scene[row["scene_token"]] == "scene-0002"}
    boxes = [row for row in read_table(root, "sample_annotation") if row["sample_token"] not in own]
    (root / VERSION / "sample_annotation.json").unlink()
    write_table(root, "sample_annotation", boxes)
    subject = dataset(root)
    assert subject.sample(0, annotations=False).annotations is None
    with pytest.raises(DataFileError, match=f"cannot read the map .*{LOCATION}"):
        subject.sample(0)
    first, second = subject.label_problems(0), subject.label_problems(1)
    assert [LOCATION in problem for problem in first] == [True]
    assert ["no box" in problem for problem in second] == [True, False]
    with pytest.raises(DataFileError, match=f"cannot read the map .*{LOCATION}"):
        dataset(root, split="val")


def test_a_map_that_comes_later_is_read(root):
    path = root / "maps" / "expansion" / f"{LOCATION}.json"
    content = path.read_text()
    path.unlink()
    path.write_text(content[:-20])
    with pytest.raises(DataFileError, match="cannot read the map"):
        dataset(root)
    path.unlink()
    subject = dataset(root)
    assert subject.label_problems(0)
    path.write_text(content)
    assert subject.label_problems(0) == []
    assert (subject.sample(0).annotations.line_labels != PADDING).any()


def test_labels_are_read_without_images(pristine, openings):
    subject = dataset(pristine)
    whole = subject.sample(2).annotations
    openings.clear()
    alone = subject.annotations(2)
    for name in ("boxes", "labels", "futures", "lines", "line_labels", "ego_future"):
        assert torch.equal(getattr(alone, name), getattr(whole, name))
    assert not [name for name in openings if name.endswith(".jpg")]


def test_missing_images_are_found_before_training(root):
    image = root / dataset(root).paths(0)["last_image"]
    image.unlink()
    with pytest.raises(DataFileError, match=rf"1 of 54 images of the train split .*{image.name}"):
        dataset(root)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ego_pose", None, "1 of 10 tables are missing"),
        ("ego_pose", "[{", "ego_pose.json: Expecting"),
        ("ego_pose", "[]", "lack the key or the record"),
    ],
)
def test_bad_tables_are_named(root, name, content, message):
    path = root / VERSION / f"{name}.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataFileError, match=message):
        dataset(root)


def test_tables_without_samples_are_refused(root):
    for name in ("sample", "sample_data", "sample_annotation"):
        (root / VERSION / f"{name}.json").unlink()
        write_table(root, name, [])
    with pytest.raises(DataFileError, match="there is no sample"):
        dataset(root)


def test_a_keyframe_without_a_lidar_is_refused(root):
    rows = [row for row in read_table(root, "sample_data") if "LIDAR_TOP" not in row["filename"]]
    (root / VERSION / "sample_data.json").unlink()
    write_table(root, "sample_data", rows)
    with pytest.raises(DataFileError, match="has no LIDAR_TOP"):
        dataset(root)


def test_scenes_recorded_without_a_can_bus_have_none(pristine, tmp_path, caplog):
    """The devkit refuses scene 161, whatever the files say."""
    shutil.copytree(pristine / "can_bus", tmp_path / "can_bus")
    for kind in ("pose", "steeranglefeedback"):
        source = tmp_path / "can_bus" / f"scene-0001_{kind}.json"
        source.rename(tmp_path / "can_bus" / f"scene-0161_{kind}.json")
    moments = np.array([1, 2])
    signals = read_signals(tmp_path, ["scene-0161", "scene-0003"], moments)
    assert signals.known.tolist() == [False, True]
    assert (signals.rates[0] == 0).all()
    assert "the first: scene-0161" in caplog.text


def test_keyframes_without_any_box_still_have_sensors(root):
    for name in ("sample_annotation", "instance"):
        (root / VERSION / f"{name}.json").unlink()
        write_table(root, name, [])
    sample = dataset(root).sample(2)
    assert (sample.annotations.labels == PADDING).all()
    assert (sample.annotations.line_labels != PADDING).any()
    assert "no box" in dataset(root).label_problems(0)[0]


def test_an_empty_clip_counts_as_unlabeled_whatever_its_scene_has(root):
    first = {token("sample", "scene-0001", keyframe) for keyframe in range(4)}
    boxes = [row for row in read_table(root, "sample_annotation") if row["sample_token"] not in first]
    kept = {row["token"] for row in boxes}
    for row in boxes:
        row["prev"] = row["prev"] if row["prev"] in kept else ""
    (root / VERSION / "sample_annotation.json").unlink()
    write_table(root, "sample_annotation", boxes)
    subject = dataset(root, clip=3)
    assert (subject.sample(0).annotations.labels == PADDING).all()
    assert "has no box of the ten classes in scene-0001/00" in subject.label_problems(0)[0]
    assert subject.label_problems(1) == []
    assert dataset(root).label_problems(0) == []


@pytest.mark.parametrize("content", ["[{", "[]", '[{"utime": 5}]', '[{"utime": 5, "vel": [NaN, 0, 0]}]'])
def test_a_damaged_can_bus_is_named(root, content):
    path = root / "can_bus" / "scene-0001_pose.json"
    path.unlink()
    path.write_text(content)
    with pytest.raises(DataFileError, match="the CAN bus of scene-0001"):
        dataset(root)


def test_a_missing_can_bus_is_told_once(root, caplog):
    dataset(root)
    assert "CAN bus" not in caplog.text
    shutil.rmtree(root / "can_bus")
    subject = dataset(root)
    assert caplog.text.count("CAN bus") == 1
    assert "2 of 2 scenes have no CAN bus" in caplog.text
    bus = subject.sample(3, annotations=False).inputs.can_bus
    assert (bus[7:16] == 0).all()
    assert (bus[[0, 3, 16, 17]] != 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "test"}, "split must be one of"),
        ({"normalization": "none"}, "normalization must be one of"),
        ({"max_agents": 0}, "max_agents must be positive"),
        ({"max_lines": -1}, "max_lines must be positive"),
        ({"clip": 0}, "clip must be a positive number"),
        ({"image_size": (0, 5)}, "image_size"),
    ],
)
def test_wrong_arguments_are_refused(pristine, arguments, message):
    with pytest.raises(ValueError, match=message):
        dataset(pristine, **arguments)


@pytest.mark.parametrize("name", ["nuscenes_driving", "simulated_driving"])
def test_configurations_build_the_data_set(pristine, name):
    node = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()) | {"root": str(pristine), "version": VERSION}
    check_component(node, "data", provided=("split",), kind=ActiveDataset)
    subject = instantiate(node, "data", split="val")
    assert isinstance(subject, NuScenesDriving)
    assert subject.sample(0).inputs.images.shape == (6, 3, *node["image_size"])


def test_tables_are_read_once(root, openings):
    dataset(root)
    dataset(root, split="val")
    assert sum(name.endswith("sample_annotation.json") for name in openings) == 1


def test_a_planner_that_sees_nothing_needs_neither_images_nor_maps(root):
    whole = dataset(root).sample(1)
    shutil.rmtree(root / "samples")
    shutil.rmtree(root / "maps")
    blind = dataset(root, images=False, maps=False)
    sample = blind.sample(1)
    assert sample.inputs.images.shape == (0, 3, *SIZE)
    assert sample.inputs.lidar2img.shape == (0, 4, 4)
    assert torch.equal(sample.inputs.ego_history, whole.inputs.ego_history)
    assert torch.equal(sample.annotations.boxes, whole.annotations.boxes)
    assert (sample.annotations.line_labels == PADDING).all()
    assert not blind.label_problems(0)
