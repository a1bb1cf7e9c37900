"""A detector in the loop: training, nuScenes scores, summaries and acquisition, by the command line."""

import csv
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from al_lightning.cli import main

pytest.importorskip("mmdet3d", reason="needs the extra mmdet3d: make test-mmdet3d")

CONFIGS = Path(__file__).parents[3] / "configs"
SMALL = {
    "prepare": "{_target_: fake_boxes.prepare, root: '${data.root}'}",
    "loop.cycles": "2",
    "loop.seed_size": "2",
    "loop.budget": "2",
    "loader.samples_per_epoch": "4",
    "trainer.max_epochs": "1",
    "trainer.progress_bar": "false",
    "trainer.accelerator": "cpu",
    "tracking.mode": "disabled",
    "data.options.model.data_preprocessor.voxel_layer.voxel_size": "[1.6, 1.6, 8]",
    "data.options.model.pts_voxel_encoder.voxel_size": "[1.6, 1.6, 8]",
    "data.options.model.pts_middle_encoder.output_shape": "[64, 64]",
    "data.options.model.pts_backbone.layer_nums": "[1, 1, 1]",
    "data.options.model.pts_bbox_head.bbox_coder.voxel_size": "[1.6, 1.6]",
    "data.options.model.train_cfg.pts.voxel_size": "[1.6, 1.6, 8]",
    "data.options.model.train_cfg.pts.grid_size": "[64, 64, 1]",
    "data.options.model.test_cfg.pts.voxel_size": "[1.6, 1.6]",
}


def run(folder, name, *words):
    settings = SMALL | {"data.root": str(folder / "world"), "run_dir": str(folder / name)}
    if (folder / "world").is_dir():  # written by the run before
        settings["prepare"] = "{_target_: fake_boxes.keep, root: '${data.root}'}"
    arguments = [f"{key}={value}" for key, value in settings.items()]
    assert main(["experiment=detection_sim", *arguments, *words], CONFIGS) == 0
    return folder / name


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_class_distribution_guided_acquisition(tmp_path):
    runs = [run(tmp_path, name, "acquisition=cas") for name in ("one", "again")]
    rows = table(runs[0] / "metrics.csv")
    assert [row["labeled"] for row in rows] == ["2", "4"]
    assert all(0 <= float(row["NDS"]) <= 1 and float(row["mAP"]) >= 0 for row in rows)
    assert {"AP/car", "mATE", "night/NDS"} <= rows[0].keys()
    summaries = np.load(runs[0] / "cycles/0/summaries.npz")
    assert summaries["class_histogram"].shape == (6, 11)
    np.testing.assert_allclose(summaries["class_histogram"].sum(1), 1, atol=1e-6)
    assert {"count", "entropy", "frequency_weighted_entropy"} <= set(summaries.files)
    assert json.loads((runs[0] / "cycles/0/metrics.json").read_text())["labeled"] == 2
    for name in ("metrics.csv", "pool.csv"):
        assert (runs[0] / name).read_bytes() == (runs[1] / name).read_bytes()


@pytest.mark.parametrize("acquisition", ["entropy", "random"])
def test_other_acquisitions(tmp_path, acquisition):
    folder = run(tmp_path, acquisition, f"acquisition={acquisition}", "loop.weights=previous")
    acquired = [row["acquired_at"] for row in table(folder / "pool.csv")]
    assert sorted(acquired) == ["-1", "-1", "0", "0", "1", "1"]


def test_a_run_goes_on_with_external_labels(tmp_path):
    """Without labels of the acquired frames in the info file it asks for them; with them it goes on."""
    folder = run(tmp_path, "first", "acquisition=random")
    path = tmp_path / "world" / "nuscenes_infos_train.pkl"
    whole = path.read_bytes()
    content = pickle.loads(whole)
    acquired = {row["unit"]: row["acquired_at"] for row in table(folder / "pool.csv")}
    for frame in content["data_list"]:
        if acquired[frame["token"]] != "0":
            del frame["instances"]
    path.write_bytes(pickle.dumps(content))
    second = run(tmp_path, "second", "acquisition=random", "oracle=external")
    assert len(table(second / "metrics.csv")) == 1
    path.write_bytes(whole)
    run(tmp_path, "second", "acquisition=random", "oracle=external")
    assert (second / "pool.csv").read_bytes() == (folder / "pool.csv").read_bytes()
