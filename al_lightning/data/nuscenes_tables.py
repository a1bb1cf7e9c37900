"""Keyframes of a nuScenes-format set, read from its tables and kept as a few arrays.

Shape letters: N keyframes, C cameras or other sensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from al_lightning.data.cameras import CameraRig
from al_lightning.data.json_tables import Record, by_token, read_records, read_tables
from al_lightning.data.splits import SampleIndex

CAMERAS = ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT")
"""FlashOcc's order; weights do not depend on it, but the first camera's ego pose is the reference."""
TABLES = ("calibrated_sensor", "ego_pose", "log", "sample", "sample_data", "scene", "sensor")
"""What there has to be for keyframes."""
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
        root: folder that holds the folder of the tables and ``samples``.
        version: name of the folder of the tables, such as "v1.0-trainval".

    Raises:
        DataFileError: a table is missing or damaged, tables contradict each other, or a camera is missing.
    """
    return read_tables(root / version, TABLES, _keyframes)


def _keyframes(folder: Path) -> Keyframes:
    shots = read_shots(folder, CAMERAS)
    ego2global = record_poses(shots.poses)
    intrinsics = [[record["camera_intrinsic"] for record in row] for row in shots.calibrations]
    return Keyframes(
        shots.index(ego2global[:, 0]),
        shots.files,
        numbers(intrinsics, (3, 3), "camera_intrinsic"),
        record_poses(shots.calibrations),
        ego2global,
    )


@dataclass(frozen=True)
class Shots:
    """What sensors recorded at the keyframes, by scene name and then by time: C records for each of the N keyframes.

    Attributes:
        samples: N records of ``sample``.
        scenes: the record of ``scene`` to which each belongs.
        locations: name of its map.
        files: files of the C sensors, relative to the root.
        calibrations: records of ``calibrated_sensor``.
        poses: records of ``ego_pose``.
    """

    samples: list[Record]
    scenes: list[Record]
    locations: list[str]
    files: list[tuple[str, ...]]
    calibrations: list[list[Record]]
    poses: list[list[Record]]

    def index(self, ego2global: NDArray[np.float64]) -> SampleIndex:
        """The keyframes, at these poses (N, 4, 4) of the ego vehicle."""
        return SampleIndex(
            tuple(sample["token"] for sample in self.samples),
            tuple(scene["name"] for scene in self.scenes),
            tuple(scene["description"] for scene in self.scenes),
            tuple(self.locations),
            ego2global[:, :2, 3].copy(),
        )


def read_shots(folder: Path, channels: Sequence[str]) -> Shots:
    """Read the `TABLES` for these sensors.

    Raises:
        DataFileError: a table is damaged.
        KeyError: a record lacks a key, or refers to a record that is not there.
        ValueError: there is no keyframe, or one lacks a sensor.
    """
    scenes, logs, sensors, calibrations = (
        by_token(read_records(folder, name)) for name in ("scene", "log", "sensor", "calibrated_sensor")
    )
    channel_of = {token: sensors[record["sensor_token"]]["channel"] for token, record in calibrations.items()}
    samples = read_records(folder, "sample")
    samples.sort(key=lambda sample: (scenes[sample["scene_token"]]["name"], sample["timestamp"]))
    shots = _shots(folder, samples, channels, channel_of)
    needed = {shot["ego_pose_token"] for row in shots for shot in row}
    poses = by_token(read_records(folder, "ego_pose", lambda record: record["token"] in needed))
    scene_of = [scenes[sample["scene_token"]] for sample in samples]
    _check_texts((scene["description"] for scene in scene_of), "scene.description")
    _check_texts((shot["filename"] for row in shots for shot in row), "sample_data.filename")
    return Shots(
        samples,
        scene_of,
        [logs[scene["log_token"]]["location"] for scene in scene_of],
        [tuple(shot["filename"] for shot in row) for row in shots],
        [[calibrations[shot["calibrated_sensor_token"]] for shot in row] for row in shots],
        [[poses[shot["ego_pose_token"]] for shot in row] for row in shots],
    )


def _shots(
    folder: Path, samples: Sequence[Record], channels: Sequence[str], channel_of: Mapping[str, str]
) -> list[list[Record]]:
    """The ``sample_data`` of each sample, in the order of the channels."""
    if not samples:
        raise ValueError("there is no sample")

    def wanted(shot: Record) -> bool:
        return shot["is_key_frame"] and channel_of[shot["calibrated_sensor_token"]] in channels

    found: dict[str, dict[str, Record]] = {sample["token"]: {} for sample in samples}
    for shot in read_records(folder, "sample_data", wanted):
        found[shot["sample_token"]][channel_of[shot["calibrated_sensor_token"]]] = shot
    for token, shots in found.items():
        missing = [name for name in channels if name not in shots]
        if missing:
            raise ValueError(f"sample {token} has no {', '.join(missing)}")
    return [[found[sample["token"]][name] for name in channels] for sample in samples]


def _check_texts(values: Iterable[Any], name: str) -> None:
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name} must be a text everywhere")


def record_poses(records: list[list[Record]]) -> NDArray[np.float64]:
    """Poses (N, C, 4, 4) of N x C records with a rotation and a translation.

    Raises:
        ValueError: they are not finite numbers, or a rotation is 0.
    """
    rotation, translation = (
        numbers([[record[key] for record in row] for row in records], (size,), key)
        for key, size in (("rotation", 4), ("translation", 3))
    )
    return pose_matrices(rotation, translation)


def numbers(values: ArrayLike, shape: tuple[int, ...], name: str) -> NDArray[np.float64]:
    """Values (N, C, *shape) of a column.

    Raises:
        ValueError: they are not finite numbers of that shape.
    """
    try:
        array = np.array(values, dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{name} must be {shape} everywhere: {error}") from error
    if array.shape[2:] != shape or not np.isfinite(array).all():
        raise ValueError(f"{name} must be {shape} finite numbers everywhere")
    return array


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
