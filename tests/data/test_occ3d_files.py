"""Label files of Occ3D: what is read, and what is refused."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from al_lightning.data.occ3d_files import CLASS_NAMES, FREE, NATIVE_GRID, read_label, read_mask
from al_lightning.losses.class_counts import OCC3D_NUSCENES_VOXELS
from al_lightning.types import DataFileError

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "occ3d"
LABEL = REAL / "gts" / "scene-1077" / "29796060110c4163b07f06eff4af0753" / "labels.npz"
real = pytest.mark.skipif(not LABEL.is_file(), reason=f"real label not found: {LABEL}")


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    masks = {f"mask_{name}": rng.integers(0, 2, NATIVE_GRID.shape, np.uint8) for name in ("lidar", "camera")}
    return {"semantics": rng.integers(0, 18, NATIVE_GRID.shape, np.uint8), **masks}


def write(path, arrays):
    np.savez_compressed(path, **arrays)
    return path


def test_what_was_written_is_read(tmp_path, arrays):
    path = write(tmp_path / "labels.npz", arrays)
    label = read_label(path)
    for name, values in arrays.items():
        np.testing.assert_array_equal(getattr(label, name), values)
    assert label.mask_lidar.dtype == label.mask_camera.dtype == np.bool_
    for name in ("lidar", "camera"):
        np.testing.assert_array_equal(read_mask(path, name), arrays[f"mask_{name}"])
    assert not np.array_equal(label.mask_lidar, label.mask_camera)


def test_a_mask_is_read_without_the_classes(tmp_path, arrays):
    arrays["semantics"] = arrays["semantics"][:10]  # an error for whoever reads it
    path = write(tmp_path / "labels.npz", arrays)
    np.testing.assert_array_equal(read_mask(path, "camera"), arrays["mask_camera"])
    with pytest.raises(DataFileError, match="semantics"):
        read_label(path)


def test_there_is_a_name_for_every_class():
    assert len(CLASS_NAMES) == len(OCC3D_NUSCENES_VOXELS) == 18
    assert CLASS_NAMES[FREE] == "free"
    order = [CLASS_NAMES[c] for c in np.argsort(OCC3D_NUSCENES_VOXELS)]
    assert order[:3] == ["bicycle", "motorcycle", "traffic_cone"]
    assert order[-4:] == ["manmade", "vegetation", "driveable_surface", "free"]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("semantics", lambda a: a[:, :, :8], r"semantics must be \(200, 200, 16\) uint8, found \(200, 200, 8\) uint8"),
        ("mask_camera", lambda a: a.astype(np.int64), r"mask_camera must be .* found .* int64"),
        ("semantics", lambda a: a + np.uint8(1), r"semantics must lie in 0\.\.17, found 18"),
        ("mask_lidar", lambda a: a * np.uint8(255), r"mask_lidar must lie in 0\.\.1, found 255"),
        ("mask_camera", None, "lacks mask_camera"),
        ("semantics", lambda a: a.astype(object), "cannot read the label"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, arrays, name, change, message):
    changed = {**arrays, name: change(arrays[name])} if change else {k: v for k, v in arrays.items() if k != name}
    path = write(tmp_path / "labels.npz", changed)
    with pytest.raises(DataFileError, match=message) as raised:
        read_label(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "truncated", "npy", "damaged"])
def test_files_that_cannot_be_read_are_named(tmp_path, arrays, kind):
    path = write(tmp_path / "labels.npz", arrays)
    data = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, arrays["semantics"])
    elif kind != "missing":
        middle = len(data) // 2
        damaged = data[:middle] + bytes(64) + data[middle + 64 :]
        path.write_bytes({"empty": b"", "text": b"no label", "truncated": data[:-100], "damaged": damaged}[kind])
    with pytest.raises(DataFileError) as raised:
        read_label(path)
    assert str(path) in str(raised.value)


def test_bytes_gone_wrong_give_no_other_error(tmp_path, arrays):
    """Headers of the archive and of its arrays, byte by byte."""
    data = write(tmp_path / "labels.npz", {name: values // 20 for name, values in arrays.items()}).read_bytes()
    path, rng = tmp_path / "wrong.npz", np.random.default_rng(0)
    refused = 0
    for position in (*range(60), *range(len(data) - 200, len(data))):
        wrong = bytearray(data)
        wrong[position] ^= int(rng.integers(1, 256))
        path.write_bytes(wrong)
        with contextlib.suppress(DataFileError):  # anything else fails the test; some bytes mean nothing
            read_label(path)
            continue
        refused += 1
    assert refused > 100


@real
def test_a_real_label_equals_an_independent_reading():
    label = read_label(LABEL)
    with np.load(LABEL) as archive:
        for name in ("semantics", "mask_lidar", "mask_camera"):
            np.testing.assert_array_equal(getattr(label, name), archive[name])
    assert (label.semantics == FREE).mean() > 0.9
    assert {"driveable_surface", "manmade", "vegetation", "car"} <= {CLASS_NAMES[c] for c in np.unique(label.semantics)}
    # The cameras see less than what the LiDAR has met, and all of it has been met.
    assert 0.05 < label.mask_camera.mean() < label.mask_lidar.mean() < 0.3
    assert not (label.mask_camera & ~label.mask_lidar).any()


@real
@pytest.mark.parametrize(("path", "layer"), [(LABEL, 0), (REAL / "unknown_scene" / "labels.npz", 2)])
def test_a_real_road_is_a_thin_layer_under_the_vehicle(path, layer):
    """That the third axis is z. Layer 2 holds z = 0; in scene-1077 the whole label lies 0.8 m lower, road and cars."""
    road = read_label(path).semantics == CLASS_NAMES.index("driveable_surface")
    assert (road.sum(2)[road.any(2)] == 1).mean() > 0.95
    around = road[90:110, 95:105]  # 4 m before and behind, 2 m to the sides
    assert around.any(2).mean() > 0.75
    assert set(np.nonzero(around)[2]) == {layer}


@real
def test_a_truncated_real_label_is_named(tmp_path):
    path = tmp_path / "labels.npz"
    shutil.copyfile(LABEL, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataFileError, match=r"labels\.npz"):
        read_label(path)
