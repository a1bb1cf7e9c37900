"""The metric against nuscenes-devkit's whole evaluation, from a submission file, and on answers known beforehand."""

import json

import numpy as np
import pytest
import torch
from fake_boxes import write_boxes
from nuscenes import NuScenes
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.eval.detection.utils import category_to_detection_name
from pyquaternion import Quaternion

from al_lightning.detection import PADDING, encode_tokens
from al_lightning.driving import AGENT_CLASSES
from al_lightning.metrics import NuScenesDetection

VERSION = "v1.0-trainval"  # the devkit's own splits want this name
VAL = "scene-0003"
ERRORS = {"mATE": "trans_err", "mASE": "scale_err", "mAOE": "orient_err", "mAVE": "vel_err", "mAAE": "attr_err"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("boxes")
    write_boxes(root, version=VERSION)
    return root, NuScenes(VERSION, str(root), verbose=False)


def val_tokens(tables):
    scene = next(scene for scene in tables.scene if scene["name"] == VAL)
    return [sample["token"] for sample in tables.sample if sample["scene_token"] == scene["token"]]


def truth(tables, token):
    """The boxes that LiDAR saw as rows (9,) of `Detections`, by the devkit's own geometry, and their labels."""
    lidar = tables.get("sample", token)["data"]["LIDAR_TOP"]
    record = tables.get("sample_data", lidar)
    rotation = Quaternion(tables.get("calibrated_sensor", record["calibrated_sensor_token"])["rotation"]).inverse
    ego = Quaternion(tables.get("ego_pose", record["ego_pose_token"])["rotation"]).inverse
    rows, labels = [], []
    for box in tables.get_sample_data(lidar)[1]:
        name = category_to_detection_name(box.name)
        if name is not None and tables.get("sample_annotation", box.token)["num_lidar_pts"]:
            velocity = rotation.rotate(ego.rotate(np.nan_to_num(tables.box_velocity(box.token))))
            width, length, height = box.wlh
            rows.append([*box.center, length, width, height, box.orientation.yaw_pitch_roll[0], *velocity[:2]])
            labels.append(AGENT_CLASSES.index(name))
    return np.array(rows), np.array(labels)


def sure_of_the_truth(tables, token):
    rows, labels = truth(tables, token)
    return rows, labels, np.ones(len(rows))


def as_batch(frames):
    """Frames of (rows (M, 9), labels (M,), scores (M,)), padded."""
    longest = max(len(rows) for rows, _, _ in frames)
    boxes, scores = torch.zeros(len(frames), longest, 9), torch.zeros(len(frames), longest)
    labels = torch.full((len(frames), longest), PADDING)
    for number, (rows, own, values) in enumerate(frames):
        boxes[number, : len(rows)] = torch.tensor(np.array(rows).reshape(-1, 9))
        labels[number, : len(rows)] = torch.tensor(own)
        scores[number, : len(rows)] = torch.tensor(values)
    return boxes, labels, scores


def test_the_same_numbers_as_the_devkit_from_a_file(world, tmp_path):
    root, tables = world
    rng = np.random.default_rng(0)
    tokens, frames, results = val_tokens(tables), [], {}
    for token in tokens:
        rows, labels = truth(tables, token)
        rows = np.concatenate([rows, rows])
        rows += rng.normal(size=rows.shape) * [0.7, 0.7, 0.2, 0.1, 0.1, 0.1, 0.4, 0.3, 0.3]
        labels = np.concatenate([labels, rng.permutation(labels)])
        scores = rng.uniform(0.05, 1, len(rows))
        frames.append((rows.astype(np.float32), labels, scores))
        results[token] = [
            submitted(tables, token, *values)
            for values in zip(frames[-1][0].astype(float), labels, scores, strict=True)
        ]
    (tmp_path / "results.json").write_text(json.dumps({"meta": {}, "results": results}))
    official = DetectionEval(
        tables, config_factory("detection_cvpr_2019"), str(tmp_path / "results.json"), "val", str(tmp_path), False
    ).evaluate()[0]

    metric = NuScenesDetection(str(root), VERSION)
    for token, frame in zip(tokens, frames, strict=True):
        metric.update(encode_tokens([token]), *as_batch([frame]))
    values = {name: value.item() for name, value in metric.compute().items()}
    assert 0.01 < values["mAP"] < 0.9
    assert values["NDS"] == pytest.approx(official.nd_score, abs=1e-4)
    assert values["mAP"] == pytest.approx(official.mean_ap, abs=1e-4)
    for name, key in ERRORS.items():
        assert values[name] == pytest.approx(official.tp_errors[key], abs=1e-4), name
    for name, value in official.mean_dist_aps.items():
        assert values[f"AP/{name}"] == pytest.approx(value, abs=1e-4), name


def submitted(tables, token, row, label, score):
    """A box as users of nuScenes write it: with the devkit's Box, from the LiDAR to the global frame."""
    from nuscenes.utils.data_classes import Box

    record = tables.get("sample_data", tables.get("sample", token)["data"]["LIDAR_TOP"])
    box = Box(row[:3], row[[4, 3, 5]], Quaternion(axis=[0, 0, 1], radians=row[6]), velocity=(*row[7:9], 0.0))
    for table in ("calibrated_sensor", "ego_pose"):
        pose = tables.get(table, record[f"{table}_token"])
        box.rotate(Quaternion(pose["rotation"]))
        box.translate(np.array(pose["translation"]))
    name, moves = AGENT_CLASSES[label], np.hypot(*row[7:9]) > 0.2
    kind = "cycle" if name == "bicycle" else name if name in ("pedestrian", "traffic_cone") else "vehicle"
    attributes = {
        "vehicle": ("vehicle.parked", "vehicle.moving"),
        "cycle": ("cycle.without_rider", "cycle.with_rider"),
        "pedestrian": ("pedestrian.standing", "pedestrian.moving"),
        "traffic_cone": ("", ""),
    }
    return {
        "sample_token": token,
        "translation": box.center.tolist(),
        "size": box.wlh.tolist(),
        "rotation": box.orientation.elements.tolist(),
        "velocity": box.velocity[:2].tolist(),
        "detection_name": name,
        "detection_score": score,
        "attribute_name": attributes[kind][int(moves)],
    }


def test_the_truth_itself_is_perfect(world):
    root, tables = world
    metric = NuScenesDetection(str(root), VERSION)
    tokens = val_tokens(tables)
    frames = [sure_of_the_truth(tables, token) for token in tokens]
    metric.update(encode_tokens(tokens), *as_batch(frames))
    values = metric.compute()
    seen = {name: values[f"AP/{name}"].item() for name in ("car", "bicycle", "pedestrian", "traffic_cone")}
    assert seen == pytest.approx(dict.fromkeys(seen, 1.0))
    assert values["mAP"].item() == pytest.approx(4 / 10)
    assert values["mATE"].item() == pytest.approx(6 / 10, abs=1e-5)  # a class without objects counts as an error of 1


def test_frames_without_boxes_count(world):
    root, tables = world
    tokens = val_tokens(tables)
    full = sure_of_the_truth(tables, tokens[0])
    one, both = NuScenesDetection(str(root), VERSION), NuScenesDetection(str(root), VERSION)
    one.update(encode_tokens(tokens[:1]), *as_batch([full]))
    both.update(encode_tokens(tokens), *as_batch([full, ([], [], [])]))
    assert both.compute()["AP/car"] < one.compute()["AP/car"]
    nothing = NuScenesDetection(str(root), VERSION)
    nothing.update(encode_tokens(tokens), torch.zeros(2, 0, 9), torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0))
    assert nothing.compute()["mAP"] == 0


def test_refuses_what_cannot_be_measured():
    with pytest.raises(ValueError, match="no class tram"):
        NuScenesDetection("somewhere", VERSION, ["car", "tram"])
    metric = NuScenesDetection("somewhere", VERSION)
    boxes = torch.full((1, 1, 9), torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        metric.update(encode_tokens(["a"]), boxes, torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1))
    with pytest.raises(ValueError, match="at most 32"):
        encode_tokens(["a" * 33])
