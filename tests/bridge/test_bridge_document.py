"""The Python of docs/bridge.md does what is said there, on real keyframes and real plans."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from al_lightning.acquisition import ErrorWindows
from al_lightning.acquisition.functional import voxel_statistics
from al_lightning.acquisition.summary_files import open_summaries
from al_lightning.acquisition.trajectories import scene_summaries
from al_lightning.data import VADInfos
from al_lightning.data.pickles import read_pickle
from al_lightning.select.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
PLANNING = ROOT.parent / "shared" / "data" / "planning"
DOCUMENT = (ROOT / "docs" / "bridge.md").read_text(encoding="utf-8")
SEEDING, PREDICTING, PLAIN, SELECTING, PLANNED = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


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
