"""The Python of docs/bridge.md does what is said there, on real keyframes and real plans."""

import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from al_lightning.acquisition import ErrorWindows, VoxelSummarizer
from al_lightning.acquisition.functional import voxel_statistics
from al_lightning.acquisition.summary_files import open_summaries
from al_lightning.acquisition.trajectories import scene_summaries
from al_lightning.data import VADInfos
from al_lightning.data.pickles import read_pickle
from al_lightning.select.__main__ import main
from al_lightning.types import Batch, CameraInputs, OccupancyPrediction

ROOT = Path(__file__).resolve().parents[2]
PLANNING = ROOT.parent / "shared" / "data" / "planning"
DOCUMENT = (ROOT / "docs" / "bridge.md").read_text(encoding="utf-8")
SEEDING, PREDICTING, SEEING, PLAIN, SELECTING, PASSES, PLANNED, DRAWING = re.findall(
    r"```python\n(.*?)```", DOCUMENT, re.DOTALL
)


def test_the_loop_that_predicts_keeps_what_select_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    g = torch.Generator().manual_seed(0)
    batches = [
        {"token": [f"t{k}{row}" for row in range(3)], "mask_camera": torch.rand(3, 4, 4, 2, generator=g) < 0.7}
        for k in range(4)
    ]
    logits = {batch["token"][0]: torch.randn(3, 4, 4, 2, 5, generator=g) for batch in batches}
    exec(PREDICTING, {"loader": batches, "network": lambda batch: logits[batch["token"][0]]})
    (tmp_path / "seed.txt").write_text("t00\nt31\n")
    words = ["--summaries", "all_0.npz", "--labeled", "seed.txt", "--budget", "3", "--out", "picks.txt"]
    assert main([*words, "--config", str(ROOT / "configs/acquisition/cas.yaml")]) == 0
    assert len(set((tmp_path / "picks.txt").read_text().split()) - {"t00", "t31"}) == 3
    kept = open_summaries(Path("all_0.npz"))
    arrays = dict(np.load("all_0.npz"))
    for name, rows in (("labeled.npz", slice(2)), ("pool.npz", slice(2, None))):
        np.savez(name, **{field: values[rows] for field, values in arrays.items()})
    Path("configs").symlink_to(ROOT / "configs")
    found: dict[str, object] = {}
    exec(SELECTING.replace("budget=2000", "budget=4"), found)
    words = ["--summaries", "pool.npz", "--labeled", "labeled.npz", "--budget", "4", "--out", "again.txt"]
    assert main([*words, "--config", "configs/acquisition/cas.yaml", "acquisition.weights.intra=0"]) == 0
    assert found["picks"] == Path("again.txt").read_text().split()
    expected = voxel_statistics(logits["t20"].movedim(-1, 1), batches[2]["mask_camera"])
    assert torch.equal(kept["frequency_weighted_entropy"][6:9], expected.frequency_weighted_entropy)
    assert torch.equal(kept["class_histogram"][6:9], expected.histogram)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_what_is_to_be_pasted_finds_the_same_numbers(dtype):
    g = torch.Generator().manual_seed(0)
    logits = (6 * torch.randn(9, 8, 7, 6, generator=g)).to(dtype)
    logits[..., 4] -= 80  # a class that is never predicted
    visible = torch.rand(9, 8, 7, generator=g) < 0.6
    found: dict[str, Callable[..., tuple[torch.Tensor, ...]]] = {}
    exec(PLAIN, found)
    expected = voxel_statistics(logits.float().movedim(-1, 0)[None], visible[None])
    for values, wanted in zip(found["voxel_statistics"](logits, visible), expected, strict=True):
        torch.testing.assert_close(values.float(), wanted[0], rtol=1e-5, atol=1e-8)


def test_what_is_to_be_pasted_takes_all_voxels_and_refuses_none():
    found: dict[str, Callable[..., tuple[torch.Tensor, ...]]] = {}
    exec(PLAIN, found)
    logits = torch.randn(4, 3, 2, 5, generator=torch.Generator().manual_seed(0))
    expected = voxel_statistics(logits.movedim(-1, 0)[None])
    for values, wanted in zip(found["voxel_statistics"](logits), expected, strict=True):
        torch.testing.assert_close(values.float(), wanted[0], rtol=1e-5, atol=1e-8)
    with pytest.raises(ValueError, match="no voxel is visible"):
        found["voxel_statistics"](logits, torch.zeros(4, 3, 2, dtype=torch.bool))


