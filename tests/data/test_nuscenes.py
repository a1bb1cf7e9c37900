"""The dataset on written sets: order, labels, augmentation, oracle boundary, missing and damaged files."""

import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from fake_nuscenes import DELAYS, GRAY, SPEED, TINT, token, write_nuscenes

from al_lightning.data import GeographicSplit, Occ3DNuScenes, RandomSceneSplit
from al_lightning.data.images import IMAGENET_MEAN, IMAGENET_STD, ImageJitter
from al_lightning.data.module import LabeledRows
from al_lightning.data.nuscenes_tables import CAMERAS, TABLES
from al_lightning.data.occ3d_files import FREE, NATIVE_GRID
from al_lightning.types import DataFileError, VoxelGrid, collate

SIZE = (32, 88)
COARSE = VoxelGrid(NATIVE_GRID.lower, NATIVE_GRID.upper, (100, 100, 8))
NO_JITTER = ImageJitter(resize=(0, 0), rotation=(0, 0), flip=0)
SCENES = {"scene-0003": 2, "scene-0002": 1, "scene-0001": 3}  # the first belongs to val
DESCRIPTIONS = {"scene-0001": "Night, parked cars", "scene-0002": "Wait for train", "scene-0003": "Heavy rain"}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("nuscenes")
    write_nuscenes(root, SCENES, descriptions=DESCRIPTIONS, seed=1)
    return root


@pytest.fixture
def root(pristine, tmp_path):
    """A copy to damage, of hard links for speed: remove files before writing them anew."""
    return shutil.copytree(pristine, tmp_path / "nuscenes", copy_function=os.link)


def overwrite(path, content):
    path.unlink()
    path.write_bytes(content)


def dataset(root, grid=COARSE, **arguments):
    return Occ3DNuScenes(str(root), grid, **{"version": "v1.0-sim", "image_size": SIZE, **arguments})


def written_label(root, subject, row):
    with np.load(root / subject.paths(row)["label"]) as archive:
        return dict(archive)


# --- rows


def test_units_are_sample_tokens_by_scene_and_time(pristine):
    train, val = dataset(pristine), dataset(pristine, split="val")
    assert train.units == (
        *(token("sample", "scene-0001", frame) for frame in range(3)),
        token("sample", "scene-0002", 0),
    )
    assert val.units == tuple(token("sample", "scene-0003", frame) for frame in range(2))
    assert train.unit_of.tolist() == list(range(4)) == list(range(len(train)))
    assert train.class_names == Occ3DNuScenes.CLASS_NAMES
    assert train.class_names[FREE] == "free"


def test_subsets_are_by_the_words_of_the_descriptions(pristine):
    train, val = dataset(pristine), dataset(pristine, split="val")
    assert {name: rows.tolist() for name, rows in train.subsets.items()} == {
        "night": [True, True, True, False],
        "rain": [False] * 4,
    }
    assert val.subsets["rain"].all()
    assert not val.subsets["night"].any()


def test_other_splits_choose_other_rows(pristine, tmp_path):
    parts = [dataset(pristine, split=name, splits=RandomSceneSplit(0.3, seed=4)) for name in ("train", "val")]
    assert sorted(len(part) for part in parts) in ([1, 5], [2, 4], [3, 3])
    assert len({unit for part in parts for unit in part.units}) == 6
    tokens = tmp_path / "tokens.pkl"
    named = {token("sample", "scene-0003", 1): "train", token("sample", "scene-0001", 2): "val"}
    tokens.write_bytes(pickle.dumps(named))
    for name in ("train", "val"):
        (unit,) = dataset(pristine, split=name, splits=GeographicSplit(str(tokens))).units
        assert named[unit] == name


