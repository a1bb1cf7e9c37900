"""Writes small sets in nuScenes' format for planning: curved drives, moving objects, a map and a CAN bus."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from fake_nuscenes import token, write_nuscenes
from pyquaternion import Quaternion

VERSION = "v1.0-sim"
LOCATION = "boston-seaport"
SCENES = {"scene-0003": 9, "scene-0002": 1, "scene-0001": 8, "scene-0012": 7}
"""Name -> keyframes; scenes 3 and 12 belong to val."""
DESCRIPTIONS = {"scene-0001": "Night, parked cars", "scene-0002": "Rain", "scene-0003": "Wet road at night"}
CURVES = {"scene-0001": 0.25, "scene-0002": 0.0, "scene-0003": -0.25, "scene-0012": 0.01}  # yaw rate, rad/s
CATEGORIES = (
    "vehicle.car",
    "vehicle.bus.bendy",
    "human.pedestrian.child",
    "human.pedestrian.stroller",
    "movable_object.barrier",
    "movable_object.trafficcone",
    "vehicle.emergency.police",
)


def write_drives(root: Path, seed: int = 0) -> None:
    """Write `SCENES`; scene 12 has no CAN bus."""
    write_nuscenes(root, SCENES, descriptions=DESCRIPTIONS, locations=dict.fromkeys(SCENES, LOCATION), seed=seed)
    rng = np.random.default_rng(seed)
    scenes = {row["token"]: row["name"] for row in read_table(root, "scene")}
    samples = {row["token"]: row for row in read_table(root, "sample")}
    name_of = {key: scenes[row["scene_token"]] for key, row in samples.items()}
    begin = {}
    for key, row in samples.items():
        begin[name_of[key]] = min(row["timestamp"], begin.get(name_of[key], row["timestamp"]))
    shots = {row["ego_pose_token"]: row["sample_token"] for row in read_table(root, "sample_data")}
    poses = read_table(root, "ego_pose")
    for row in poses:
        name = name_of[shots[row["token"]]]
        row["translation"], row["rotation"] = _pose(name, 1e-6 * (row["timestamp"] - begin[name]))
    write_table(root, "ego_pose", poses)
    _write_objects(root, rng)
    _write_map(root, rng)
    for name in SCENES:
        if name != "scene-0012":
            _write_can_bus(root, name, begin[name], rng)


def read_table(root: Path, name: str) -> list[dict]:
    return json.loads((root / VERSION / f"{name}.json").read_text())


def write_table(root: Path, name: str, rows: list[dict]) -> None:
    (root / VERSION / f"{name}.json").write_text(json.dumps(rows))


def _pose(name: str, seconds: float) -> tuple[list[float], list[float]]:
    """A curve through (200, 200); the vehicle leans a little, and half of the quaternions have the other sign."""
    rate, start = CURVES[name], float(np.sum([ord(c) for c in name]))
    speed, yaw = 6.0, start + rate * seconds
    x = 200 + speed * seconds * np.sinc(rate * seconds / 2 / np.pi) * np.cos(start + rate * seconds / 2)
    y = 200 + speed * seconds * np.sinc(rate * seconds / 2 / np.pi) * np.sin(start + rate * seconds / 2)
    lean = Quaternion(axis=(1, 1, 0), radians=0.02 * np.sin(seconds))
    rotation = Quaternion(axis=(0, 0, 1), radians=yaw) * lean * (-1 if round(2 * seconds) % 2 else 1)
    return [x, y, 0.1 * seconds], list(rotation.elements)


def _write_objects(root: Path, rng: np.random.Generator) -> None:
    """Twenty-five objects a scene; each is annotated from one keyframe to another, twelve of them with gaps."""
    write_table(root, "category", [{"token": token(c), "name": c, "description": ""} for c in CATEGORIES])
    instances, boxes = [], []
    for name, keyframes in SCENES.items():
        for number in range(25):
            first, last = sorted(rng.integers(0, keyframes, 2))
            seen = [int(k) for k in range(first, last + 1)]
            if number < 12:  # gaps of one to four keyframes
                seen = [k for k in range(keyframes) if not 0 < k < 2 + number % 4]
            own = [token("box", name, number, k) for k in seen]
            category = CATEGORIES[number % len(CATEGORIES)]
            instance = token("object", name, number)
            instances.append(
                {
                    "token": instance,
                    "category_token": token(category),
                    "nbr_annotations": len(own),
                    "first_annotation_token": own[0],
                    "last_annotation_token": own[-1],
                }
            )
            boxes += _track(rng, name, seen, own, instance)
    write_table(root, "instance", instances)
    write_table(root, "sample_annotation", [boxes[i] for i in rng.permutation(len(boxes))])


def _track(rng, name, seen, own, instance):
    place = np.array([200, 200, 1.0]) + rng.uniform(-25, 25, 3) * (1, 1, 0.02)
    velocity, yaw, turn = rng.uniform(-5, 5, 3) * (1, 1, 0.01), rng.uniform(-4, 4), rng.uniform(-1.5, 1.5)
    lean = Quaternion(axis=(1, 0.3, 0), radians=rng.uniform(0, 0.1))
    return [
        {
            "token": own[i],
            "sample_token": token("sample", name, k),
            "instance_token": instance,
            "visibility_token": "4",
            "attribute_tokens": [],
            "translation": list(place + velocity * 0.5 * k + rng.normal(0, 0.1, 3)),
            "size": list(rng.uniform(0.5, 4, 3)),
            "rotation": list((Quaternion(axis=(0, 0, 1), radians=yaw + turn * 0.5 * k) * lean).elements),
            "num_lidar_pts": int(rng.integers(0, 3)),
            "num_radar_pts": int(rng.integers(0, 2)),
            "prev": own[i - 1] if i else "",
            "next": own[i + 1] if i + 1 < len(own) else "",
        }
        for i, k in enumerate(seen)
    ]


def _write_map(root: Path, rng: np.random.Generator) -> None:
    """Strewn lines and areas of all kinds around (200, 200), every other area with a hole."""
    content = {name: [] for name in ("node", "line", "polygon", "lane_connector", "road_block", "walkway", "stop_line")}
    content |= {"version": "1.3", "canvas_edge": [400.0, 400.0], "arcline_path_3": {}, "connectivity": {}}
    content |= {name: [] for name in ("drivable_area", "carpark_area", "traffic_light")}

    def nodes(points):
        for x, y in points:
            content["node"].append({"token": f"node{len(content['node'])}", "x": float(x), "y": float(y)})
        return [row["token"] for row in content["node"][-len(points) :]]

    def add(layer, key, record, extra):
        content[key].append({"token": f"{key}{len(content[key])}", **record})
        rows = content.setdefault(layer, [])
        rows.append({"token": f"{layer}{len(rows)}", f"{key}_token": content[key][-1]["token"], **extra})

    for layer in ("road_divider", "lane_divider"):
        for _ in range(15):
            points = rng.uniform(150, 250, 2) + np.cumsum(rng.normal(0, 8, (6, 2)), axis=0)
            add(layer, "line", {"node_tokens": nodes(points)}, {"lane_divider_segments": []})
        add(layer, "line", {"node_tokens": []}, {"lane_divider_segments": []})
    for layer, count, size in (("road_segment", 8, 15), ("lane", 8, 6), ("ped_crossing", 12, 4)):
        for number in range(count):
            angles = np.linspace(0, 2 * np.pi, 4 + 4 * number, endpoint=False)
            ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(0.5, 1, (len(angles), 1))
            middle = rng.uniform(165, 235, 2)
            holes = [{"node_tokens": nodes(middle + 0.3 * size * ring)}] if number % 2 else []
            outline = nodes(middle + size * ring)
            lane = {"left_lane_divider_segments": [], "right_lane_divider_segments": []}
            add(layer, "polygon", {"exterior_node_tokens": outline, "holes": holes}, lane if layer == "lane" else {})
    bow = nodes([(195, 195), (205, 205), (205, 195), (195, 205)])  # crosses itself: left out
    add("road_segment", "polygon", {"exterior_node_tokens": bow, "holes": []}, {})
    (root / "maps" / "expansion").mkdir(parents=True)
    (root / "maps" / "expansion" / f"{LOCATION}.json").write_text(json.dumps(content))


def _write_can_bus(root: Path, name: str, begin: int, rng: np.random.Generator) -> None:
    """Poses at about 50 Hz from 0.1 s after the first keyframe, steering at about 100 Hz; both end early."""
    folder = root / "can_bus"
    folder.mkdir(exist_ok=True)
    end = begin + 500_000 * (SCENES[name] - 1) - 100_000
    keys = {"accel": 3, "orientation": 4, "pos": 3, "rotation_rate": 3, "vel": 3}
    poses = [
        {"utime": int(t), **{key: rng.normal(size=size).tolist() for key, size in keys.items()}}
        for t in range(begin + 100_000, max(end, begin + 200_000), 20_011)
    ]
    steering = [{"utime": int(t), "value": rng.normal()} for t in range(begin - 5_000, max(end, begin), 9_993)]
    for kind, messages in (("pose", poses), ("steeranglefeedback", steering)):
        (folder / f"{name}_{kind}.json").write_text(json.dumps(messages))
