"""The dataset on written trees: indexing, labels, calibration, augmentation, oracle boundary, damaged files."""

import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from fake_semantickitti import COLORS, IMAGE_SIZE, P2, TR, write_semantickitti

from al_lightning.data import SemanticKITTI
from al_lightning.data.depth_maps import depth_maps
from al_lightning.data.images import IMAGENET_MEAN, IMAGENET_STD, ImageJitter
from al_lightning.data.semantickitti_files import (
    NATIVE_GRID,
    read_calibration,
    read_invalid,
    read_label,
    read_scan,
    read_scan_voxels,
    write_label,
)
from al_lightning.data.voxels import IGNORE, pool_any
from al_lightning.types import DataFileError, VoxelGrid, collate

COARSE = VoxelGrid(NATIVE_GRID.lower, NATIVE_GRID.upper, (64, 64, 8))
NO_JITTER = ImageJitter(resize=(0, 0), rotation=(0, 0), flip=0)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    root = tmp_path_factory.mktemp("kitti")
    write_semantickitti(root, {"02": 2, "00": 3, "08": 1}, seed=1)
    return root


@pytest.fixture
def root(pristine, tmp_path):
    """A copy to damage, of hard links for speed: write to it with `overwrite` alone."""
    return shutil.copytree(pristine, tmp_path / "kitti", copy_function=os.link)


def overwrite(path, content):
    path.unlink()
    path.write_bytes(content)


def dataset(root, grid=COARSE, **arguments):
    return SemanticKITTI(str(root), grid, image_size=IMAGE_SIZE, **arguments)


def test_index_is_sorted_and_holds_the_split(pristine):
    train, val = dataset(pristine), dataset(pristine, split="val")
    assert train.units == ("00/000000", "00/000005", "00/000010", "02/000000", "02/000005")
    assert val.units == ("08/000000",)
    assert train.sequences == ("00", "02")
    assert train.unit_of.tolist() == list(range(5)) == list(range(len(train)))
    assert len(train.class_names) == len(SemanticKITTI.CLASS_NAMES) == 20


def test_only_frames_with_a_bin_file_belong_to_the_benchmark(root):
    (root / "sequences/00/voxels/000005.bin").unlink()
    assert dataset(root).units[:2] == ("00/000000", "00/000010")


def test_the_official_archive_has_one_more_folder(root):
    plain = dataset(root)
    image = plain.sample(0, annotations=False).inputs.images
    (root / "dataset").mkdir()
    (root / "sequences").rename(root / "dataset" / "sequences")
    nested = dataset(root)
    assert nested.units == plain.units
    assert nested.paths(0)["label"] == "dataset/sequences/00/voxels/000000.label"
    assert torch.equal(nested.sample(0).inputs.images, image)


def test_paths_are_relative_to_the_root(pristine):
    subject = dataset(pristine)
    assert subject.paths(3) == {
        "image": "sequences/02/image_2/000000.png",
        "calibration": "sequences/02/calib.txt",
        "label": "sequences/02/voxels/000000.label",
        "invalid": "sequences/02/voxels/000000.invalid",
    }
    assert all((pristine / path).is_file() for path in subject.paths(3).values())


def test_sample_has_the_shapes_of_the_vocabulary(pristine):
    subject = dataset(pristine)
    sample = subject.sample(4, label_mask=True, generator=np.random.default_rng(0))
    assert sample.row == 4
    assert {name: tuple(value.shape) for name, value in vars(sample.inputs).items()} == {
        "images": (1, 3, *IMAGE_SIZE),
        "camera2ego": (1, 4, 4),
        "intrinsics": (1, 3, 3),
        "post_rotation": (1, 3, 3),
        "post_translation": (1, 3),
        "bda": (4, 4),
        "projection_shift": (1, 3),
    }
    assert {value.dtype for value in vars(sample.inputs).values()} == {torch.float32}
    assert (sample.annotations.semantics.dtype, sample.annotations.mask.dtype) == (torch.uint8, torch.bool)
    assert sample.annotations.semantics.shape == sample.annotations.mask.shape == sample.label_mask.shape == (64, 64, 8)
    batch = collate([sample, subject.sample(1, label_mask=True)])
    assert batch.inputs.images.shape == (2, 1, 3, *IMAGE_SIZE)
    assert batch.index.tolist() == [4, 1]