def test_paths_are_relative_to_the_root(pristine, tmp_path):
    subject = dataset(pristine)
    paths = subject.paths(3)
    assert list(paths) == [*CAMERAS, "label"]
    assert paths["CAM_BACK"] == "samples/CAM_BACK/scene-0002__CAM_BACK__000.jpg"
    assert paths["label"] == f"gts/scene-0002/{token('sample', 'scene-0002', 0)}/labels.npz"
    assert all((pristine / path).is_file() for path in paths.values())
    elsewhere = shutil.copytree(pristine / "gts", tmp_path / "labels")
    moved = dataset(pristine, gts=str(elsewhere))
    assert moved.paths(3)["label"] == str(elsewhere / "scene-0002" / subject.units[3] / "labels.npz")
    assert torch.equal(moved.sample(3).annotations.semantics, subject.sample(3).annotations.semantics)


def present(part):
    """What is there of a dataclass of tensors."""
    return {name: value for name, value in vars(part).items() if value is not None}


def test_sample_has_the_shapes_of_the_vocabulary(pristine):
    subject = dataset(pristine)
    sample = subject.sample(2, label_mask=True, generator=np.random.default_rng(0))
    assert sample.row == 2
    assert {name: tuple(value.shape) for name, value in present(sample.inputs).items()} == {
        "images": (6, 3, *SIZE),
        "camera2ego": (6, 4, 4),
        "intrinsics": (6, 3, 3),
        "post_rotation": (6, 3, 3),
        "post_translation": (6, 3),
        "bda": (4, 4),
    }
    assert {value.dtype for value in present(sample.inputs).values()} == {torch.float32}
    annotations = sample.annotations
    assert (annotations.semantics.dtype, annotations.mask.dtype) == (torch.uint8, torch.bool)
    assert annotations.semantics.shape == annotations.mask.shape == sample.label_mask.shape == (100, 100, 8)
    batch = collate([sample, subject.sample(1, label_mask=True)])
    assert batch.inputs.images.shape == (2, 6, 3, *SIZE)
    assert batch.index.tolist() == [2, 1]


def test_a_copy_for_another_process_is_small_and_reads_the_same(pristine):
    subject = dataset(pristine)
    data = pickle.dumps(subject)
    assert len(data) < 30_000  # the tables are not in it
    assert torch.equal(pickle.loads(data).sample(2).inputs.images, subject.sample(2).inputs.images)


def test_worker_processes_read_what_this_one_reads(pristine):
    subject = dataset(pristine)
    loader = torch.utils.data.DataLoader(
        LabeledRows(subject, np.array([3, 0]), seed=(1, 2)), num_workers=1, collate_fn=collate
    )
    for batch, row in zip(loader, LabeledRows(subject, np.array([3, 0]), seed=(1, 2)), strict=True):
        assert batch.index.tolist() == [row.row]
        assert torch.equal(batch.inputs.images[0], row.inputs.images)
        assert torch.equal(batch.annotations.semantics[0], row.annotations.semantics)


# --- cameras


def test_cameras_come_in_flashoccs_order(pristine):
    assert CAMERAS[0] == "CAM_FRONT_LEFT"
    images = dataset(pristine).sample(0, annotations=False).inputs.images
    values = images * torch.tensor(IMAGENET_STD)[:, None, None] + torch.tensor(IMAGENET_MEAN)[:, None, None]
    np.testing.assert_allclose(values.mean((1, 2, 3)), [GRAY[channel] for channel in CAMERAS], atol=1.5)


def test_poses_are_of_the_first_cameras_moment(pristine):
    """The vehicle drives on between the exposures: a later camera stands further ahead."""
    camera2ego = dataset(pristine).sample(1, annotations=False).inputs.camera2ego
    ahead = [1.5 + SPEED * (DELAYS[channel] - DELAYS["CAM_FRONT_LEFT"]) for channel in CAMERAS]
    np.testing.assert_allclose(camera2ego[:, 0, 3], ahead, atol=1e-5)
    np.testing.assert_allclose(camera2ego[:, 1:3, 3], [[y, 1.5] for y in (0.4, 0, -0.4, 0.4, 0.4, -0.4)], atol=1e-5)
    looks = np.degrees(np.arctan2(camera2ego[:, 1, 2], camera2ego[:, 0, 2]))
    np.testing.assert_allclose(np.mod(looks, 360), [55, 0, 305, 110, 180, 250], atol=1e-3)


