"""Reading of tables: poses against pyquaternion, keyframes against nuscenes-devkit, on written and real tables."""

import gc
import shutil
from pathlib import Path

import numpy as np
import pytest
from fake_nuscenes import write_nuscenes
from nuscenes import NuScenes
from pyquaternion import Quaternion

from al_lightning.data import Occ3DNuScenes, RandomSceneSplit
from al_lightning.data.driving_tables import read_drive_frames
from al_lightning.data.nuscenes_tables import (
    CAMERAS,
    pose_matrices,
    read_keyframes,
    weather_subsets,
)
from al_lightning.data.occ3d_files import NATIVE_GRID
from al_lightning.simulation.vocabulary import VERSION
from al_lightning.types import DataFileError

LYFT = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "tables" / "lyft_1sample"
lyft = pytest.mark.skipif(not LYFT.is_dir(), reason=f"real tables not found in {LYFT}")


def pose(record):
    matrix = Quaternion(record["rotation"]).transformation_matrix
    matrix[:3, 3] = record["translation"]
    return matrix


def assert_keyframes_are_the_devkits(keyframes, tables):
    assert len(keyframes.samples) == len(keyframes.images) == len(tables.sample)
    for row, sample_token in enumerate(keyframes.samples.tokens):
        sample = tables.get("sample", sample_token)
        scene = tables.get("scene", sample["scene_token"])
        assert keyframes.samples.scenes[row] == scene["name"]
        assert keyframes.samples.descriptions[row] == scene["description"]
        assert keyframes.samples.locations[row] == tables.get("log", scene["log_token"])["location"]
        for n, channel in enumerate(CAMERAS):
            path, _, intrinsics = tables.get_sample_data(sample["data"][channel])
            shot = tables.get("sample_data", sample["data"][channel])
            assert str(Path(tables.dataroot) / keyframes.images[row][n]) == path
            np.testing.assert_array_equal(keyframes.intrinsics[row, n], intrinsics)
            sensor2ego = pose(tables.get("calibrated_sensor", shot["calibrated_sensor_token"]))
            ego2global = pose(tables.get("ego_pose", shot["ego_pose_token"]))
            np.testing.assert_allclose(keyframes.sensor2ego[row, n], sensor2ego, atol=1e-12)
            np.testing.assert_allclose(keyframes.ego2global[row, n], ego2global, atol=1e-9)
        np.testing.assert_array_equal(keyframes.samples.positions[row], keyframes.ego2global[row, 0, :2, 3])


def test_poses_equal_pyquaternions():
    rng = np.random.default_rng(0)
    rotation, translation = rng.normal(size=(50, 4)), rng.normal(size=(50, 3))
    poses = pose_matrices(rotation.reshape(10, 5, 4), translation.reshape(10, 5, 3)).reshape(50, 4, 4)
    for matrix, q, t in zip(poses, rotation, translation, strict=True):
        np.testing.assert_allclose(matrix, pose({"rotation": q, "translation": t}), atol=1e-12)
    np.testing.assert_array_equal(pose_matrices(np.array([1.0, 0, 0, 0]), np.zeros(3)), np.eye(4))
    with pytest.raises(ValueError, match="quaternion 0"):
        pose_matrices(np.zeros((1, 4)), np.zeros((1, 3)))


def test_keyframes_equal_the_devkits(tmp_path):
    write_nuscenes(tmp_path, {"scene-0002": 2, "scene-0001": 3}, locations={"scene-0002": "boston-seaport"})
    keyframes, tables = read_keyframes(tmp_path, "v1.0-sim"), NuScenes("v1.0-sim", str(tmp_path), verbose=False)
    assert_keyframes_are_the_devkits(keyframes, tables)
    assert list(keyframes.samples.scenes) == ["scene-0001"] * 3 + ["scene-0002"] * 2
    times = [tables.get("sample", sample_token)["timestamp"] for sample_token in keyframes.samples.tokens]
    assert times[:3] == sorted(times[:3])
    assert times[3:] == sorted(times[3:])