def test_a_copy_for_another_process_reads_the_same(pristine):
    subject = dataset(pristine)
    copy = pickle.loads(pickle.dumps(subject))
    assert torch.equal(copy.sample(2).annotations.semantics, subject.sample(2).annotations.semantics)


# --- labels


def write_frame(root, label, invalid=None, frame="000000"):
    stem = root / "sequences/00/voxels" / frame
    overwrite(stem.with_suffix(".label"), label.astype("<u2").tobytes())
    invalid = np.zeros(NATIVE_GRID.shape, bool) if invalid is None else invalid
    overwrite(stem.with_suffix(".invalid"), np.packbits(invalid).tobytes())


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (0, 0),
        (1, IGNORE),
        (52, IGNORE),
        (99, IGNORE),
        (10, 1),
        (252, 1),
        (60, 9),
        (13, 5),
        (257, 5),
        (255, 8),
        (81, 19),
    ],
)
def test_raw_ids_become_classes(root, raw, expected):
    label = np.zeros(NATIVE_GRID.shape, np.uint16)
    label[5, 6, 7] = raw
    write_frame(root, label)
    annotations = dataset(root, NATIVE_GRID).sample(0).annotations
    assert annotations.mask[5, 6, 7].item() == (expected != IGNORE)
    assert annotations.semantics[5, 6, 7] == expected
    annotations.semantics[5, 6, 7] = 0
    assert not annotations.semantics.any()
    assert annotations.mask.sum() == 256 * 256 * 32 - (expected == IGNORE)