def test_every_camera_has_its_own_augmentation(pristine):
    inputs = dataset(pristine).sample(0, annotations=False, generator=np.random.default_rng(0)).inputs
    assert len({tuple(rotation.flatten().tolist()) for rotation in inputs.post_rotation}) == 6


@pytest.mark.parametrize(("arguments", "tint"), [({}, TINT[::-1]), ({"channel_order": "rgb"}, TINT)])
def test_blue_comes_first_unless_told_otherwise(pristine, arguments, tint):
    images = dataset(pristine, **arguments).sample(0, annotations=False).inputs.images
    values = images * torch.tensor(IMAGENET_STD)[:, None, None] + torch.tensor(IMAGENET_MEAN)[:, None, None]
    np.testing.assert_allclose(values.mean((0, 2, 3)) - values.mean(), tint, atol=1.5)


# --- labels


@pytest.mark.parametrize("mask", ["camera", "lidar"])
def test_native_labels_are_those_of_the_file(pristine, mask):
    subject = dataset(pristine, NATIVE_GRID, mask=mask)
    sample, label = subject.sample(1, label_mask=True), written_label(pristine, subject, 1)
    np.testing.assert_array_equal(sample.annotations.semantics, label["semantics"])  # outside the mask too
    np.testing.assert_array_equal(sample.annotations.mask, label[f"mask_{mask}"] == 1)
    assert torch.equal(sample.label_mask, sample.annotations.mask)
    assert 0.2 < sample.annotations.mask.float().mean() < 0.7


@pytest.mark.parametrize("shape", [(100, 100, 8), (50, 200, 4), (25, 25, 2)])
@pytest.mark.parametrize("pooling", ["occupied_first", "majority"])
def test_coarse_labels_are_the_votes_of_visible_fine_ones(pristine, shape, pooling):
    subject = dataset(pristine, VoxelGrid(NATIVE_GRID.lower, NATIVE_GRID.upper, shape), pooling=pooling)
    sample, label = subject.sample(0, label_mask=True), written_label(pristine, subject, 0)
    votes, visible_votes = (
        np.stack([counted(label["semantics"] == c, shape, among) for c in range(18)], axis=-1)
        for among in (True, label["mask_camera"] == 1)
    )
    visible = visible_votes.sum(-1) > 0
    votes = np.where(visible[..., None], visible_votes, votes)
    if pooling == "occupied_first":
        votes[..., FREE] = votes[..., :FREE].sum(-1) == 0
    np.testing.assert_array_equal(sample.annotations.mask, visible)
    np.testing.assert_array_equal(sample.label_mask, visible)
    np.testing.assert_array_equal(sample.annotations.semantics, votes.argmax(-1))