def test_some_of_the_keyframes(tmp_path):
    write_nuscenes(tmp_path, {"scene-0001": 4})
    keyframes = read_keyframes(tmp_path, "v1.0-sim")
    some = keyframes.take(np.array([3, 1]))
    assert some.samples.tokens == [keyframes.samples.tokens[3], keyframes.samples.tokens[1]]
    rig, expected = some.rig(0, tmp_path), keyframes.rig(3, tmp_path)
    assert rig.images == expected.images == [tmp_path / name for name in keyframes.images[3]]
    for name in ("intrinsics", "sensor2ego", "ego2global"):
        np.testing.assert_array_equal(getattr(rig, name), getattr(expected, name))


@pytest.mark.parametrize(
    ("description", "subsets"),
    [
        ("Night, Rain, big street, bus stop, high speed", {"night", "rain"}),
        ("Raining, parked cars", {"rain"}),
        ("Parked cars, wet ground", {"rain"}),
        ("Very difficult lighting at NIGHT", {"night"}),
        ("Drain cover, wait for train, midnight-blue van", set()),
        ("", set()),
    ],
)
def test_night_and_rain_are_words_of_the_description(description, subsets):
    found = weather_subsets([description, "Sunny"])
    assert {name for name, rows in found.items() if rows[0]} == subsets
    assert not any(rows[1] for rows in found.values())
    assert all(rows.dtype == bool for rows in found.values())


def test_keyframes_of_a_simulated_world_equal_the_devkits(tiny_world):
    tables = NuScenes(VERSION, str(tiny_world), verbose=False)
    assert_keyframes_are_the_devkits(read_keyframes(tiny_world, VERSION), tables)


def test_nothing_of_the_tables_is_kept_but_columns(tmp_path):
    """The collector of cycles is off: what is left now may be left for as long as a run takes."""

    def records():
        return sum(type(thing) is dict and "translation" in thing for thing in gc.get_objects())

    write_nuscenes(tmp_path, {"scene-0001": 2})
    gc.collect()
    gc.disable()
    try:
        before = records()
        kept = read_keyframes(tmp_path, "v1.0-sim"), read_drive_frames(tmp_path, "v1.0-sim")
        assert (len(kept), records()) == (2, before)
    finally:
        gc.enable()


def test_tables_and_maps_of_other_tasks_are_neither_read_nor_wanted(tmp_path):
    """LiDAR segmentation often lies beside the tables, its labels elsewhere; priors of the map are never looked at."""
    write_nuscenes(tmp_path, {"scene-0001": 2})
    tables = tmp_path / "v1.0-sim"
    for name in ("lidarseg", "panoptic"):
        (tables / f"{name}.json").write_text('[{"token": "0", "filename": "lidarseg/v1.0-sim/0_lidarseg.bin"}]')
    for name in ("attribute", "map", "visibility"):
        (tables / f"{name}.json").unlink()
    shutil.rmtree(tmp_path / "maps")
    assert (
        len(read_keyframes(tmp_path, "v1.0-sim").samples) == len(read_drive_frames(tmp_path, "v1.0-sim").samples) == 2
    )


@lyft
def test_real_tables_of_lyft_read_as_the_devkit_reads_them():
    """Its six cameras have nuScenes' names (a seventh, CAM_FRONT_ZOOMED, is left aside); images are not there."""
    keyframes = read_keyframes(LYFT, "v1.01-train")
    assert_keyframes_are_the_devkits(keyframes, NuScenes("v1.01-train", str(LYFT), verbose=False))
    assert keyframes.samples.locations == ("Palo Alto",)
    assert keyframes.intrinsics.shape == (1, 6, 3, 3)
    assert (keyframes.intrinsics[:, :, 0, 0] > 500).all()


@lyft
def test_real_tables_without_images_are_refused():
    class Everything(RandomSceneSplit):
        def __call__(self, samples):
            return dict.fromkeys(("train", "val"), np.ones(len(samples), dtype=bool))

    with pytest.raises(DataFileError, match=r"6 of 6 images of the train split .*images/host-a101_cam5_\d+\.jpeg"):
        Occ3DNuScenes(str(LYFT), NATIVE_GRID, "v1.01-train", splits=Everything(0.5))
