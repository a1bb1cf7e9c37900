"""Writes a small set in nuScenes' format with LiDAR and objects of several classes around the vehicle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from fake_nuscenes import token, write_nuscenes
from pyquaternion import Quaternion

VERSION = "v1.0-sim"
SCENES = {"scene-0001": 3, "scene-0002": 3, "scene-0003": 2}
"""Name -> keyframes; scene 3 belongs to val."""
DESCRIPTIONS = {"scene-0002": "Rain", "scene-0003": "Night"}
OBJECTS = {
    "vehicle.car": (1.9, 4.6, 1.6),
    "vehicle.bicycle": (0.6, 1.8, 1.4),
    "human.pedestrian.adult": (0.7, 0.7, 1.8),
    "movable_object.trafficcone": (0.4, 0.4, 0.7),
    "static_object.bicycle_rack": (3.0, 8.0, 1.5),
    "animal": (0.3, 0.8, 0.5),
}
"""Category -> width, length, height."""
MOVES = {"vehicle.car": 4.0, "human.pedestrian.adult": 1.2}
"""Category -> speed along the object's own length, m/s."""


def write_boxes(root: Path, seed: int = 0, version: str = VERSION) -> None:
    """Three objects of each category a scene; every bicycle but the first stands in a rack."""
    write_nuscenes(root, SCENES, descriptions=DESCRIPTIONS, version=version, seed=seed)
    rng = np.random.default_rng(seed)
    tables = {name: json.loads((root / version / f"{name}.json").read_text()) for name in ("sample", "scene")}
    names = {row["token"]: row["name"] for row in tables["scene"]}
    instances: list[dict] = []
    boxes: list[dict] = []
    for scene, number in ((name, number) for number, name in enumerate(SCENES)):
        samples = [row for row in tables["sample"] if names[row["scene_token"]] == scene]
        samples.sort(key=lambda row: row["timestamp"])
        found = _objects(scene, samples, 500.0 + 1000.0 * number, rng)
        instances += found[0]
        boxes += found[1]
        for frame, sample in enumerate(samples):
            _write_points(
                root, version, scene, frame, [box for box in boxes if box["sample_token"] == sample["token"]], rng
            )
    rows = {
        "category": [{"token": token(name), "name": name, "description": ""} for name in OBJECTS],
        "attribute": [{"token": token("attribute"), "name": "vehicle.moving", "description": ""}],
        "instance": instances,
        "sample_annotation": boxes,
    }
    for name, table in rows.items():
        (root / version / f"{name}.json").write_text(json.dumps(table))


def prepare(root: str) -> None:
    """The set with info files, as an experiment's ``prepare``."""
    from al_lightning.integrations.mmdet3d import write_infos

    write_boxes(Path(root))
    write_infos(Path(root), VERSION)


def keep(root: str) -> None:
    """In place of `prepare` where the set is there."""


def _objects(scene: str, samples: list[dict], start: float, rng: np.random.Generator) -> tuple[list[dict], list[dict]]:
    instances, boxes = [], []
    racks = rng.uniform(-20, 20, (3, 2))
    for category, size in OBJECTS.items():
        for number in range(3):
            place = rng.uniform(-25, 25, 2)
            if category == "static_object.bicycle_rack" or (category == "vehicle.bicycle" and number):
                place = racks[number]
            yaw = float(rng.uniform(-3, 3))
            tokens = [token("box", scene, category, number, frame) for frame in range(len(samples))]
            instance = token("instance", scene, category, number)
            instances.append(
                {
                    "token": instance,
                    "category_token": token(category),
                    "nbr_annotations": len(tokens),
                    "first_annotation_token": tokens[0],
                    "last_annotation_token": tokens[-1],
                }
            )
            for frame, sample in enumerate(samples):
                way = MOVES.get(category, 0.0) * 0.5 * frame * np.array([np.cos(yaw), np.sin(yaw)])
                x, y = place + way
                boxes.append(
                    {
                        "token": tokens[frame],
                        "sample_token": sample["token"],
                        "instance_token": instance,
                        "visibility_token": "4",
                        "attribute_tokens": [token("attribute")] if category == "vehicle.car" else [],
                        "translation": [start + x, 700.0 + y, size[2] / 2],
                        "size": list(size),
                        "rotation": list(Quaternion(axis=(0, 0, 1), radians=yaw).elements),
                        "num_lidar_pts": 0 if (category, number) == ("vehicle.car", 2) else 20,
                        "num_radar_pts": 0,
                        "prev": tokens[frame - 1] if frame else "",
                        "next": tokens[frame + 1] if frame + 1 < len(tokens) else "",
                    }
                )
    return instances, boxes


def _write_points(
    root: Path, version: str, scene: str, frame: int, boxes: list[dict], rng: np.random.Generator
) -> None:
    """Ground and points inside the boxes, in the LiDAR frame: x, y, z, intensity, ring."""
    file = f"samples/LIDAR_TOP/{scene}__LIDAR_TOP__{frame:03d}.pcd.bin"
    tables = {
        name: {row["token"]: row for row in json.loads((root / version / f"{name}.json").read_text())}
        for name in ("sample_data", "ego_pose", "calibrated_sensor")
    }
    shot = next(row for row in tables["sample_data"].values() if row["filename"] == file)
    points = [np.c_[rng.uniform(-40, 40, (1500, 2)), np.full(1500, -1.8)]]
    to_lidar = np.eye(4)
    for name in ("calibrated_sensor", "ego_pose"):  # the last to be undone comes first
        row = tables[name][shot[f"{name}_token"]]
        pose = Quaternion(row["rotation"]).unit.transformation_matrix
        pose[:3, 3] = row["translation"]
        to_lidar = to_lidar @ np.linalg.inv(pose)
    for box in boxes:
        local = rng.uniform(-0.5, 0.5, (20, 3)) * np.array(box["size"])[[1, 0, 2]]
        world = local @ Quaternion(box["rotation"]).rotation_matrix.T + box["translation"]
        points.append(world @ to_lidar[:3, :3].T + to_lidar[:3, 3])
    cloud = np.zeros((sum(map(len, points)), 5), np.float32)
    cloud[:, :3] = np.concatenate(points)
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    cloud.tofile(root / file)