def counted(values, shape, among):
    """How many fine voxels are true in each coarse one."""
    blocks = values & among
    (X, Y, Z), (fx, fy, fz) = shape, (native // count for native, count in zip(NATIVE_GRID.shape, shape, strict=True))
    return blocks.reshape(X, fx, Y, fy, Z, fz).sum((1, 3, 5))


@pytest.mark.parametrize("axes", [[], [0], [1], [0, 1]])
def test_flips_of_the_ego_frame_keep_a_points_label(pristine, axes):
    subject = dataset(pristine, jitter=NO_JITTER, flip_x=float(0 in axes), flip_y=float(1 in axes))
    plain = subject.sample(0, label_mask=True)
    flipped = subject.sample(0, label_mask=True, generator=np.random.default_rng(0))
    assert torch.equal(plain.inputs.bda, torch.eye(4))
    torch.testing.assert_close(flipped.inputs.bda, torch.diag(torch.tensor([(-1.0) ** (a in axes) for a in range(4)])))
    assert torch.equal(flipped.inputs.images, plain.inputs.images)
    assert torch.equal(flipped.inputs.camera2ego, plain.inputs.camera2ego)
    centers = COARSE.centers().reshape(-1, 3)
    moved = centers @ flipped.inputs.bda[:3, :3].T + flipped.inputs.bda[:3, 3]
    index = ((moved - torch.tensor(COARSE.lower)) / torch.tensor(COARSE.voxel_size)).floor().long()
    for before, after in (
        (plain.annotations.semantics, flipped.annotations.semantics),
        (plain.annotations.mask, flipped.annotations.mask),
        (plain.label_mask, flipped.label_mask),
    ):
        assert torch.equal(before.reshape(-1), after[tuple(index.T)])
    assert bool(axes) != torch.equal(plain.annotations.semantics, flipped.annotations.semantics)


def test_chance_comes_from_the_generator_alone(pristine):
    subject = dataset(pristine)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, again = (subject.sample(0, generator=np.random.default_rng(4)) for _ in range(2))
    other, plain = subject.sample(0, generator=np.random.default_rng(5)), subject.sample(0)
    for name, value in present(first.inputs).items():
        assert torch.equal(value, getattr(again.inputs, name))
    assert torch.equal(first.annotations.semantics, again.annotations.semantics)
    assert not torch.equal(first.inputs.images, other.inputs.images)
    assert torch.equal(plain.inputs.images, subject.sample(0).inputs.images)
    assert torch.equal(torch.get_rng_state(), state)
    flips = [subject.sample(0, annotations=False, generator=np.random.default_rng(s)).inputs.bda for s in range(40)]
    for axis in (0, 1):
        assert 8 <= sum(bda[axis, axis].item() < 0 for bda in flips) <= 32


def test_labels_may_be_seen_or_not_without_a_change_of_the_augmentation(pristine):
    subject = dataset(pristine)
    seen, unseen = (subject.sample(0, annotations=a, generator=np.random.default_rng(7)).inputs for a in (True, False))
    assert all(torch.equal(value, getattr(unseen, name)) for name, value in present(seen).items())


# --- oracle boundary


def test_without_annotations_no_label_file_is_opened(pristine, openings):
    subject = dataset(pristine)
    for row in range(len(subject)):
        sample = subject.sample(row, annotations=False, generator=np.random.default_rng(0))
        assert sample.annotations is None
        assert sample.label_mask is None
    assert sum(name.endswith(".jpg") for name in openings) == 6 * len(subject)  # the hook sees what is opened
    assert not [name for name in openings if "gts" in name]


def test_labels_are_read_without_images(pristine, openings):
    subject = dataset(pristine)
    whole = subject.sample(1).annotations
    openings.clear()
    alone = subject.annotations(1)
    assert torch.equal(alone.semantics, whole.semantics)
    assert torch.equal(alone.mask, whole.mask)
    assert [name for name in openings if name.startswith(str(pristine))] == [str(pristine / subject.paths(1)["label"])]


def test_the_visibility_mask_comes_without_the_classes(root):
    subject = dataset(root)
    path, label = root / subject.paths(0)["label"], written_label(root, subject, 0)
    path.unlink()
    np.savez_compressed(path, mask_camera=label["mask_camera"])
    sample = subject.sample(0, annotations=False, label_mask=True)
    assert sample.annotations is None
    np.testing.assert_array_equal(sample.label_mask, counted(label["mask_camera"] == 1, COARSE.shape, True) > 0)


def test_a_pool_may_wait_for_its_labels(root):
    shutil.rmtree(root / "gts" / "scene-0001")
    with pytest.raises(DataFileError, match=r"3 of 4 labels of the train split are missing.*labels_later=true"):
        dataset(root)
    subject = dataset(root, labels_later=True)
    subject.sample(0, annotations=False)
    (problem,) = subject.label_problems(0)
    assert f"{subject.units[0]}/labels.npz" in problem
    with pytest.raises(DataFileError, match=f"{subject.units[0]}/labels.npz"):
        subject.sample(0)
    assert subject.label_problems(3) == []


# --- wrong arguments, missing and damaged files


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "test"}, "split must be one of train, val"),
        ({"grid": VoxelGrid(NATIVE_GRID.lower, NATIVE_GRID.upper, (80, 100, 8))}, r"grid\.shape must divide"),
        ({"grid": VoxelGrid((-51.2, -51.2, -5), (51.2, 51.2, 3), (100, 100, 8))}, "must span the range of the labels"),
        ({"pooling": "mean"}, "pooling must be one of"),
        ({"mask": "radar"}, "mask must be one of camera, lidar, got 'radar'"),
        ({"channel_order": "gbr"}, "channel_order must be one of rgb, bgr"),
        ({"flip_x": -0.5}, "flip_x must be a probability"),
        ({"image_size": (256,)}, "image_size"),
    ],
)
def test_wrong_arguments_are_refused(pristine, arguments, message):
    with pytest.raises(ValueError, match=message):
        dataset(pristine, **arguments)