def test_voxels_that_the_cameras_see_are_those_of_the_loop():
    found: dict[str, Any] = {}
    exec(SEEING, found)
    batch, logits = cameras(), torch.randn(2, 200, 200, 16, 18, generator=torch.Generator().manual_seed(0))
    logits[..., 17] += 6
    visible = found["seen_by_cameras"](logits, batch)
    names = ("images", "camera2ego", "intrinsics", "post_rotation", "post_translation")
    inputs = CameraInputs(*(batch[name] for name in names), torch.eye(4).repeat(2, 1, 1))
    summarizer = VoxelSummarizer(found["GRID"], "frustum", free_class=17)
    prediction = OccupancyPrediction(logits.movedim(-1, 1))
    assert torch.equal(visible, summarizer._mask(Batch(torch.arange(2), inputs), prediction))
    assert 0.1 < visible.float().mean() < 0.9


def cameras() -> dict[str, torch.Tensor]:
    """One camera that looks ahead and one that looks back, 1.5 m above the ground, for two samples."""
    ahead = torch.tensor([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])
    back = torch.diag(torch.tensor([-1.0, -1, 1, 1])) @ ahead
    return {
        "images": torch.zeros(2, 2, 3, 32, 64),
        "camera2ego": torch.stack((ahead, back)).repeat(2, 1, 1, 1),
        "intrinsics": torch.tensor([[40.0, 0, 64], [0, 40, 32], [0, 0, 1]]).repeat(2, 2, 1, 1),
        "post_rotation": torch.diag(torch.tensor([0.5, 0.5, 1])).repeat(2, 2, 1, 1),
        "post_translation": torch.zeros(2, 2, 3),
    }


class Remembering(torch.nn.Module):
    """Plans as VAD's detector does: offsets under three commands, a memory, and inputs that it changes."""

    def __init__(self):
        super().__init__()
        self.dropout = torch.nn.Dropout(0.5)
        self.prev_frame_info = {"prev_bev": torch.ones(6, 2)}

    def forward(self, return_loss, rescale, img, command):
        assert not return_loss
        assert rescale
        assert not self.training
        bev = self.prev_frame_info["prev_bev"]
        bev += img  # in place, as VAD turns what it remembers
        img -= 1
        self.prev_frame_info["prev_bev"] = bev + 1
        steps = self.dropout(bev.clone())
        return [{"pts_bbox": {"ego_fut_preds": torch.stack((steps, 10 * steps, -steps)), "ego_fut_cmd": command}}]


