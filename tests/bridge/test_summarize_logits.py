"""Dumped logits to summaries: by hand, in any layout, after a stop, and what is refused."""

import os
import re

import numpy as np
import pytest
import torch

from al_lightning import summarize as module
from al_lightning.acquisition import VoxelSummarizer
from al_lightning.select.__main__ import main as select
from al_lightning.summarize import main, summarize
from al_lightning.types import Batch, DataFileError, OccupancyPrediction, VoxelGrid

SHAPE, CLASSES = (5, 4, 3), 6


@pytest.fixture
def dump(tmp_path):
    """Writes the logits of samples, one file each."""

    def dump(count=4, dtype=np.float16, masked=(), **more):
        g = np.random.default_rng(0)
        samples = {}
        for number in range(count):
            arrays = {"logits": (3 * g.standard_normal((*SHAPE, CLASSES))).astype(dtype), **more}
            if number in masked:
                arrays["mask"] = g.random(SHAPE) < 0.5
            path = tmp_path / "logits" / f"scene-{number % 2}" / f"token{number}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, **arrays)
            samples[path.stem] = arrays
        return samples

    return dump


def by_hand(arrays):
    """Eq. 1, 4, 5 and 7 of the occupancy paper in float64."""
    logits = arrays["logits"].astype(np.float64)
    kept = logits[np.ones(SHAPE, bool) if "mask" not in arrays else arrays["mask"].astype(bool)]
    p = np.exp(kept) / np.exp(kept).sum(1, keepdims=True)
    histogram = np.bincount(kept.argmax(1), minlength=CLASSES) / len(kept)
    surprisal = -p * np.log(p)
    weights = 1 / (histogram + 1e-6)
    return histogram, surprisal.sum(1).mean(), (surprisal * weights / weights.sum()).sum(1).mean()


def check(path, samples):
    """A file of summaries against the samples it was made of, in the order of their paths."""
    with np.load(path, allow_pickle=False) as file:
        found = dict(file)
    assert found["token"].tolist() == sorted(samples, key=lambda token: (int(token[5:]) % 2, token))
    for row, token in enumerate(found["token"]):
        histogram, entropy, weighted = by_hand(samples[token])
        np.testing.assert_allclose(found["class_histogram"][row], histogram, atol=1e-7)
        np.testing.assert_allclose(found["entropy"][row], entropy, rtol=1e-5)
        np.testing.assert_allclose(found["frequency_weighted_entropy"][row], weighted, rtol=1e-5)
    return found


def test_the_numbers_are_those_of_the_paper_and_of_the_loop(dump, tmp_path, capsys):
    samples = dump(masked=(1, 2))
    out = tmp_path / "pool.npz"
    assert main([str(tmp_path / "logits"), "--out", str(out), "--class-names", "a,b,c,d,e,free"]) == 0
    found = check(out, samples)
    assert found["class_names"].tolist() == ["a", "b", "c", "d", "e", "free"]
    said = capsys.readouterr().out
    share = found["class_histogram"].mean(0)
    assert "4 samples" in said
    assert "6 classes in the order of the logits' last axis, taken to hold the free class" in said
    assert f"most frequent: {found['class_names'][share.argmax()]}, {share.max():.1%}" in said
    logits = torch.from_numpy(samples["token0"]["logits"]).float().movedim(-1, 0)[None]
    grid = VoxelGrid((0, 0, 0), (5, 4, 3), SHAPE)
    kept = VoxelSummarizer(grid, "all")(Batch(torch.zeros(1), None), OccupancyPrediction(logits))
    for name, values in kept.items():
        assert found[name][0] == values[0].numpy() if values.dim() == 1 else (found[name][0] == values[0].numpy()).all()


def test_classes_may_come_first_masks_as_numbers_and_tokens_in_the_files(tmp_path):
    logits = np.random.default_rng(1).standard_normal((*SHAPE, CLASSES)).astype(np.float32)
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:3] = 1
    (tmp_path / "logits").mkdir()
    arrays = {"logits": logits, "mask": mask, "embedding": np.arange(3.0)}
    np.savez(tmp_path / "logits/0.npz", **{**arrays, "logits": np.moveaxis(logits, -1, 0), "token": "token0"})
    out = tmp_path / "pool.npz"
    assert main([str(tmp_path / "logits"), "--out", str(out), "--classes-first"]) == 0
    found = check(out, {"token0": arrays})
    assert found["embedding"].tolist() == [[0, 1, 2]]
    words = ["--summaries", str(out), "--labeled", str(out), "--config", "configs/acquisition/random.yaml"]
    assert select([*words[:2], *words[4:], "--budget", "1", "--out", str(tmp_path / "picks.txt")]) == 0


