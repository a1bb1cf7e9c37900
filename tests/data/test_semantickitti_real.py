"""The dataset on real frames, against an independent reading of the files."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from al_lightning.data import SemanticKITTI
from al_lightning.data.semantickitti import SPLITS
from al_lightning.data.semantickitti_files import NATIVE_GRID, RAW_IDS
from al_lightning.data.voxels import IGNORE
from al_lightning.types import VoxelGrid

ROOT = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "semantickitti_mini"
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason=f"real frames not found in {ROOT}")
COARSE = VoxelGrid(NATIVE_GRID.lower, NATIVE_GRID.upper, (64, 64, 8))


@pytest.fixture(scope="module")
def official():
    return yaml.safe_load((ROOT / "semantic-kitti.yaml").read_text())


def independent_labels(unit, learning_map):
    """(256, 256, 32) int with 255 for what does not count, by plain numpy."""
    sequence, frame = unit.split("/")
    stem = ROOT / "sequences" / sequence / "voxels" / frame
    raw = np.fromfile(f"{stem}.label", dtype=np.uint16).astype(int)
    labels = np.full(raw.shape, -1)
    for raw_id, class_id in learning_map.items():
        labels[raw == raw_id] = IGNORE if class_id == 0 and raw_id != 0 else class_id
    labels[np.unpackbits(np.fromfile(f"{stem}.invalid", dtype=np.uint8)) == 1] = IGNORE
    return labels.reshape(256, 256, 32)


def test_the_label_map_is_the_official_one(official):
    ours = {raw_id: class_id for class_id, raw_ids in RAW_IDS.items() for raw_id in raw_ids}
    theirs = official["learning_map"]
    assert ours == {raw: IGNORE if c == 0 and raw != 0 else c for raw, c in theirs.items()}
    assert {class_id: raw_ids[0] for class_id, raw_ids in RAW_IDS.items() if class_id != IGNORE} == official[
        "learning_map_inv"
    ]
    names = [official["labels"][official["learning_map_inv"][c]] for c in range(1, 20)]
    assert list(SemanticKITTI.CLASS_NAMES[1:]) == names
    splits = {
        name: tuple(f"{n:02d}" for n in official["split"][key]) for name, key in (("train", "train"), ("val", "valid"))
    }
    assert SPLITS["test"] == tuple(f"{n:02d}" for n in official["split"]["test"])
    for name, expected in splits.items():
        assert SemanticKITTI(str(ROOT), COARSE, split=name).sequences == expected


def test_all_frames_are_found_and_whole():
    train, val = (SemanticKITTI(str(ROOT), COARSE, split=split) for split in ("train", "val"))
    assert (len(train), len(val)) == (40, 4)
    assert val.units == ("08/000000", "08/000003", "08/000006", "08/000009")
    assert not [problem for data in (train, val) for unit in range(len(data)) for problem in data.label_problems(unit)]


def test_labels_equal_an_independent_reading(official):
    subject = SemanticKITTI(str(ROOT), NATIVE_GRID)
    for row in (0, 13, 38):
        annotations = subject.sample(row).annotations
        expected = independent_labels(subject.units[row], official["learning_map"])
        np.testing.assert_array_equal(annotations.mask, expected != IGNORE)
        np.testing.assert_array_equal(annotations.semantics[annotations.mask], expected[expected != IGNORE])


@pytest.mark.parametrize("pooling", ["occupied_first", "majority"])
def test_coarse_labels_equal_an_independent_vote(official, pooling):
    subject = SemanticKITTI(str(ROOT), COARSE, split="val", pooling=pooling)
    annotations = subject.sample(2).annotations
    fine = independent_labels(subject.units[2], official["learning_map"])
    occupied = torch.nonzero(annotations.mask & (annotations.semantics > 0))
    rng = np.random.default_rng(0)
    places = np.concatenate([rng.permutation(occupied)[:300], rng.integers(0, COARSE.shape, (300, 3))])
    for x, y, z in places:
        block = fine[4 * x : 4 * x + 4, 4 * y : 4 * y + 4, 4 * z : 4 * z + 4].ravel()
        votes = np.bincount(block[block != IGNORE], minlength=20)
        assert annotations.mask[x, y, z].item() == (votes.sum() > 0)
        if pooling == "occupied_first" and votes[1:].any():
            votes[0] = 0
        if votes.any():
            assert annotations.semantics[x, y, z] == votes.argmax()


def test_class_counts_are_plausible():
    """Ten scans label about a quarter of the volume, and streets hold mostly road, vegetation, buildings."""
    counts, labelled = np.zeros(20, dtype=int), []
    for split in ("train", "val"):
        subject = SemanticKITTI(str(ROOT), NATIVE_GRID, split=split)
        for row in range(0, len(subject), 4):
            annotations = subject.sample(row).annotations
            labelled.append(annotations.mask.float().mean().item())
            counts += np.bincount(annotations.semantics[annotations.mask], minlength=20)
    assert 0.1 < min(labelled) < 0.2356 < max(labelled) < 0.4
    occupied = counts[1:].sum() / 11
    assert 25_000 < occupied < 50_000
    shares = dict(zip(SemanticKITTI.CLASS_NAMES[1:], counts[1:] / counts[1:].sum(), strict=True))
    assert set(sorted(shares, key=shares.get)[-5:]) == {"road", "vegetation", "terrain", "sidewalk", "building"}
    assert shares["bicyclist"] < 1e-3 < shares["car"]


@pytest.mark.parametrize("image_size", [(192, 608), (96, 320)])
def test_images_are_the_files_resized(image_size):
    subject = SemanticKITTI(str(ROOT), COARSE, split="val", image_size=image_size)
    inputs = subject.sample(0, annotations=False).inputs
    assert inputs.images.shape == (1, 3, *image_size)
    with Image.open(ROOT / subject.paths(0)["image"]) as image:
        ratio = image_size[1] / image.width
        height = int(image.height * ratio)
        resized = np.asarray(image.resize((image_size[1], height), Image.Resampling.BICUBIC))[-image_size[0] :]
    expected = (resized - (123.675, 116.28, 103.53)) / (58.395, 57.12, 57.375)
    np.testing.assert_allclose(inputs.images[0].permute(1, 2, 0)[-len(resized) :], expected, atol=1e-4)
    assert inputs.post_translation[0].tolist() == [0, image_size[0] - height, 0]
    assert inputs.post_rotation[0, 0, 0].item() == pytest.approx(ratio)


def test_points_project_as_with_the_official_matrices():
    train, val = (SemanticKITTI(str(ROOT), COARSE, split=split) for split in ("train", "val"))
    for sequence in ("00", "03", "08"):
        subject = val if sequence == "08" else train
        lines = dict(
            line.split(": ") for line in (ROOT / "sequences" / sequence / "calib.txt").read_text().splitlines()
        )
        P2, Tr = (np.array(lines[name].split(), float).reshape(3, 4) for name in ("P2", "Tr"))
        points = np.c_[np.random.default_rng(0).uniform((4, -20, -2), (50, 20, 3), (200, 3)), np.ones(200)]
        official = points @ (P2 @ np.vstack([Tr, [0, 0, 0, 1]])).T
        inputs = subject.sample(subject.units.index(f"{sequence}/000000"), annotations=False).inputs
        ours = points @ np.linalg.inv(inputs.camera2ego[0].double().numpy())[:3].T
        ours = ours @ inputs.intrinsics[0].double().numpy().T
        np.testing.assert_allclose(ours[:, :2] / ours[:, 2:], official[:, :2] / official[:, 2:], atol=5e-3)
        np.testing.assert_allclose(ours[:, 2], official[:, 2], atol=1e-4)
