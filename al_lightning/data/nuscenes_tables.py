"""The tables of a nuScenes-format set, read by nuscenes-devkit and kept as a few arrays.

Shape letters: N keyframes, C cameras.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from al_lightning.data.cameras import CameraRig
from al_lightning.data.splits import SampleIndex
from al_lightning.types import DataFileError

CAMERAS = ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT")
"""FlashOcc's order; weights do not depend on it, but the first camera's ego pose is the reference."""
TABLES = (
    "attribute",
    "calibrated_sensor",
    "category",
    "ego_pose",
    "instance",
    "log",
    "map",
    "sample",
    "sample_annotation",
    "sample_data",
    "scene",
    "sensor",
    "visibility",
)
T = TypeVar("T")
SUBSET_WORDS = {"night": r"\bnight", "rain": r"\b(rain|wet)"}
"""Words of the scene descriptions, from their beginning: "train" is no rain, "rainy" is."""


@dataclass(frozen=True)
class Keyframes:
    """Keyframes as columns, by scene name and then by time.

    Attributes:
        samples: the N keyframes.
        images: C image files of each keyframe, relative to the root.
        intrinsics: (N, C, 3, 3) float64 pinhole matrices, pixels.
        sensor2ego: (N, C, 4, 4) float64 camera to ego frame.
        ego2global: (N, C, 4, 4) float64 ego to global frame at the time of the camera's exposure.
    """

    samples: SampleIndex
    images: Sequence[tuple[str, ...]]
    intrinsics: NDArray[np.float64]
    sensor2ego: NDArray[np.float64]
    ego2global: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64]) -> Keyframes:
        """The keyframes with these numbers."""
        return Keyframes(
            self.samples.take(rows),
            [self.images[row] for row in rows],
            self.intrinsics[rows],
            self.sensor2ego[rows],
            self.ego2global[rows],
        )

    def rig(self, row: int, root: Path) -> CameraRig:
        """The cameras of a keyframe."""
        files = [root / name for name in self.images[row]]
        return CameraRig(files, self.intrinsics[row], self.sensor2ego[row], self.ego2global[row])


def read_keyframes(root: Path, version: str) -> Keyframes:
    """All keyframes of a set; read once a process, as long as the tables stay as they are.

    Args:
        root: folder that holds the folder of the tables, ``samples`` and ``maps``.
        version: name of the folder of the tables, such as "v1.0-trainval".

    Raises:
        DataFileError: a table is missing or damaged, tables contradict each other, or a camera is missing.
    """
    return read_tables(root, version, _keyframes)


def read_tables(root: Path, version: str, read: Callable[[Any], T]) -> T:
    """What a function makes of the open tables; called once a process, as long as the tables stay as they are.

    Args:
        root: folder that holds the folder of the tables, ``samples`` and ``maps``.
        version: name of the folder of the tables, such as "v1.0-trainval".
        read: takes an open `nuscenes.NuScenes`.

    Raises:
        DataFileError: a table is missing or damaged, or the function finds the tables to contradict each other.
    """
    paths = [root / version / f"{name}.json" for name in TABLES]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataFileError(f"{len(missing)} of {len(TABLES)} tables are missing; the first: {missing[0]}")
    made: T = _read_unchanged_tables(root, version, read, tuple(path.stat().st_mtime_ns for path in paths))
    return made


@lru_cache(maxsize=2)
def _read_unchanged_tables(root: Path, version: str, read: Callable[[Any], Any], changed_at: tuple[int, ...]) -> Any:
    del changed_at  # only a part of the cache's key
    from nuscenes import NuScenes  # takes a second: it imports matplotlib and OpenCV

    try:
        return read(NuScenes(version, str(root), verbose=False))
    except json.JSONDecodeError as error:
        raise DataFileError(f"cannot read the table {_damaged_table(root / version)}: {error}") from error
    except KeyError as error:
        raise DataFileError(f"the tables in {root / version} lack the key or the record {error}") from error
    except (AssertionError, IndexError, OSError, TypeError, ValueError) as error:
        raise DataFileError(f"cannot read the tables in {root / version}: {error}") from error


def _damaged_table(folder: Path) -> Path:
    """The first table that is no JSON; nuscenes-devkit does not say which."""
    for path in (folder / f"{name}.json" for name in TABLES):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            return path
    return folder


def _keyframes(tables: Any) -> Keyframes:
    """Keyframes of an open `nuscenes.NuScenes`."""
    scenes = {scene["token"]: scene for scene in tables.scene}
    samples = sorted(tables.sample, key=lambda sample: (scenes[sample["scene_token"]]["name"], sample["timestamp"]))
    if not samples:
        raise ValueError("there is no sample")
    shots = [_shots(tables, sample) for sample in samples]
    _check_texts((scene["description"] for scene in tables.scene), "scene.description")
    _check_texts((shot["filename"] for row in shots for shot in row), "sample_data.filename")
    calibrations = [[tables.get("calibrated_sensor", shot["calibrated_sensor_token"]) for shot in row] for row in shots]
    poses = [[tables.get("ego_pose", shot["ego_pose_token"]) for shot in row] for row in shots]
    ego2global = _record_poses(poses)
    scene_of = [scenes[sample["scene_token"]] for sample in samples]
    return Keyframes(
        SampleIndex(
            tuple(sample["token"] for sample in samples),
            tuple(scene["name"] for scene in scene_of),
            tuple(scene["description"] for scene in scene_of),
            tuple(tables.get("log", scene["log_token"])["location"] for scene in scene_of),
            ego2global[:, 0, :2, 3].copy(),
        ),
        [tuple(shot["filename"] for shot in row) for row in shots],
        _numbers([[record["camera_intrinsic"] for record in row] for row in calibrations], (3, 3), "camera_intrinsic"),
        _record_poses(calibrations),
        ego2global,
    )


def _check_texts(values: Iterable[Any], name: str) -> None:
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name} must be a text everywhere")


def _shots(tables: Any, sample: dict[str, Any]) -> list[dict[str, Any]]:
    """The sample_data of the cameras of a sample."""
    missing = [name for name in CAMERAS if name not in sample["data"]]
    if missing:
        raise ValueError(f"sample {sample['token']} has no {', '.join(missing)}")
    return [tables.get("sample_data", sample["data"][name]) for name in CAMERAS]


def _record_poses(records: list[list[dict[str, Any]]]) -> NDArray[np.float64]:
    """Poses (N, C, 4, 4) of the records of a table."""
    rotation, translation = (
        _numbers([[record[key] for record in row] for row in records], (size,), key)
        for key, size in (("rotation", 4), ("translation", 3))
    )
    return pose_matrices(rotation, translation)


def _numbers(values: ArrayLike, shape: tuple[int, ...], name: str) -> NDArray[np.float64]:
    """Values (N, C, *shape) of a column."""
    try:
        numbers = np.array(values, dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{name} must be {shape} everywhere: {error}") from error
    if numbers.shape[2:] != shape or not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be {shape} finite numbers everywhere")
    return numbers


def pose_matrices(rotation: NDArray[np.float64], translation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rigid transforms.

    Args:
        rotation: (..., 4) quaternions w, x, y, z; they need not be of unit length.
        translation: (..., 3) metres.

    Returns:
        (..., 4, 4) float64.

    Raises:
        ValueError: a quaternion is 0.
    """
    length = np.linalg.norm(rotation, axis=-1, keepdims=True)
    if not (length > 0).all():
        raise ValueError("a rotation is the quaternion 0")
    w, x, y, z = np.moveaxis(rotation / length, -1, 0)
    pose = np.zeros((*rotation.shape[:-1], 4, 4))
    pose[..., 0, :3] = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], axis=-1)
    pose[..., 1, :3] = np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], axis=-1)
    pose[..., 2, :3] = np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], axis=-1)
    pose[..., :3, 3] = translation
    pose[..., 3, 3] = 1.0
    return pose


def weather_subsets(descriptions: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """``night`` and ``rain``, each (N,) bool, by the words of the scene descriptions."""
    return {
        name: np.array([re.search(words, text, re.IGNORECASE) is not None for text in descriptions])
        for name, words in SUBSET_WORDS.items()
    }


def missing_files(root: Path, names: Iterable[str]) -> list[str]:
    """Which of these files, relative to the root, are not there; every folder is listed once.

    Raises:
        DataFileError: a folder cannot be listed.
    """
    listed: dict[str, set[str]] = {}
    missing = []
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder not in listed:
            listed[folder] = _entries(root / folder)
        if file not in listed[folder]:
            missing.append(name)
    return missing


def _entries(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise DataFileError(f"cannot list {folder}: {error.strerror or error}") from error
