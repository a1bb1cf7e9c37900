"""The official CenterPoint-pillar on a real key frame of nuScenes, through mmdet3d's own pipelines; and checkpoints."""

import os
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from al_lightning.acquisition import DetectionSummarizer
from al_lightning.types import DataFileError, collate

pytest.importorskip("mmdet3d", reason="needs the extra mmdet3d: make test-mmdet3d")

from al_lightning.integrations.mmdet3d import MMDet3DDetector, MMDet3DFrames
from al_lightning.integrations.mmdet3d.points import points_in_boxes

CONFIG = "mmdet3d::centerpoint/centerpoint_pillar02_second_secfpn_8xb4-cyclic-20e_nus-3d.py"
FOLDER = Path("../shared/data/nuscenes_keyframes/scene0061_mmdet3d_demo")
FILE = "n015-2018-07-24-11-22-45+0800.pkl"
HERE = {"pts": "", "img": "", "sweeps": "", "CAM_FRONT": ""}


@pytest.fixture(scope="module")
def keyframe():
    if not FOLDER.is_dir():
        pytest.skip(f"no {FOLDER}")
    options = {
        "train_dataloader": {"dataset": {"dataset": {"data_prefix": HERE}}},
        "val_dataloader": {"dataset": {"data_prefix": HERE, "pipeline": {"1": {"sweeps_num": 0}}}},
    }
    return MMDet3DFrames(CONFIG, str(FOLDER), infos={"train": FILE, "val": FILE}, options=options)


@pytest.fixture(scope="module")
def centerpoint():
    torch.manual_seed(0)
    return MMDet3DDetector(CONFIG).eval()


def test_the_network_is_the_official_one(centerpoint):
    assert sum(parameter.numel() for parameter in centerpoint.parameters()) == 5_982_854
    assert centerpoint.class_names[0] == "car"
    head = centerpoint.detector.pts_bbox_head.task_heads[0].heatmap[-1]
    torch.testing.assert_close(head.bias, torch.full_like(head.bias, -2.19))  # initialized as configured


def test_a_new_network_expects_an_object_hardly_anywhere(centerpoint):
    features = torch.randn(1, 64, 8, 8).relu()
    for head in centerpoint.detector.pts_bbox_head.task_heads:
        probability = head(features)["heatmap"].sigmoid()
        assert probability.min() > 0.02
        assert probability.max() < 0.5


def test_the_real_boxes_and_points(keyframe):
    sample = keyframe.sample(0)
    points, truth = sample.inputs.inputs[0]["points"], sample.annotations.samples[0].gt_instances_3d
    assert points.shape == (34688, 5)
    raw = pickle.loads((FOLDER / FILE).read_bytes())["data_list"][0]["instances"]
    assert len(raw) == 69
    seen = [box for box in raw if box["num_lidar_pts"] and box["bbox_label_3d"] >= 0]
    order = ("car", "truck", "trailer", "bus", "construction_vehicle", "bicycle", "motorcycle", "pedestrian",
             "traffic_cone", "barrier")  # fmt: skip
    expected = Counter(order[box["bbox_label_3d"]] for box in seen)
    assert Counter(keyframe.class_names[label] for label in truth.labels_3d) == expected
    counts = points_in_boxes(points[:, :3], truth.bboxes_3d.enlarged_box(0.02).tensor[:, :7]).sum(0).numpy()
    told = np.array([box["num_lidar_pts"] for box in seen])
    assert np.corrcoef(counts, told)[0, 1] > 0.99  # annotators counted the points in their boxes


def test_pillars_of_the_real_points(keyframe, centerpoint):
    points = keyframe.sample(0).inputs.inputs[0]["points"]
    layer = centerpoint.detector.data_preprocessor.voxel_layer.eval()
    voxels, cells, counts = layer(points)
    places = np.floor((points[:, :3].numpy() - np.float32([-51.2, -51.2, -5.0])) / np.float32([0.2, 0.2, 8.0]))
    inside = ((places >= 0) & (places < [512, 512, 1])).all(1)
    held = Counter(map(tuple, places[inside].astype(int).tolist()))
    assert len(cells) == len(held)
    assert {tuple(cell[::-1]): count for cell, count in zip(cells.tolist(), counts.tolist(), strict=True)} == {
        cell: min(count, 20) for cell, count in held.items()
    }
    assert voxels.shape == (len(held), 20, 5)


def test_predicts_and_learns(keyframe, centerpoint):
    batch = collate([keyframe.sample(0)])
    with torch.no_grad():
        found = centerpoint(batch.inputs)
        features = centerpoint.detector.extract_feat(
            centerpoint.detector.data_preprocessor(
                {"inputs": {"points": [batch.inputs.inputs[0]["points"]]}, "data_samples": batch.annotations.samples}
            )["inputs"],
            [{}],
        )[1]
    assert [tuple(level.shape) for level in features] == [(1, 384, 128, 128)]
    assert found.boxes.shape == (1, found.labels.shape[1], 9)
    assert torch.isfinite(found.boxes).all()
    assert float(found.boxes[..., :2].abs().max()) <= 61.2
    assert float(found.scores.min()) >= 0.1
    fields = DetectionSummarizer(len(centerpoint.class_names))(batch, found)
    assert fields["count"].item() == found.labels.shape[1]
    assert fields["class_histogram"].sum().item() == pytest.approx(1)

    terms = centerpoint.losses(batch.inputs, batch.annotations)
    assert sorted(terms) == sorted(f"task{task}.loss_{kind}" for task in range(6) for kind in ("heatmap", "bbox"))
    assert all(torch.isfinite(value) for value in terms.values())


# --- checkpoints ----------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path, centerpoint):
    """As mmengine writes them: weights, curves, names of classes."""
    from mmengine.logging import MessageHub

    hub = MessageHub("run")
    hub.update_scalars({"train/loss": 1.5, "train/lr": 0.1})
    hub.update_info("seen", np.float64(3.0))
    weights = {
        key: value + 1 if value.is_floating_point() else value for key, value in centerpoint.state_dict().items()
    }
    content = {
        "meta": {"epoch": 20, "dataset_meta": {"classes": ["car"], "palette": [(1, 2, 3)]}},
        "state_dict": {key.removeprefix("detector."): value for key, value in weights.items()},
        "message_hub": hub.state_dict(),
    }
    torch.save(content, tmp_path / "centerpoint.pth")
    return tmp_path / "centerpoint.pth"


def test_loads_what_mmengine_writes(checkpoint, centerpoint):
    loaded = MMDet3DDetector(CONFIG, str(checkpoint))
    for name, value in loaded.named_parameters():
        torch.testing.assert_close(value, centerpoint.get_parameter(name) + 1)


def test_weights_that_do_not_fit(checkpoint):
    with pytest.raises(ValueError, match="does not fit the model"):
        MMDet3DDetector(CONFIG, str(checkpoint), {"model": {"pts_bbox_head": {"share_conv_channel": 32}}})


class RunsCode:
    def __reduce__(self):
        return os.system, ("true",)


class Reaches:
    def __reduce__(self):
        return getattr, (np.ndarray, "tofile")


@pytest.mark.parametrize("content", [RunsCode(), Reaches(), np.array([print, 1], dtype=object)])
def test_refuses_files_that_run_code(tmp_path, content):
    torch.save({"state_dict": {"w": torch.zeros(1)}, "meta": content}, tmp_path / "bad.pth")
    with pytest.raises(DataFileError, match="cannot read checkpoint"):
        MMDet3DDetector(CONFIG, str(tmp_path / "bad.pth"))
