"""The rows that a scene adds to the tables of nuScenes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from al_lightning.simulation.plan import ScenePlan
from al_lightning.simulation.sensors.rig import CAMERAS, LIDAR, EgoPose
from al_lightning.simulation.vocabulary import (
    ATTRIBUTES,
    CHANNELS,
    MAP_MASKS,
    Row,
    Rows,
    token,
    visibility_token,
)
from al_lightning.simulation.world import Track

KEYFRAME_MICROSECONDS = 500_000


@dataclass(frozen=True)
class Sighting:
    """What the sensors got of an object in a keyframe.

    Attributes:
        lidar_points: LiDAR returns from it.
        visibility: share of its pixels that are seen, over all cameras; 0 where no camera looks at it.
    """

    lidar_points: int
    visibility: float


def rotation_about_z(yaw: float) -> list[float]:
    """Unit quaternion (w, x, y, z)."""
    return [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))]


def file_name(plan: ScenePlan, channel: str, keyframe: int) -> str:
    """Path of a sensor's file of a keyframe, relative to the root."""
    ending = "pcd.bin" if channel == "LIDAR_TOP" else "jpg"
    moment = plan.timestamp + keyframe * KEYFRAME_MICROSECONDS
    return f"samples/{channel}/{plan.logfile}__{channel}__{moment}.{ending}"


def sample_token(world: str, plan: ScenePlan, keyframe: int) -> str:
    """Token of a keyframe."""
    return token(world, plan.name, "sample", keyframe)


def map_rows(logs: Sequence[Row], locations: Iterable[str]) -> list[Row]:
    """One row for each location, with the logs recorded there."""
    return [
        {
            "category": "semantic_prior",
            "token": token("map", location),
            "filename": f"maps/{MAP_MASKS[location]}.png",
            "log_tokens": [log["token"] for log in logs if log["location"] == location],
        }
        for location in locations
    ]


def scene_rows(world: str, plan: ScenePlan, description: str, keyframes: int) -> Rows:
    """Rows of the scene, its log and its samples.

    Args:
        world: name of the data set, part of every token.
        plan: the scene.
        description: what there is to see.
        keyframes: how many.
    """
    scene, log = token(world, plan.name, "scene"), token(world, plan.name, "log")
    samples = [sample_token(world, plan, keyframe) for keyframe in range(keyframes)]
    return {
        "log": [
            {
                "token": log,
                "logfile": plan.logfile,
                "vehicle": "sim",
                "date_captured": plan.start.strftime("%Y-%m-%d"),
                "location": plan.location,
            }
        ],
        "scene": [
            {
                "token": scene,
                "log_token": log,
                "nbr_samples": keyframes,
                "first_sample_token": samples[0],
                "last_sample_token": samples[-1],
                "name": plan.name,
                "description": description,
            }
        ],
        "sample": [
            {
                "token": own,
                "timestamp": plan.timestamp + keyframe * KEYFRAME_MICROSECONDS,
                "prev": samples[keyframe - 1] if keyframe else "",
                "next": samples[keyframe + 1] if keyframe + 1 < keyframes else "",
                "scene_token": scene,
            }
            for keyframe, own in enumerate(samples)
        ],
    }


