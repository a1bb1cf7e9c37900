"""Writes small but valid sets in the formats of nuScenes (13 tables, images) and Occ3D (full-size labels)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from pyquaternion import Quaternion

IMAGE_SIZE = (90, 160)  # (H, W)
SPEED = 8.0  # metres a second, along +x of the map
YAWS = {  # degrees; in another order than any network's
    "CAM_BACK": 180,
    "CAM_FRONT": 0,
    "CAM_BACK_RIGHT": -110,
    "CAM_FRONT_LEFT": 55,
    "CAM_BACK_LEFT": 110,
    "CAM_FRONT_RIGHT": -55,
}
DELAYS = {channel: 0.012 * number for number, channel in enumerate(YAWS)}  # seconds from the sample to the exposure
GRAY = {channel: 40 + 30 * number for number, channel in enumerate(YAWS)}  # mean of the images of a camera
TINT = (20, 0, -20)  # of all images: red above green above blue
AXES = Quaternion(0.5, -0.5, 0.5, -0.5)  # camera (x right, y down, z forward) to a body (x forward, y left, z up)


def token(*names: object) -> str:
    """A token of 32 digits that is the same in every run."""
    return hashlib.md5(repr(names).encode()).hexdigest()


def write_nuscenes(
    root: Path | str,
    scenes: Mapping[str, int],
    *,
    descriptions: Mapping[str, str] | None = None,
    locations: Mapping[str, str] | None = None,
    version: str = "v1.0-sim",
    seed: int = 0,
) -> None:
    """Write the tables, ``samples``, ``maps`` and ``gts`` of these scenes, name -> number of keyframes.

    The vehicle drives along +x; scenes start 1000 m apart. Images are noise about the reddish grey of a camera, labels
    are noise with a road. CAM_FRONT also has an image between two keyframes, whose file is not there.
    """
    root = Path(root)
    tables = _Tables(root, seed)
    for number, (name, keyframes) in enumerate(scenes.items()):
        location = (locations or {}).get(name, "singapore-onenorth")
        tables.add_scene(name, number, keyframes, (descriptions or {}).get(name, "Parked cars"), location)
    tables.write(root / version)


class _Tables:
    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.rng = root, np.random.default_rng(seed)
        self.rows: dict[str, list[dict[str, object]]] = {
            "attribute": [{"token": token("attribute"), "name": "vehicle.moving", "description": ""}],
            "category": [{"token": token("category"), "name": "vehicle.car", "description": ""}],
            "visibility": [{"token": "4", "level": "v80-100", "description": ""}],
            **{name: [] for name in ("calibrated_sensor", "ego_pose", "instance", "log", "map", "sample")},
            **{name: [] for name in ("sample_annotation", "sample_data", "scene", "sensor")},
        }
        for channel in (*YAWS, "LIDAR_TOP"):
            modality = "lidar" if channel == "LIDAR_TOP" else "camera"
            self.rows["sensor"].append({"token": token("sensor", channel), "channel": channel, "modality": modality})

    def add_scene(self, name: str, number: int, keyframes: int, description: str, location: str) -> None:
        self._add("log", name, logfile=name, vehicle="n015", date_captured="2018-08-01", location=location)
        self._calibrate(name)
        samples = [token("sample", name, frame) for frame in range(keyframes)]
        self._add(
            "scene",
            name,
            name=name,
            description=description,
            log_token=token("log", name),
            nbr_samples=keyframes,
            first_sample_token=samples[0],
            last_sample_token=samples[-1],
        )
        boxes = [token("sample_annotation", name, frame) for frame in range(keyframes)]
        self._add(
            "instance",
            name,
            category_token=token("category"),
            nbr_annotations=keyframes,
            first_annotation_token=boxes[0],
            last_annotation_token=boxes[-1],
        )
        for frame in range(keyframes):
            around = {"prev": frame - 1, "next": frame + 1}
            seconds = 1000.0 * number + 0.5 * frame
            self._add(
                "sample",
                name,
                frame,
                scene_token=token("scene", name),
                timestamp=round(1e6 * seconds),
                **{side: samples[f] if 0 <= f < keyframes else "" for side, f in around.items()},
            )
            for channel in (*YAWS, "LIDAR_TOP"):
                self._add_shot(name, frame, channel, seconds, 500.0 + 1000.0 * number)
            self._annotate(name, frame, {side: boxes[f] if 0 <= f < keyframes else "" for side, f in around.items()})
            self._write_label(name, samples[frame])

    def _calibrate(self, scene: str) -> None:
        height, width = IMAGE_SIZE
        for channel, degrees in YAWS.items():
            rotation = Quaternion(axis=(0, 0, 1), degrees=degrees) * AXES
            self._add(
                "calibrated_sensor",
                scene,
                channel,
                sensor_token=token("sensor", channel),
                translation=[1.5, 0.4 * np.sign(np.sin(np.radians(degrees))), 1.5],
                rotation=list(rotation.elements),
                camera_intrinsic=[[0.8 * width, 0.0, width / 2 + 1], [0.0, 0.8 * width, height / 2 + 2], [0, 0, 1]],
            )
        self._add(
            "calibrated_sensor",
            scene,
            "LIDAR_TOP",
            sensor_token=token("sensor", "LIDAR_TOP"),
            translation=[0.94, 0.0, 1.84],
            rotation=[0.707, -0.006, 0.01, -0.707],
            camera_intrinsic=[],
        )

    def _add_shot(self, scene: str, frame: int, channel: str, seconds: float, start: float) -> None:
        """The sample_data of a sensor and, for one camera, a second one that is no keyframe."""
        for sweep in range(2 if channel == "CAM_FRONT" else 1):
            folder = "sweeps" if sweep else "samples"
            suffix = "pcd.bin" if channel == "LIDAR_TOP" else "jpg"
            file = f"{folder}/{channel}/{scene}__{channel}__{frame:03d}.{suffix}"
            if suffix == "jpg" and not sweep:
                self._write_image(self.root / file, GRAY[channel])
            time = seconds + DELAYS.get(channel, 0.0) + 0.25 * sweep
            self._add(
                "ego_pose",
                scene,
                frame,
                channel,
                sweep,
                timestamp=round(1e6 * time),
                translation=[start + SPEED * (time - seconds + 0.5 * frame), 700.0, 0.0],
                rotation=[1.0, 0.0, 0.0, 0.0],
            )
            self._add(
                "sample_data",
                scene,
                frame,
                channel,
                sweep,
                sample_token=token("sample", scene, frame),
                ego_pose_token=token("ego_pose", scene, frame, channel, sweep),
                calibrated_sensor_token=token("calibrated_sensor", scene, channel),
                timestamp=round(1e6 * time),
                fileformat=suffix.split(".")[0],
                is_key_frame=not sweep,
                height=IMAGE_SIZE[0] if suffix == "jpg" else 0,
                width=IMAGE_SIZE[1] if suffix == "jpg" else 0,
                filename=file,
                prev="",
                next="",
            )

    def _annotate(self, scene: str, frame: int, around: Mapping[str, str]) -> None:
        self._add(
            "sample_annotation",
            scene,
            frame,
            sample_token=token("sample", scene, frame),
            instance_token=token("instance", scene),
            visibility_token="4",
            attribute_tokens=[token("attribute")],
            translation=[520.0, 704.0, 0.8],
            size=[1.9, 4.6, 1.6],
            rotation=[1.0, 0.0, 0.0, 0.0],
            num_lidar_pts=10,
            num_radar_pts=1,
            **around,
        )

    def _write_image(self, path: Path, gray: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = self.rng.integers(-20, 21, (*IMAGE_SIZE, 3))
        Image.fromarray((gray + noise + TINT).astype(np.uint8)).save(path, quality=95)

    def _write_label(self, scene: str, sample: str) -> None:
        folder = self.root / "gts" / scene / sample
        folder.mkdir(parents=True)
        small = self.rng.choice(18, (50, 50, 4), p=[0.01] * 17 + [0.83])
        semantics = small.repeat(4, 0).repeat(4, 1).repeat(4, 2).astype(np.uint8)
        semantics[:, 90:115, 1] = 11
        masks = {}
        for name, share in (("lidar", 0.5), ("camera", 0.4)):
            blocks = self.rng.random((25, 25, 2)) < share
            masks[f"mask_{name}"] = blocks.repeat(8, 0).repeat(8, 1).repeat(8, 2).astype(np.uint8)
        np.savez_compressed(folder / "labels.npz", semantics=semantics, **masks)

    def _add(self, table: str, *names: object, **values: object) -> None:
        self.rows[table].append({"token": token(table, *names), **values})

    def write(self, folder: Path) -> None:
        """The JSON files, samples and scenes in an order that means nothing; and the map that the devkit looks for."""
        (self.root / "maps").mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(self.root / "maps" / "map.png")
        logs = [row["token"] for row in self.rows["log"]]
        self._add("map", filename="maps/map.png", category="semantic_prior", log_tokens=logs)
        folder.mkdir(parents=True)
        for name, rows in self.rows.items():
            ordered = sorted(rows, key=lambda row: str(row["token"]))
            (folder / f"{name}.json").write_text(json.dumps(ordered))