def test_missing_images_are_counted_and_the_first_is_named(root):
    for name in ("CAM_BACK/scene-0002__CAM_BACK__000.jpg", "CAM_FRONT/scene-0001__CAM_FRONT__001.jpg"):
        (root / "samples" / name).unlink()
    with pytest.raises(
        DataFileError, match=r"2 of 24 images of the train split .*samples/CAM_FRONT/scene-0001__CAM_FRONT__001\.jpg"
    ):
        dataset(root)
    dataset(root, split="val")  # has all of its own
    shutil.rmtree(root / "samples" / "CAM_BACK_LEFT")
    with pytest.raises(DataFileError, match=r"2 of 12 images of the val split .*samples/CAM_BACK_LEFT/"):
        dataset(root, split="val")


def test_labels_to_validate_on_must_be_there(root):
    subject = dataset(root, split="val")
    (root / subject.paths(1)["label"]).unlink()
    with pytest.raises(DataFileError, match=rf"1 of 2 labels of the val split .*{subject.paths(1)['label']}"):
        dataset(root, split="val")
    dataset(root)


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_table_is_named(root, table):
    (root / "v1.0-sim" / f"{table}.json").unlink()
    with pytest.raises(DataFileError, match=rf"1 of 7 tables .*v1\.0-sim/{table}\.json"):
        dataset(root)


def test_a_missing_set_says_what_was_expected(tmp_path, pristine):
    with pytest.raises(DataFileError, match=rf"7 of 7 tables .*{tmp_path}/v1\.0-sim/calibrated_sensor\.json"):
        dataset(tmp_path)
    with pytest.raises(DataFileError, match=r"v1\.0-trainval/calibrated_sensor\.json"):
        dataset(pristine, version="v1.0-trainval")


@pytest.mark.parametrize("table", ["sample_data", "scene", "log"])
@pytest.mark.parametrize("content", [b"", b'[{"token": "a"', b"7"])
def test_a_damaged_table_is_named(root, table, content):
    overwrite(root / "v1.0-sim" / f"{table}.json", content)
    with pytest.raises(DataFileError, match=rf"cannot read the table .*v1\.0-sim/{table}\.json"):
        dataset(root)


def change_table(root, table, change):
    path = root / "v1.0-sim" / f"{table}.json"
    rows = json.loads(path.read_bytes())
    overwrite(path, json.dumps(change(rows)).encode())


def changed(key, value):
    return lambda rows: [{**row, key: value} for row in rows]


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("ego_pose", lambda rows: rows[1:], "lack the key or the record"),
        ("sensor", lambda rows: [row for row in rows if row["channel"] != "CAM_BACK"], "lack the key or the record"),
        ("sample_data", lambda rows: [r for r in rows if "CAM_BACK__" not in r["filename"]], "has no CAM_BACK"),
        ("sample", lambda rows: [], "there is no sample"),
        ("log", lambda rows: [], "lack the key or the record"),
        ("scene", changed("token", "another"), "lack the key or the record"),
        ("ego_pose", changed("rotation", [0, 0, 0, 0]), "quaternion 0"),
        ("ego_pose", changed("translation", [0, 0, float("nan")]), r"translation must be \(3,\) finite numbers"),
        ("ego_pose", changed("translation", [0, 0]), r"translation must be \(3,\) finite numbers"),
        ("calibrated_sensor", changed("camera_intrinsic", []), r"camera_intrinsic must be \(3, 3\)"),
        ("calibrated_sensor", changed("rotation", "north"), r"rotation must be \(4,\)"),
        ("sample_data", lambda rows: [*rows, 7], "cannot read the tables"),
    ],
)
def test_tables_that_contradict_each_other_are_refused(root, table, change, message):
    change_table(root, table, change)
    with pytest.raises(DataFileError, match=message) as raised:
        dataset(root)
    assert str(root / "v1.0-sim") in str(raised.value)