def test_a_run_that_was_stopped_goes_on_and_sees_what_changed(dump, tmp_path, monkeypatch):
    samples = dump(5)
    folder, out = tmp_path / "logits", tmp_path / "logits" / "pool.npz"
    monkeypatch.setattr(module, "BLOCK", 2)
    read = []

    def note(path, *, classes_first):
        read.append(path.stem)
        if path.stem == broken:
            raise DataFileError("stopped")
        return original(path, classes_first=classes_first)

    original, broken = module.summarize_sample, "token3"
    monkeypatch.setattr(module, "summarize_sample", note)
    with pytest.raises(DataFileError, match="stopped"):
        summarize(folder, out)  # token0, token2 | token4, token1 | token3
    assert not out.exists()
    changed = folder / "scene-0" / "token2.npz"
    samples["token2"]["logits"] = samples["token2"]["logits"][::-1].copy()
    np.savez(changed, **samples["token2"])
    os.utime(changed, ns=(1, 1))
    read.clear()
    broken = None
    summarize(folder, out)
    assert sorted(read) == ["token2", "token3"]
    check(out, samples)
    assert sorted(path.name for path in folder.iterdir()) == ["pool.npz", "scene-0", "scene-1"]
    read.clear()
    summarize(folder, out)
    assert len(read) == 5


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"scores": np.zeros(3)}, "token9.npz: it has no 'logits'"),
        ({"logits": np.zeros((1, 2, 3))}, "logits must be 4 axes of floats, got float64"),
        ({"logits": np.zeros((1, 2, 3, 4), int)}, "logits must be 4 axes of floats, got int64"),
        ({"logits": np.full((1, 2, 3, 4), np.nan)}, "token9.npz: logits .* are not finite"),
        ({"logits": np.zeros((*SHAPE, CLASSES)), "mask": np.zeros(SHAPE)}, "mask holds no voxel"),
        ({"logits": np.zeros((*SHAPE, CLASSES)), "mask": np.full(SHAPE, 2)}, "mask must hold 0 and 1 only"),
        ({"logits": np.zeros((*SHAPE, CLASSES)), "mask": np.ones((1, 2, 3))}, "mask must be bool of shape"),
        ({"logits": np.zeros((*SHAPE, CLASSES)), "embedding": np.zeros((1, 2))}, r"embedding must be \(D,\)"),
        ({"logits": np.zeros((*SHAPE, 5))}, r"token9.npz gives .*\(5,\).* but .*token0.npz gives .*\(6,\)"),
        ({"logits": np.zeros((*SHAPE, CLASSES)), "embedding": np.zeros(2)}, "token9.npz gives .*embedding.* but"),
        ({"logits": np.zeros((*SHAPE, CLASSES)), "token": "token0"}, "names 1 tokens twice; the first: token0"),
        (b"PK damaged", "cannot summarize .*token9.npz"),
        (b"text", "token9.npz must be an .npz file of named arrays, as np.savez writes it; it begins with b'text'"),
    ],
)
def test_files_that_do_not_fit_are_named(dump, tmp_path, capsys, arrays, message):
    dump(1)
    path = tmp_path / "logits" / "token9.npz"
    path.write_bytes(arrays) if isinstance(arrays, bytes) else np.savez(path, **arrays)
    assert main([str(tmp_path / "logits"), "--out", str(tmp_path / "pool.npz")]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "pool.npz").exists()


def test_wrong_use_is_refused(dump, tmp_path, capsys):
    dump(1)
    words = [str(tmp_path / "logits"), "--out", str(tmp_path / "pool.npz")]
    assert main([*words, "--class-names", "a,b"]) == 1
    assert "2 class names for 6 classes" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere"), *words[1:]]) == 1
    assert "there is no .npz file in" in capsys.readouterr().err
    (tmp_path / "old.npz").write_bytes(b"old")
    for out, message in (("old.npz", "exists; remove it"), ("no/pool.npz", "there is no folder")):
        assert main([words[0], "--out", str(tmp_path / out)]) == 1
        assert message in capsys.readouterr().err
    assert (tmp_path / "old.npz").read_bytes() == b"old"
    with pytest.raises(SystemExit) as stop:
        main([words[0], "--out", "pool.csv"])
    assert stop.value.code == 2