def test_invalid_voxels_do_not_count_and_bits_are_most_significant_first(root):
    label, invalid = np.full(NATIVE_GRID.shape, 40, np.uint16), np.zeros(NATIVE_GRID.shape, bool)
    invalid[3, 4, 8] = True
    write_frame(root, label, invalid)
    packed = (root / "sequences/00/voxels/000000.invalid").read_bytes()
    assert packed[((3 * 256 + 4) * 32 + 8) // 8] == 0b1000_0000
    sample = dataset(root, NATIVE_GRID).sample(0, label_mask=True)
    assert torch.nonzero(~sample.annotations.mask).tolist() == [[3, 4, 8]]
    assert torch.equal(sample.label_mask, sample.annotations.mask)


@pytest.mark.parametrize("shape", [(64, 64, 8), (128, 128, 16), (256, 128, 4)])
@pytest.mark.parametrize("pooling", ["occupied_first", "majority"])
def test_coarse_labels_are_pooled_fine_ones(pristine, shape, pooling):
    grid = VoxelGrid(NATIVE_GRID.lower, NATIVE_GRID.upper, shape)
    fine = dataset(pristine, NATIVE_GRID).sample(1, label_mask=True)
    coarse = dataset(pristine, grid, pooling=pooling).sample(1, label_mask=True)
    blocks = fine.annotations.semantics.numpy()
    for axis, (native, count) in enumerate(zip(NATIVE_GRID.shape, shape, strict=True)):
        blocks = np.stack(np.split(blocks, count, axis=axis + axis), axis=axis)
        assert native % count == 0
    blocks = blocks.reshape(*shape, -1)
    votes = np.stack([(blocks == c).sum(-1) for c in range(20)], axis=-1)
    labelled = votes.sum(-1) > 0
    np.testing.assert_array_equal(coarse.annotations.mask, labelled)
    if pooling == "occupied_first":
        votes[..., 0] = votes[..., 1:].sum(-1) == 0
    np.testing.assert_array_equal(coarse.annotations.semantics[coarse.annotations.mask], votes.argmax(-1)[labelled])
    np.testing.assert_array_equal(coarse.label_mask, pool_any(fine.label_mask.numpy(), shape))


# --- oracle boundary


def test_without_annotations_no_label_file_is_opened(pristine, openings):
    subject = dataset(pristine)
    for row in range(len(subject)):
        sample = subject.sample(row, annotations=False, generator=np.random.default_rng(0))
        assert sample.annotations is None
        assert sample.label_mask is None
    assert sum(name.endswith(".png") for name in openings) == len(subject)  # the hook sees what is opened
    assert not [name for name in openings if name.endswith((".label", ".invalid", ".occluded", ".bin"))]


def test_labels_are_read_without_images(pristine, openings):
    subject = dataset(pristine, depth="voxels")
    whole = subject.sample(1).annotations
    openings.clear()
    alone = subject.annotations(1)
    assert torch.equal(alone.semantics, whole.semantics)
    assert torch.equal(alone.mask, whole.mask)
    assert {name[-8:] for name in openings if name.startswith(str(pristine))} == {"05.label", ".invalid"}


def test_the_visibility_mask_opens_the_invalid_file_alone(pristine, openings):
    sample = dataset(pristine).sample(0, annotations=False, label_mask=True)
    assert sample.annotations is None
    assert 0 < sample.label_mask.float().mean() < 1
    assert [name[-8:] for name in openings if "voxels" in name] == [".invalid"]


def test_a_pool_may_wait_for_its_labels(root):
    for path in root.glob("sequences/00/voxels/*"):
        if path.suffix in (".label", ".invalid"):
            path.unlink()
    subject = dataset(root)
    subject.sample(0, annotations=False)
    problems = subject.label_problems(0)
    assert len(problems) == 2
    assert "000000.label" in problems[0]
    assert "000000.invalid" in problems[1]
    with pytest.raises(DataFileError, match=r"000000\.invalid"):
        subject.sample(0)
    assert subject.label_problems(3) == []


# --- camera


def test_points_project_as_with_the_official_matrices(pristine):
    sample = dataset(pristine).sample(0, annotations=False)
    points = np.random.default_rng(0).uniform((4, -20, -2), (50, 20, 3), (100, 3))
    homogeneous = np.c_[points, np.ones(100)]
    official = homogeneous @ (P2 @ np.vstack([TR, [0, 0, 0, 1]])).T
    in_camera = homogeneous @ np.linalg.inv(sample.inputs.camera2ego[0].double().numpy()).T
    ours = in_camera[:, :3] @ sample.inputs.intrinsics[0].double().numpy().T
    np.testing.assert_allclose(ours[:, :2] / ours[:, 2:], official[:, :2] / official[:, 2:], atol=1e-3)
    np.testing.assert_allclose(ours[:, 2], official[:, 2], atol=1e-5)
    rotation = sample.inputs.camera2ego[0, :3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-5, rtol=0)


def raw_volume(subject, row, bda):
    """Raw ids of a frame, flipped as the matrix says."""
    raw = np.fromfile(subject.root / subject.paths(row)["label"], "<u2").reshape(NATIVE_GRID.shape)
    return np.flip(raw, [axis for axis in range(3) if bda[axis, axis] < 0])


def project(inputs, points):
    """Pixels (N, 2) of the network's input and depths (N,) of points in the augmented ego frame."""
    points = torch.cat([points, torch.ones(len(points), 1)], dim=1) @ inputs.bda.inverse().T
    rays = (points @ inputs.camera2ego[0].inverse().T)[:, :3] @ inputs.intrinsics[0].T
    pixels = torch.cat([rays[:, :2] / rays[:, 2:], torch.ones(len(rays), 1)], dim=1)
    return (pixels @ inputs.post_rotation[0].T + inputs.post_translation[0])[:, :2].numpy(), rays[:, 2].numpy()


def color_agreement(inputs, raw):
    """Share of pixels that have the colour of the nearest occupied voxel projected on them."""
    pixels, depth = project(inputs, NATIVE_GRID.centers()[torch.from_numpy(raw > 0)])
    inside = ((pixels >= 0) & (pixels < IMAGE_SIZE[::-1])).all(1) & (depth > 2)
    order = np.argsort(-depth[inside])  # far to near: the nearest is written last
    u, v = pixels[inside][order].astype(int).T
    nearest = np.zeros(IMAGE_SIZE, dtype=int)
    nearest[v, u] = raw[raw > 0][inside][order]
    image = inputs.images[0].permute(1, 2, 0) * torch.tensor(IMAGENET_STD) + torch.tensor(IMAGENET_MEAN)
    found, covered = image.numpy(), nearest > 0
    covered &= found.max(axis=-1) > 8  # black: outside the source image
    expected = np.array([COLORS[raw_id] for raw_id in nearest[covered]])
    assert len(expected) > 1500
    return (np.abs(found[covered] - expected).max(axis=1) < 40).mean()


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_labels_and_image_stay_together_under_augmentation(pristine, seed):
    """Through all matrices, voxels fall on pixels of their colour; a mirrored volume does not."""
    subject = dataset(pristine, NATIVE_GRID, flip_x=0.5)
    sample = subject.sample(0, generator=None if seed is None else np.random.default_rng(seed))
    raw = raw_volume(subject, 0, sample.inputs.bda)
    assert color_agreement(sample.inputs, raw) > 0.8  # at this resolution edges are many, and near voxels have gaps
    assert color_agreement(sample.inputs, raw[:, ::-1]) < 0.5


# --- augmentation


@pytest.mark.parametrize("axes", [[], [0], [1], [0, 1]])
def test_flips_of_the_ego_frame_keep_a_points_label(pristine, axes):
    subject = dataset(pristine, jitter=NO_JITTER, flip_x=float(0 in axes), flip_y=float(1 in axes))
    plain = subject.sample(0, label_mask=True)
    flipped = subject.sample(0, label_mask=True, generator=np.random.default_rng(0))
    assert torch.equal(plain.inputs.bda, torch.eye(4))
    assert torch.equal(flipped.inputs.images, plain.inputs.images)
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
    assert torch.equal(first.inputs.images, again.inputs.images)
    assert torch.equal(first.inputs.bda, again.inputs.bda)
    assert torch.equal(first.annotations.semantics, again.annotations.semantics)
    assert not torch.equal(first.inputs.images, other.inputs.images)
    assert torch.equal(plain.inputs.images, subject.sample(0).inputs.images)
    assert torch.equal(plain.inputs.bda, torch.eye(4))
    assert torch.equal(torch.get_rng_state(), state)
    flips = [subject.sample(0, annotations=False, generator=np.random.default_rng(s)).inputs.bda for s in range(40)]
    assert 8 <= sum(bda[1, 1].item() < 0 for bda in flips) <= 32
    assert all(bda[0, 0] == 1 and bda[2, 2] == 1 for bda in flips)


# --- wrong arguments, damaged files


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "valid"}, "split must be one of train, val, test"),
        ({"grid": VoxelGrid((0, -25.6, -2), (51.2, 25.6, 4.4), (100, 128, 16))}, r"grid\.shape must divide"),
        ({"grid": VoxelGrid((0, -25.6, -2), (51.2, 25.6, 4.4), (512, 256, 32))}, r"grid\.shape must divide"),
        ({"grid": VoxelGrid((-51.2, -51.2, -2), (51.2, 51.2, 4.4), (64, 64, 8))}, "must span"),
        ({"pooling": "mean"}, "pooling must be one of"),
        ({"flip_y": 2.0}, "flip_y must be a probability"),
    ],
)
def test_wrong_arguments_are_refused(pristine, arguments, message):
    with pytest.raises(ValueError, match=message):
        dataset(pristine, **arguments)