def test_a_set_without_samples_is_refused(tmp_path):
    write_nuscenes(tmp_path, {})
    with pytest.raises(DataFileError, match="there is no sample"):
        dataset(tmp_path)


def test_tables_that_have_changed_are_read_anew(root):
    assert dataset(root).subsets["night"].any()
    change_table(root, "scene", changed("description", "Sunny"))
    assert not dataset(root).subsets["night"].any()


def test_the_tables_are_read_once_for_both_splits(root, openings):
    dataset(root)
    dataset(root, split="val")
    assert sum(name.endswith("sample_data.json") for name in openings) == 1


def test_a_damaged_image_is_named(root):
    subject = dataset(root)
    path = root / subject.paths(1)["CAM_BACK_RIGHT"]
    overwrite(path, path.read_bytes()[:500])
    with pytest.raises(DataFileError, match=path.name):
        subject.sample(1, annotations=False)


@pytest.mark.parametrize("kind", ["missing", "truncated", "another shape", "a class too many"])
def test_a_damaged_label_is_named(root, kind):
    subject = dataset(root)
    path, label = root / subject.paths(2)["label"], written_label(root, subject, 2)
    data = path.read_bytes()
    path.unlink()
    if kind == "truncated":
        path.write_bytes(data[:-30])
    elif kind == "another shape":
        np.savez_compressed(path, **{**label, "mask_camera": label["mask_camera"][1:]})
    elif kind == "a class too many":
        np.savez_compressed(path, **{**label, "semantics": label["semantics"] + np.uint8(1)})
    with pytest.raises(DataFileError, match=str(path)):
        subject.sample(2)
    (problem,) = subject.label_problems(2)
    assert str(path) in problem
    subject.sample(2, annotations=False)  # the sensors are whole


# --- kept in memory


def tensors(sample):
    parts = (sample.inputs, sample.annotations or sample.label_mask)
    return [value for part in parts for value in ([part] if torch.is_tensor(part) else present(part).values())]


def test_what_is_kept_is_what_is_on_disk_and_each_file_is_read_once(pristine, openings):
    fixed = {"jitter": NO_JITTER, "flip_x": 0.0, "flip_y": 0.0}
    kept, plain = dataset(pristine, keep_in_memory=True, **fixed), dataset(pristine, **fixed)
    generator = np.random.default_rng(0)
    for among in (False, True):
        for row in range(len(plain)):
            first = kept.sample(row, annotations=among, label_mask=not among, generator=generator)
            again = kept.sample(row, annotations=among, label_mask=not among)
            expected = plain.sample(row, annotations=among, label_mask=not among)
            for sample in (first, again):
                assert all(map(torch.equal, tensors(sample), tensors(expected)))
    openings.clear()
    for row in range(len(kept)):
        kept.sample(row, annotations=True, label_mask=True)
    assert not [name for name in openings if str(pristine) in name]


def test_without_annotations_no_label_is_read_or_given_from_memory(pristine, openings):
    kept = dataset(pristine, keep_in_memory=True, jitter=NO_JITTER, flip_x=0.0, flip_y=0.0)
    openings.clear()
    assert kept.sample(0, annotations=False).annotations is None
    assert not [name for name in openings if name.endswith("labels.npz")]
    kept.sample(0)
    assert kept.sample(0, annotations=False).annotations is None


@pytest.mark.parametrize("random", [{"flip_x": 0.5}, {"flip_y": 0.5}, {"jitter": ImageJitter()}])
def test_random_augmentation_cannot_be_kept(pristine, random):
    with pytest.raises(ValueError, match="keep_in_memory needs"):
        dataset(pristine, keep_in_memory=True, **{"jitter": NO_JITTER, "flip_x": 0.0, "flip_y": 0.0, **random})
