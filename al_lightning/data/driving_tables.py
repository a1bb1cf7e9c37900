"""What planning needs of the tables of a nuScenes-format set, read by nuscenes-devkit and kept as arrays.

Shape letters: N keyframes, C cameras, M boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from al_lightning.data.driving_agents import TrackedBoxes
from al_lightning.data.driving_motion import Array, EgoPoses, Rows
from al_lightning.data.nuscenes_tables import pose_matrices, read_tables
from al_lightning.data.splits import SampleIndex
from al_lightning.driving import AGENT_CLASSES

CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_FRONT_LEFT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT")
"""VAD's order; its embeddings of the cameras depend on it."""
LIDAR = "LIDAR_TOP"


@dataclass(frozen=True)
class DriveFrames:
    """Keyframes as columns, by scene name and then by time.

    Attributes:
        samples: the N keyframes.
        timestamps: (N,) int64 microseconds.
        images: C image files of each keyframe, relative to the root.
        intrinsics: (N, C, 3, 3) pinhole matrices of the images on disk, pixels.
        camera2lidar: (N, C, 4, 4) camera at its exposure to LiDAR frame of the keyframe.
        poses: of the N keyframes.
        boxes: of the N keyframes.
    """

    samples: SampleIndex
    timestamps: Rows
    images: Sequence[tuple[str, ...]]
    intrinsics: Array
    camera2lidar: Array
    poses: EgoPoses
    boxes: TrackedBoxes

    def take(self, rows: Rows) -> DriveFrames:
        """The keyframes with these numbers."""
        return DriveFrames(
            self.samples.take(rows),
            self.timestamps[rows],
            [self.images[row] for row in rows],
            self.intrinsics[rows],
            self.camera2lidar[rows],
            self.poses.take(rows),
            self.boxes.take(rows),
        )


def read_drive_frames(root: Path, version: str) -> DriveFrames:
    """All keyframes of a set; read once a process, as long as the tables stay as they are.

    Args:
        root: folder that holds the folder of the tables, ``samples`` and ``maps``.
        version: name of the folder of the tables, such as "v1.0-trainval".

    Raises:
        DataFileError: a table is missing or damaged, tables contradict each other, or a sensor is missing.
    """
    return read_tables(root, version, _frames)


def _frames(tables: Any) -> DriveFrames:
    """Keyframes of an open `nuscenes.NuScenes`."""
    scenes = {scene["token"]: scene for scene in tables.scene}
    samples = sorted(tables.sample, key=lambda sample: (scenes[sample["scene_token"]]["name"], sample["timestamp"]))
    if not samples:
        raise ValueError("there is no sample")
    scene_of = [scenes[sample["scene_token"]] for sample in samples]
    shots = [_shots(tables, sample) for sample in samples]
    calibrations = [[tables.get("calibrated_sensor", shot["calibrated_sensor_token"]) for shot in row] for row in shots]
    ego_poses = [[tables.get("ego_pose", shot["ego_pose_token"]) for shot in row] for row in shots]
    sensor2ego, ego2global = _poses(calibrations), _poses(ego_poses)
    poses = EgoPoses(
        sensor2ego[:, -1], ego2global[:, -1], _numbers([[row[-1]["rotation"] for row in ego_poses]], (4,))[0]
    )
    intrinsics = [[record["camera_intrinsic"] for record in row[:-1]] for row in calibrations]
    return DriveFrames(
        SampleIndex(
            tuple(sample["token"] for sample in samples),
            tuple(scene["name"] for scene in scene_of),
            tuple(scene["description"] for scene in scene_of),
            tuple(tables.get("log", scene["log_token"])["location"] for scene in scene_of),
            ego2global[:, -1, :2, 3].copy(),
        ),
        np.array([sample["timestamp"] for sample in samples], dtype=np.int64),
        [tuple(shot["filename"] for shot in row[:-1]) for row in shots],
        _numbers(intrinsics, (3, 3)),
        np.linalg.inv(poses.lidar2global)[:, None] @ ego2global[:, :-1] @ sensor2ego[:, :-1],
        poses,
        _boxes(tables, samples),
    )


def _shots(tables: Any, sample: dict[str, Any]) -> list[dict[str, Any]]:
    """The sample_data of the cameras and, last, of the LiDAR."""
    channels = (*CAMERAS, LIDAR)
    missing = [name for name in channels if name not in sample["data"]]
    if missing:
        raise ValueError(f"sample {sample['token']} has no {', '.join(missing)}")
    return [tables.get("sample_data", sample["data"][name]) for name in channels]


def _poses(records: list[list[dict[str, Any]]]) -> Array:
    """Poses (N, C + 1, 4, 4) of records with a rotation and a translation."""
    rotation = _numbers([[record["rotation"] for record in row] for row in records], (4,))
    return pose_matrices(rotation, _numbers([[record["translation"] for record in row] for row in records], (3,)))


def _numbers(values: list[list[Any]], shape: tuple[int, ...]) -> Array:
    """Values (N, C, *shape) of a column."""
    numbers = np.array(values, dtype=np.float64)
    if numbers.shape[2:] != shape or not np.isfinite(numbers).all():
        raise ValueError(f"poses and pinhole matrices must be {shape} finite numbers everywhere")
    return numbers


def _boxes(tables: Any, samples: list[dict[str, Any]]) -> TrackedBoxes:
    """The boxes of the ten classes, in the order of the samples."""
    label_of = _labels(tables)
    kept = [
        [
            box
            for box in (tables.get("sample_annotation", token) for token in sample["anns"])
            if _category(tables, box) in label_of
        ]
        for sample in samples
    ]
    boxes = [box for own in kept for box in own]
    seconds = np.repeat([1e-6 * sample["timestamp"] for sample in samples], [len(own) for own in kept])
    position = {box["token"]: number for number, box in enumerate(boxes)}
    before, after = (
        np.array([position.get(box[side], -1) for box in boxes], dtype=np.int64) for side in ("prev", "next")
    )
    ends = np.cumsum([len(own) for own in kept])
    return TrackedBoxes(
        center=_column(boxes, "translation", 3),
        size=_column(boxes, "size", 3),
        rotation=pose_matrices(_column(boxes, "rotation", 4), np.zeros((len(boxes), 3)))[:, :3, :3],
        seconds=seconds,
        label=np.array([label_of[_category(tables, box)] for box in boxes], dtype=np.int64),
        lidar_points=np.array([box["num_lidar_pts"] for box in boxes], dtype=np.int64),
        radar_points=np.array([box["num_radar_pts"] for box in boxes], dtype=np.int64),
        preceding=before,
        following=after,
        begin=np.append(0, ends[:-1]),
        end=ends,
    )


def _labels(tables: Any) -> dict[str, int]:
    """Token of a category -> position in `AGENT_CLASSES`, without the categories that are not detected."""
    from nuscenes.eval.detection.utils import category_to_detection_name

    names = {category["token"]: category_to_detection_name(category["name"]) for category in tables.category}
    return {token: AGENT_CLASSES.index(name) for token, name in names.items() if name is not None}


def _category(tables: Any, box: dict[str, Any]) -> str:
    return str(tables.get("instance", box["instance_token"])["category_token"])


def _column(boxes: list[dict[str, Any]], key: str, size: int) -> Array:
    values = np.array([box[key] for box in boxes], dtype=np.float64)
    if boxes and (values.shape != (len(boxes), size) or not np.isfinite(values).all()):
        raise ValueError(f"{key} of a sample_annotation must be {size} finite numbers")
    return values.reshape(-1, size)