@pytest.mark.parametrize("size", [(192,), (0, 10), (1.5, 3), (1, 2, 3)])
def test_wrong_image_sizes_are_refused(pristine, size):
    with pytest.raises(ValueError, match="image_size"):
        SemanticKITTI(str(pristine), COARSE, image_size=size)


def test_nothing_found_says_what_was_expected(tmp_path, root):
    with pytest.raises(DataFileError, match=rf"{tmp_path}.*sequences/00/voxels/000000\.bin"):
        dataset(tmp_path)
    (root / "sequences/02/image_2/000005.png").unlink()
    with pytest.raises(DataFileError, match=r"1 of 5 frames of the train split have no image.*02/image_2/000005\.png"):
        dataset(root)


def test_sequences_that_are_not_there_are_warned_of(root, caplog):
    dataset(root, split="val")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    dataset(root)
    assert "no frame of sequence 01, 03, 04, 05, 06, 07, 09, 10 of the train split" in caplog.text


@pytest.mark.parametrize("name", ["label", "invalid"])
def test_a_missing_label_to_validate_with_is_named_at_once(root, name):
    path = root / f"sequences/08/voxels/000000.{name}"
    path.unlink()
    with pytest.raises(DataFileError, match=f"1 of 1 frames of the val split have no {name}; the first: {path}"):
        dataset(root, split="val")
    path.symlink_to(root / "a disk that is not mounted" / path.name)
    with pytest.raises(DataFileError, match=str(path)):
        dataset(root, split="val")


