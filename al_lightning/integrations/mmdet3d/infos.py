"""Info files in mmdet3d's layout (version 2) from the tables of a nuScenes-format set, key frames without sweeps.

For nuScenes itself mmdet3d's own converter writes them with sweeps; this one reads any set with nuScenes' tables.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_lightning.data.nuscenes_tables import CAMERAS, pose_matrices, read_keyframes
from al_lightning.data.splits import OfficialSplit, SplitStrategy
from al_lightning.simulation.generate import ensure
from al_lightning.simulation.vocabulary import VERSION

CLASSES = (
    "car", "truck", "trailer", "bus", "construction_vehicle", "bicycle", "motorcycle", "pedestrian", "traffic_cone",
    "barrier",
)  # fmt: skip
"""Classes in the order of the labels of mmdet3d's info files of nuScenes."""

DEFAULT_SPLITS = OfficialSplit()


def prepare_simulated(root: str, preset: str, seed: int = 0) -> None:
    """A simulated world with info files; see `al_lightning.simulation.generate.ensure`.

    Args:
        root: its folder.
        preset: its size.
        seed: source of everything random.
    """
    write_infos(ensure(root, preset, seed), VERSION)


def write_infos(root: Path, version: str, splits: SplitStrategy = DEFAULT_SPLITS, folder: Path | None = None) -> None:
    """Write ``nuscenes_infos_train.pkl`` and ``nuscenes_infos_val.pkl``.

    Beside mmdet3d's keys, each frame has the ``description`` of its scene.

    Args:
        root: folder that holds the folder of the tables and ``samples``.
        version: name of the folder of the tables.
        splits: which key frames belong to which file.
        folder: where to write; None for the root.

    Raises:
        DataFileError: the tables cannot be read.
    """
    from nuscenes import NuScenes  # takes a second: it imports matplotlib and OpenCV

    samples = read_keyframes(root, version).samples
    tables = NuScenes(version, str(root), verbose=False)
    for name, rows in splits(samples).items():
        tokens = [samples.tokens[row] for row in np.flatnonzero(rows)]
        frames = _frames(tables, tokens)
        metainfo = {
            "categories": {name: label for label, name in enumerate(CLASSES)},
            "dataset": "nuscenes",
            "version": version,
            "info_version": "1.1",
        }
        partial = (folder or root) / f".nuscenes_infos_{name}.{os.getpid()}.partial"
        partial.write_bytes(pickle.dumps({"metainfo": metainfo, "data_list": frames}))
        partial.replace(partial.with_name(f"nuscenes_infos_{name}.pkl"))


def _frames(tables: Any, tokens: list[str]) -> list[dict[str, Any]]:
    return [{"sample_idx": row} | _frame(tables, tables.get("sample", token)) for row, token in enumerate(tokens)]


def _frame(tables: Any, sample: Mapping[str, Any]) -> dict[str, Any]:
    lidar = tables.get("sample_data", sample["data"]["LIDAR_TOP"])
    lidar2ego, ego2global = _poses(tables, lidar)
    return {
        "token": sample["token"],
        "timestamp": lidar["timestamp"] / 1e6,
        "description": tables.get("scene", sample["scene_token"])["description"],
        "ego2global": ego2global.tolist(),
        "lidar_points": {
            "num_pts_feats": 5,
            "lidar_path": Path(lidar["filename"]).name,
            "lidar2ego": lidar2ego.tolist(),
        },
        "images": {
            name: _image(tables, tables.get("sample_data", sample["data"][name]), ego2global @ lidar2ego)
            for name in CAMERAS
        },
        "instances": _instances(tables, sample, np.linalg.inv(ego2global @ lidar2ego)),
    }


def _image(tables: Any, shot: Mapping[str, Any], lidar2global: NDArray[np.float64]) -> dict[str, Any]:
    cam2ego, ego2global = _poses(tables, shot)
    calibration = tables.get("calibrated_sensor", shot["calibrated_sensor_token"])
    return {
        "img_path": Path(shot["filename"]).name,
        "cam2img": calibration["camera_intrinsic"],
        "cam2ego": cam2ego.tolist(),
        "lidar2cam": (np.linalg.inv(ego2global @ cam2ego) @ lidar2global).tolist(),
        "sample_data_token": shot["token"],
        "timestamp": shot["timestamp"] / 1e6,
    }


def _poses(tables: Any, shot: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sensor to ego frame and ego frame to global, each (4, 4)."""
    records = (
        tables.get("calibrated_sensor", shot["calibrated_sensor_token"]),
        tables.get("ego_pose", shot["ego_pose_token"]),
    )
    sensor2ego, ego2global = (
        pose_matrices(np.array(record["rotation"]), np.array(record["translation"])) for record in records
    )
    return sensor2ego, ego2global


def _instances(tables: Any, sample: Mapping[str, Any], global2lidar: NDArray[np.float64]) -> list[dict[str, Any]]:
    """The boxes of the ten classes, in the LiDAR frame."""
    from nuscenes.eval.detection.utils import category_to_detection_name  # the devkit is slow to import

    found = []
    for token in sample["anns"]:
        record = tables.get("sample_annotation", token)
        name = category_to_detection_name(record["category_name"])
        if name is not None:
            found.append(_instance(record, CLASSES.index(name), tables.box_velocity(token), global2lidar))
    return found


def _instance(
    record: Mapping[str, Any], label: int, velocity: NDArray[np.float64], global2lidar: NDArray[np.float64]
) -> dict[str, Any]:
    pose = global2lidar @ pose_matrices(np.array(record["rotation"]), np.array(record["translation"]))
    width, length, height = record["size"]
    yaw = float(np.arctan2(pose[1, 0], pose[0, 0]))
    return {
        "bbox_label": label,
        "bbox_label_3d": label,
        "bbox_3d": [*pose[:3, 3].tolist(), length, width, height, yaw],
        "bbox_3d_isvalid": record["num_lidar_pts"] + record["num_radar_pts"] > 0,
        "velocity": (global2lidar[:3, :3] @ velocity)[:2].tolist(),  # not a number where an object is seen only once
        "num_lidar_pts": record["num_lidar_pts"],
        "num_radar_pts": record["num_radar_pts"],
    }