def sensor_rows(world: str, plan: ScenePlan, ego: Sequence[EgoPose], image_size: tuple[int, int]) -> Rows:
    """Rows of the calibration, of every file of the sensors and of the vehicle's pose at each.

    Args:
        world: name of the data set.
        plan: the scene.
        ego: pose at each keyframe.
        image_size: (H, W) of the images.
    """
    rows: Rows = {"calibrated_sensor": [], "sample_data": [], "ego_pose": []}
    for channel in CHANNELS:
        rows["calibrated_sensor"].append(_calibration_row(world, plan, channel, image_size))
        tokens = [token(world, plan.name, channel, keyframe) for keyframe in range(len(ego))]
        for keyframe, (own, (x, y, yaw)) in enumerate(zip(tokens, ego, strict=True)):
            moment = plan.timestamp + keyframe * KEYFRAME_MICROSECONDS
            rows["ego_pose"].append(
                {"token": own, "timestamp": moment, "rotation": rotation_about_z(yaw), "translation": [x, y, 0.0]}
            )
            rows["sample_data"].append(
                {
                    "token": own,
                    "sample_token": sample_token(world, plan, keyframe),
                    "ego_pose_token": own,  # the same, as in nuScenes
                    "calibrated_sensor_token": rows["calibrated_sensor"][-1]["token"],
                    "timestamp": moment,
                    "fileformat": "pcd" if channel == "LIDAR_TOP" else "jpg",
                    "is_key_frame": True,
                    "height": 0 if channel == "LIDAR_TOP" else image_size[0],
                    "width": 0 if channel == "LIDAR_TOP" else image_size[1],
                    "filename": file_name(plan, channel, keyframe),
                    "prev": tokens[keyframe - 1] if keyframe else "",
                    "next": tokens[keyframe + 1] if keyframe + 1 < len(ego) else "",
                }
            )
    return rows


def _calibration_row(world: str, plan: ScenePlan, channel: str, image_size: tuple[int, int]) -> Row:
    mount = LIDAR if channel == "LIDAR_TOP" else CAMERAS[channel]
    return {
        "token": token(world, plan.name, "calibrated_sensor", channel),
        "sensor_token": token("sensor", channel),
        "translation": mount.translation.tolist(),
        "rotation": mount.rotation.tolist(),
        "camera_intrinsic": [] if channel == "LIDAR_TOP" else CAMERAS[channel].scaled(image_size).tolist(),
    }


def annotation_rows(
    world: str, plan: ScenePlan, tracks: Sequence[Track], steps: Sequence[int], sightings: Sequence[Sequence[Sighting]]
) -> Rows:
    """Rows of the objects that the LiDAR saw, from the first to the last keyframe in which it did.

    Args:
        world: name of the data set.
        plan: the scene.
        tracks: all objects.
        steps: time step of each keyframe.
        sightings: for each keyframe, one for each track.
    """
    rows: Rows = {"instance": [], "sample_annotation": []}
    for number, track in enumerate(tracks):
        seen = [keyframe for keyframe, all_ in enumerate(sightings) if all_[number].lidar_points]
        if not seen:
            continue
        instance = token(world, plan.name, "instance", number)
        keyframes = range(seen[0], seen[-1] + 1)
        tokens = {keyframe: token(world, plan.name, "annotation", number, keyframe) for keyframe in keyframes}
        rows["instance"].append(
            {
                "token": instance,
                "category_token": token("category", track.category),
                "nbr_annotations": len(keyframes),
                "first_annotation_token": tokens[keyframes[0]],
                "last_annotation_token": tokens[keyframes[-1]],
            }
        )
        rows["sample_annotation"] += [
            {
                "token": tokens[keyframe],
                "sample_token": sample_token(world, plan, keyframe),
                "instance_token": instance,
                **_box(track, steps[keyframe]),
                "visibility_token": visibility_token(sightings[keyframe][number].visibility),
                "num_lidar_pts": sightings[keyframe][number].lidar_points,
                "num_radar_pts": 0,
                "prev": tokens.get(keyframe - 1, ""),
                "next": tokens.get(keyframe + 1, ""),
            }
            for keyframe in keyframes
        ]
    return rows


def _box(track: Track, step: int) -> Row:
    x, y, yaw = (float(value) for value in track.poses[step])
    attribute = track.attributes[step]
    if attribute and attribute not in ATTRIBUTES:
        raise ValueError(f"nuScenes has no attribute '{attribute}'")
    return {
        "attribute_tokens": [token("attribute", attribute)] if attribute else [],
        "translation": [x, y, track.size[2] / 2],
        "size": [float(value) for value in track.size],
        "rotation": rotation_about_z(yaw),
    }


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Write a table, one row a line."""
    path.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")
