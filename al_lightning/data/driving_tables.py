"""What planning needs of the tables of a nuScenes-format set, kept as arrays.

Shape letters: N keyframes, C cameras, M boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from al_lightning.data.driving_agents import TrackedBoxes
from al_lightning.data.driving_motion import Array, EgoPoses, Rows
from al_lightning.data.json_tables import Record, by_token, read_records, read_tables
from al_lightning.data.nuscenes_tables import TABLES, numbers, pose_matrices, read_shots, record_poses
from al_lightning.data.splits import SampleIndex
from al_lightning.driving import AGENT_CLASSES

CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_FRONT_LEFT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT")
"""VAD's order; its embeddings of the cameras depend on it."""
LIDAR = "LIDAR_TOP"
BOX_TABLES = ("category", "instance", "sample_annotation")
"""What there has to be for the objects, beside `nuscenes_tables.TABLES`."""


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
        root: folder that holds the folder of the tables and ``samples``.
        version: name of the folder of the tables, such as "v1.0-trainval".

    Raises:
        DataFileError: a table is missing or damaged, tables contradict each other, or a sensor is missing.
    """
    return read_tables(root / version, (*TABLES, *BOX_TABLES), _frames)


def _frames(folder: Path) -> DriveFrames:
    shots = read_shots(folder, (*CAMERAS, LIDAR))
    sensor2ego, ego2global = record_poses(shots.calibrations), record_poses(shots.poses)
    rotation = np.array([row[-1]["rotation"] for row in shots.poses], dtype=np.float64)
    poses = EgoPoses(sensor2ego[:, -1], ego2global[:, -1], rotation)
    intrinsics = [[record["camera_intrinsic"] for record in row[:-1]] for row in shots.calibrations]
    return DriveFrames(
        shots.index(ego2global[:, -1]),
        np.array([sample["timestamp"] for sample in shots.samples], dtype=np.int64),
        [files[:-1] for files in shots.files],
        numbers(intrinsics, (3, 3), "camera_intrinsic"),
        np.linalg.inv(poses.lidar2global)[:, None] @ ego2global[:, :-1] @ sensor2ego[:, :-1],
        poses,
        _boxes(folder, shots.samples),
    )


def _boxes(folder: Path, samples: list[Record]) -> TrackedBoxes:
    """The boxes of the ten classes, in the order of the samples and then of the table."""
    label_of, row_of = _labels(folder), {sample["token"]: row for row, sample in enumerate(samples)}
    boxes = read_records(folder, "sample_annotation", lambda box: label_of[box["instance_token"]] is not None)
    boxes.sort(key=lambda box: row_of[box["sample_token"]])
    rows = np.array([row_of[box["sample_token"]] for box in boxes], dtype=np.int64)
    position = {box["token"]: number for number, box in enumerate(boxes)}
    before, after = (
        np.array([position.get(box[side], -1) for box in boxes], dtype=np.int64) for side in ("prev", "next")
    )
    ends = np.cumsum(np.bincount(rows, minlength=len(samples)))
    return TrackedBoxes(
        center=_column(boxes, "translation", 3),
        size=_column(boxes, "size", 3),
        rotation=pose_matrices(_column(boxes, "rotation", 4), np.zeros((len(boxes), 3)))[:, :3, :3],
        seconds=np.array([1e-6 * sample["timestamp"] for sample in samples])[rows],
        label=np.array([label_of[box["instance_token"]] for box in boxes], dtype=np.int64),
        lidar_points=np.array([box["num_lidar_pts"] for box in boxes], dtype=np.int64),
        radar_points=np.array([box["num_radar_pts"] for box in boxes], dtype=np.int64),
        preceding=before,
        following=after,
        begin=np.append(0, ends[:-1]),
        end=ends,
    )


def _labels(folder: Path) -> dict[str, int | None]:
    """Token of an instance -> position in `AGENT_CLASSES`; None where nuScenes does not detect its category."""
    from nuscenes.eval.detection.utils import category_to_detection_name  # takes a second: it imports matplotlib

    categories, instances = (by_token(read_records(folder, name)) for name in ("category", "instance"))
    names = {token: category_to_detection_name(record["name"]) for token, record in categories.items()}
    label_of = {token: None if name is None else AGENT_CLASSES.index(name) for token, name in names.items()}
    return {token: label_of[record["category_token"]] for token, record in instances.items()}


def _column(boxes: list[Record], key: str, size: int) -> Array:
    values = np.array([box[key] for box in boxes], dtype=np.float64)
    if boxes and (values.shape != (len(boxes), size) or not np.isfinite(values).all()):
        raise ValueError(f"{key} of a sample_annotation must be {size} finite numbers")
    return values.reshape(-1, size)