def damage(path, kind):
    data = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "empty":
        overwrite(path, b"")
    elif kind == "truncated":
        overwrite(path, data[:-1])
    elif kind == "too long":
        overwrite(path, data + b"\0\0")
    else:
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("kind", ["missing", "empty", "truncated", "too long", "folder"])
@pytest.mark.parametrize("name", ["label", "invalid"])
def test_damaged_labels_are_named(root, name, kind):
    subject = dataset(root)
    path = root / subject.paths(2)[name]
    expected = {"label": "4,194,304", "invalid": "262,144"}[name]
    damage(path, kind)
    pattern = str(path) + (f" must have {expected} bytes, found" if kind in ("empty", "truncated", "too long") else "")
    with pytest.raises(DataFileError, match=pattern):
        subject.sample(2)
    (problem,) = subject.label_problems(2)
    assert str(path) in problem
    subject.sample(2, annotations=False)  # the sensors are whole


def test_unknown_raw_ids_are_named(root):
    label = np.zeros(NATIVE_GRID.shape, np.uint16)
    label[0, 0, :3] = (40, 7, 300)
    write_frame(root, label, invalid=np.ones(NATIVE_GRID.shape, bool))
    with pytest.raises(DataFileError, match=r"000000\.label holds unknown raw class ids: \[7, 300\]"):
        dataset(root).sample(0)
    assert len(dataset(root).label_problems(0)) == 1


def test_a_damaged_image_is_named(root):
    subject = dataset(root)
    overwrite(root / subject.paths(1)["image"], b"no image")
    with pytest.raises(DataFileError, match=r"image_2/000005\.png"):
        subject.sample(1, annotations=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("P2: 1 0 0 0 0 1 0 0 0 0 1 0\n", "12 finite numbers after 'Tr:', found 0"),
        ("P2: 1 0 0 0 0 1 0 0 0 0 1\nTr: 1 0 0 0 0 1 0 0 0 0 1 0\n", "after 'P2:', found 11"),
        ("P2: 1 0 0 0 0 x 0 0 0 0 1 0\nTr: 1 0 0 0 0 1 0 0 0 0 1 0\n", "'P2' holds something that is no number"),
        ("P2: 1 0 0 0 0 nan 0 0 0 0 1 0\nTr: 1 0 0 0 0 1 0 0 0 0 1 0\n", "finite"),
        ("P2: 0 0 0 0 0 0 0 0 0 0 0 0\nTr: 1 0 0 0 0 1 0 0 0 0 1 0\n", "cannot be inverted"),
    ],
)
def test_a_damaged_calibration_is_named_at_once(root, text, message):
    path = root / "sequences/02/calib.txt"
    overwrite(path, text.encode())
    with pytest.raises(DataFileError, match=message) as caught:
        dataset(root)
    assert str(path) in str(caught.value)
    path.unlink()
    with pytest.raises(DataFileError, match=str(path)):
        dataset(root)


def test_readers_alone(pristine):
    voxels = pristine / "sequences/00/voxels"
    assert read_label(voxels / "000000.label").shape == read_invalid(voxels / "000000.invalid").shape == (256, 256, 32)
    K = read_calibration(pristine / "sequences/00/calib.txt").intrinsics
    np.testing.assert_allclose(K, P2[:, :3], rtol=1e-6)


