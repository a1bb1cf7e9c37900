"""Other detectors of mmdet3d as networks: anchors, their suppression, losses and boxes."""

import pickle

import numpy as np
import pytest
import torch
from fake_boxes import VERSION, prepare

from al_lightning.metrics import NuScenesDetection
from al_lightning.tasks import DetectionTask
from al_lightning.types import collate

pytest.importorskip("mmdet3d", reason="needs the extra mmdet3d: make test-mmdet3d")

from al_lightning.integrations.mmdet3d import MMDet3DDetector, MMDet3DFrames

POINTPILLARS = "mmdet3d::pointpillars/pointpillars_hv_secfpn_sbn-all_8xb4-2x_nus-3d.py"
INFOS = {"train": "nuscenes_infos_train.pkl", "val": "nuscenes_infos_val.pkl"}
SMALL = {
    "model": {
        "data_preprocessor": {"voxel_layer": {"voxel_size": [1.25, 1.25, 8], "max_num_points": 16}},
        "pts_voxel_encoder": {"voxel_size": [1.25, 1.25, 8], "feat_channels": [16, 16]},
        "pts_middle_encoder": {"in_channels": 16, "output_shape": [80, 80]},
        "pts_backbone": {"in_channels": 16, "layer_nums": [1, 1, 1], "layer_strides": [1, 2, 2]},
        "pts_neck": {"upsample_strides": [1, 2, 4], "out_channels": [16, 16, 16]},
        "pts_bbox_head": {"in_channels": 48, "feat_channels": 48},
        "test_cfg": {"pts": {"score_thr": 0.0, "nms_pre": 50, "max_num": 20}},
    },
    "train_dataloader": {"dataset": {"pipeline": {"1": {"sweeps_num": 0}}}},
    "val_dataloader": {"dataset": {"pipeline": {"1": {"sweeps_num": 0}}}},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boxes")
    prepare(str(folder))
    return folder


def test_pointpillars(root):
    frames = MMDet3DFrames(POINTPILLARS, str(root), "val", INFOS, SMALL)
    torch.manual_seed(0)
    network = MMDet3DDetector(POINTPILLARS, options=SMALL)
    assert network.class_names[2] == "trailer"  # another order than CenterPoint's
    metric = NuScenesDetection(str(root), VERSION, network.class_names)
    task = DetectionTask(network, metric)

    batch = collate([frames.sample(row) for row in range(2)])
    terms = network.losses(batch.inputs, batch.annotations)
    assert set(terms) == {"loss_cls", "loss_bbox", "loss_dir"}
    torch.stack(list(terms.values())).sum().backward()
    assert all(torch.isfinite(value) for value in terms.values())
    assert network.detector.pts_voxel_encoder.vfe_layers[0].linear.weight.grad.abs().sum() > 0

    found = task.eval().validation_step(batch, 0)
    assert found.boxes.shape[:2] == (2, 20)
    assert 0 <= metric.compute()["NDS"] <= 1


def test_a_frame_without_objects_trains(root, tmp_path):
    path = root / INFOS["train"]
    content = pickle.loads(path.read_bytes())
    content["data_list"][0]["instances"] = []
    (tmp_path / "infos.pkl").write_bytes(pickle.dumps(content))
    frames = MMDet3DFrames(POINTPILLARS, str(root), "train", {"train": str(tmp_path / "infos.pkl")}, SMALL)
    assert frames.label_problems(0) == []
    batch = collate([frames.sample(0, generator=np.random.default_rng(0))])
    assert len(batch.annotations.samples[0].gt_instances_3d.labels_3d) == 0
    terms = MMDet3DDetector(POINTPILLARS, options=SMALL).losses(batch.inputs, batch.annotations)
    assert all(torch.isfinite(value) for value in terms.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modle": {}}, "it has no modle"),
        ({"val_dataloader": {"dataset": {"pipeline": {"9": {"sweeps_num": 0}}}}}, "change it by the options"),
        ({"model": {"pts_neck": {"in_channel": [1]}}}, "the model of mmdet3d::pointpillars.* cannot be built"),
    ],
)
def test_refuses_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        MMDet3DDetector(POINTPILLARS, options=options)


def test_the_metric_has_to_know_the_classes(root):
    network = MMDet3DDetector(POINTPILLARS, options=SMALL)
    with pytest.raises(ValueError, match="must name the network's classes car, truck, trailer"):
        DetectionTask(network, NuScenesDetection(str(root), VERSION))