class Wrapped(torch.nn.Module):
    """As in mmcv's and torch's wrappers for several devices."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, **data):
        return self.module(**data)


def test_stochastic_passes_of_a_planner_share_the_memory_of_the_one_without_dropout():
    found: dict[str, Any] = {}
    exec(PASSES, found)
    torch.manual_seed(0)
    model = Wrapped(Remembering())
    for number in range(3):  # ones, and 1 more each frame from the image and from the memory
        data = {"img": torch.ones(6, 2), "command": torch.tensor([[[[0.0, 1, 0]]]])}
        plans = found["keyframe_plans"](model, data, passes=4)
        assert plans.shape == (5, 6, 2)
        step = 10 * (2 + 2 * number)
        torch.testing.assert_close(plans[0], step * torch.arange(1.0, 7)[:, None].expand(6, 2))
        steps = plans[1:].diff(dim=1, prepend=torch.zeros(4, 1, 2))
        assert set(steps.unique().tolist()) == {0.0, 2.0 * step}
        assert not model.module.dropout.training


def test_all_keyframes_stay_where_labeled_ones_are_drawn(tmp_path, monkeypatch):
    """In a data set with the methods and the order of calls of mmdet3d before 1.1."""

    class NuScenesDataset:
        def __init__(self, ann_file):
            self.data_infos = self.load_annotations(ann_file)
            self.flag = np.zeros(len(self), dtype=np.uint8)

        def load_annotations(self, ann_file):
            return [{"token": token} for token in ann_file]

        def __len__(self):
            return len(self.data_infos)

        def __getitem__(self, index):
            return self.prepare_train_data(index)

        def prepare_train_data(self, index):
            return self.data_infos[index - 1]["token"], self.data_infos[index]["token"]

        def get_cat_ids(self, index):
            return [self.data_infos[index]["token"]]

    registry = SimpleNamespace(register_module=lambda: lambda kind: kind)
    package = {"DATASETS": registry, "NuScenesDataset": NuScenesDataset}
    monkeypatch.setitem(sys.modules, "mmdet3d", ModuleType("mmdet3d"))
    monkeypatch.setitem(sys.modules, "mmdet3d.datasets", SimpleNamespace(**package))
    (tmp_path / "labeled.txt").write_text("d\nb\n")
    found: dict[str, Any] = {}
    exec(DRAWING, found)
    dataset = found["LabeledKeyframes"](str(tmp_path / "labeled.txt"), ann_file="abcde")
    assert [dataset[position] for position in range(len(dataset))] == [("a", "b"), ("c", "d")]
    assert len(dataset.flag) == 2
    assert dataset.get_cat_ids(1) == ["d"]


def test_a_seed_list_is_drawn_from_an_info_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    infos = [{"token": f"t{row}", "sample_idx": row} for row in range(50)]
    Path("nuscenes_infos_train.pkl").write_bytes(pickle.dumps({"data_list": infos, "metainfo": {}}, 2))
    exec(SEEDING, {})
    words = ["--summaries", "tokens.npz", "--budget", "9", "--out", "seed.txt"]
    assert main([*words, "--config", str(ROOT / "configs/acquisition/random.yaml")]) == 0
    assert len(set(Path("seed.txt").read_text().split()) & {f"t{row}" for row in range(50)}) == 9


@pytest.fixture
def plans(tmp_path, monkeypatch):
    """Real plans, and real scenes cut into four pieces each that are called scenes, one scene of them labeled."""
    if not PLANNING.is_dir():
        pytest.skip(f"needs the real keyframes and plans in {PLANNING}")
    monkeypatch.chdir(tmp_path)
    for scene, name in (("scene-0103", "labeled"), ("scene-0916", "unlabeled")):
        content = read_pickle(PLANNING / f"vad_infos_{scene}.pkl", "keyframes")
        pieces = [{**info, "scene_token": f"{scene}-{min(row // 10, 3)}"} for row, info in enumerate(content["infos"])]
        Path(f"vad_infos_{name}.pkl").write_bytes(pickle.dumps({**content, "infos": pieces}))
    with np.load(PLANNING / "planner_predictions_val.npz") as file:
        found = dict(zip(file["token"].tolist(), file["trajectory"], strict=True))
    g = np.random.default_rng(0)
    return {token: plan + g.normal(0, [[[0]], [[0.1]], [[0.1]], [[0.1]]], (4, 6, 2)) for token, plan in found.items()}


def test_plans_become_files_from_which_scenes_are_selected(plans):
    exec(PLANNED, {"plans": plans})
    words = ["--summaries", "pool.npz", "--labeled", "labeled.npz", "--budget", "2", "--out", "picks.txt"]
    words += ["acquisition.criteria.rarity.neighbors=2", "acquisition.representation.epochs=20"]
    assert main([*words, "--config", str(ROOT / "configs/acquisition/value.yaml")]) == 0
    picks = Path("picks.txt").read_text().split()
    assert len(set(picks)) == 2
    assert set(picks) <= {f"scene-0916-{number}" for number in range(4)}


def test_how_close_plans_come_is_what_the_loop_finds(plans):
    exec(PLANNED, {"plans": plans})
    windows, drives = ErrorWindows(boundaries=False), VADInfos(*2 * ["vad_infos_labeled.pkl"])
    scenes = scene_summaries(open_summaries(Path("labeled.npz")), windows, labeled=True)
    assert list(scenes.tokens) == list(drives.units)
    expected = windows.with_labels(scenes.summary(), lambda row: drives.sample(row).annotations)
    torch.testing.assert_close(scenes["safety"], expected["safety"], rtol=1e-5, atol=0)
    assert len(scenes["safety"].unique()) == scenes["safety"].numel()