class TestDepth:
    def write_scans(self, root):
        """Points at the middles of the voxels of each ``.bin``, with an intensity."""
        for path in sorted(root.glob("sequences/*/voxels/*.bin")):
            points = read_scan_voxels(path)
            folder = path.parents[1] / "velodyne"
            folder.mkdir(exist_ok=True)
            np.c_[points, np.full(len(points), 0.5)].astype("<f4").tofile(folder / path.name)

    def test_without_a_source_there_is_none(self, pristine):
        assert dataset(pristine).sample(0).annotations.depth is None

    def test_voxels_lie_where_the_bits_are(self, pristine):
        voxels = pristine / "sequences/00/voxels"
        points = read_scan_voxels(voxels / "000000.bin")
        occupied = np.fromfile(voxels / "000000.label", dtype="<u2").reshape(NATIVE_GRID.shape) != 0
        index = ((points - NATIVE_GRID.lower) / 0.2).astype(int)
        assert len(points) == occupied.sum()
        assert occupied[tuple(index.T)].all()
        np.testing.assert_allclose((points - NATIVE_GRID.lower) / 0.2 % 1, 0.5, atol=1e-3)

    def test_scans_and_voxels_with_the_augmentation_of_the_image(self, root):
        self.write_scans(root)
        for seed in (None, 3):
            generators = [None if seed is None else np.random.default_rng(seed) for _ in range(2)]
            samples = [
                dataset(root, depth=source, flip_z=1.0).sample(0, generator=generator)
                for source, generator in zip(("scan", "voxels"), generators, strict=True)
            ]
            maps = [sample.annotations.depth for sample in samples]
            assert maps[0].shape == (1, *IMAGE_SIZE)
            assert (maps[0] > 0).float().mean() > 0.2
            assert torch.equal(*maps)
            expected = depth_maps(read_scan(root / "sequences/00/velodyne/000000.bin"), samples[0].inputs)
            assert torch.equal(maps[0], expected)

    def test_the_pool_pass_opens_no_scan(self, root, openings):
        self.write_scans(root)
        openings.clear()
        sample = dataset(root, depth="scan").sample(0, annotations=False, label_mask=True)
        assert sample.annotations is None
        assert not [name for name in openings if "velodyne" in name]

    def test_missing_and_damaged_scans_are_named(self, root):
        for split, first in (("train", "5 of 5 .*00/velodyne/000000.bin"), ("val", "1 of 1 .*08/velodyne/000000.bin")):
            with pytest.raises(DataFileError, match=rf"{first}; data.depth=voxels"):
                dataset(root, split=split, depth="scan")
        self.write_scans(root)
        subject = dataset(root, depth="scan")
        assert subject.paths(0)["scan"] == "sequences/00/velodyne/000000.bin"
        assert subject.label_problems(0) == []
        (root / "sequences/00/velodyne/000000.bin").unlink()
        assert ["velodyne/000000.bin" in problem for problem in subject.label_problems(0)] == [True]
        (root / "sequences/00/velodyne/000000.bin").write_bytes(b"12345678")
        assert "points of four numbers" in subject.label_problems(0)[0]
        with pytest.raises(DataFileError, match="points of four numbers"):
            subject.sample(0)

    def test_unknown_source(self, pristine):
        with pytest.raises(ValueError, match="depth must be one of scan, voxels"):
            dataset(pristine, depth="radar")


def test_flips_along_z_turn_labels_and_frame(pristine):
    plain = dataset(pristine, flip_y=0.0).sample(0)
    turned = dataset(pristine, flip_y=0.0, flip_z=1.0, jitter=NO_JITTER).sample(0, generator=np.random.default_rng(0))
    assert torch.equal(turned.annotations.semantics, plain.annotations.semantics.flip(2))
    top = turned.inputs.bda @ torch.tensor([1.0, 2.0, 4.4, 1.0])
    torch.testing.assert_close(top, torch.tensor([1.0, 2.0, -2.0, 1.0]))


def test_the_published_projection_can_be_put_together_again(pristine):
    inputs = dataset(pristine).sample(0, annotations=False).inputs
    np.testing.assert_allclose(inputs.projection_shift[0], P2[:, 3], rtol=1e-6)


class TestPredictions:
    @pytest.mark.parametrize("shape", [NATIVE_GRID.shape, (64, 64, 8), (32, 128, 1)])
    def test_what_is_written_is_read_back(self, tmp_path, shape):
        semantics = np.random.default_rng(0).integers(0, 20, shape).astype(np.uint8)
        write_label(tmp_path / "000000.label", semantics)
        read = read_label(tmp_path / "000000.label")
        fine = np.kron(semantics, np.ones([n // c for n, c in zip(NATIVE_GRID.shape, shape, strict=True)], np.uint8))
        np.testing.assert_array_equal(read, fine)

    @pytest.mark.parametrize(
        ("semantics", "message"),
        [(np.zeros((60, 64, 8)), "divides"), (np.zeros((64, 64)), "divides"), (np.full((64, 64, 8), 255), "classes")],
    )
    def test_what_is_no_prediction_is_refused(self, tmp_path, semantics, message):
        with pytest.raises(ValueError, match=message):
            write_label(tmp_path / "000000.label", semantics.astype(np.uint8))
