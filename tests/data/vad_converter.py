"""What VAD's converter and loader make of a keyframe, sample by sample with nuscenes-devkit, as a reference."""

import math

import numpy as np
from nuscenes.eval.common.utils import quaternion_yaw
from nuscenes.eval.detection.utils import category_to_detection_name
from pyquaternion import Quaternion

CLASSES = [
    *("car", "truck", "construction_vehicle", "bus", "trailer"),
    *("barrier", "motorcycle", "bicycle", "pedestrian", "traffic_cone"),
]


def records(nusc, sample):
    """sample_data, ego pose and calibration of the LiDAR."""
    data = nusc.get("sample_data", sample["data"]["LIDAR_TOP"])
    return (
        data,
        nusc.get("ego_pose", data["ego_pose_token"]),
        nusc.get("calibrated_sensor", data["calibrated_sensor_token"]),
    )


def lidar2global(nusc, sample):
    _, pose, calibration = records(nusc, sample)
    matrices = []
    for record in (pose, calibration):
        matrix = np.eye(4)
        matrix[:3, :3] = Quaternion(record["rotation"]).rotation_matrix
        matrix[:3, 3] = record["translation"]
        matrices.append(matrix)
    return matrices[0] @ matrices[1]


def into_lidar(nusc, sample, points):
    """Global points (P, 3) in the LiDAR frame of a sample."""
    _, pose, calibration = records(nusc, sample)
    for record in (pose, calibration):
        points = (points - np.array(record["translation"])) @ Quaternion(record["rotation"]).inverse.rotation_matrix.T
    return points


def neighbours(nusc, sample, side, count):
    """Up to ``count`` samples before or after, the nearest first."""
    found = []
    while len(found) < count and sample[side]:
        sample = nusc.get("sample", sample[side])
        found.append(sample)
    return found


def future(nusc, sample):
    """Displacements (6, 2), mask (6,), command."""
    samples = [sample, *neighbours(nusc, sample, "next", 6)]
    places = np.array([lidar2global(nusc, s)[:3, 3] for s in samples])
    mask = np.arange(1, 7) < len(samples)
    places = into_lidar(nusc, sample, np.concatenate([places, np.repeat(places[-1:], 7 - len(places), axis=0)]))
    command = 0 if places[-1, 0] >= 2 else 1 if places[-1, 0] <= -2 else 2
    return np.diff(places[:, :2], axis=0), mask, command


def history(nusc, sample):
    """Displacements (2, 2); the oldest known one goes on backwards."""
    before = [sample, *neighbours(nusc, sample, "prev", 2)]
    places = [lidar2global(nusc, s)[:3, 3] for s in before]
    if len(before) == 1:
        after = neighbours(nusc, sample, "next", 1)
        step = lidar2global(nusc, after[0])[:3, 3] - places[0] if after else np.zeros(3)
    else:
        step = places[-2] - places[-1]
    while len(places) < 3:
        places.append(places[-1] - step)
    return np.diff(into_lidar(nusc, sample, np.array(places[::-1]))[:, :2], axis=0)


def can_bus(nusc, reader, sample, previous):
    """(18,) after the loader, relative to the previous sample of the sequence or None."""
    vector = np.zeros(18)
    name = nusc.get("scene", sample["scene_token"])["name"]
    try:
        messages = reader.get_messages(name, "pose")
    except Exception:  # the devkit's own, where a scene has no CAN bus
        messages = []
    for message in messages:
        if message["utime"] > sample["timestamp"]:
            break
    if messages:
        vector[7:16] = message["accel"] + message["rotation_rate"] + message["vel"]
    own, last = ((Quaternion(p["rotation"]), np.array(p["translation"])) for p in _poses(nusc, sample, previous))
    degrees = [np.degrees(quaternion_yaw(rotation)) % 360 for rotation, _ in (own, last)]
    vector[:3] = own[1] - last[1]
    vector[3:7] = own[0].w
    vector[16], vector[17] = np.radians(degrees[0]), degrees[0] - degrees[1]
    return vector


def _poses(nusc, sample, previous):
    return [records(nusc, s)[1] for s in (sample, previous or sample)]


def status(nusc, reader, sample):
    """(9,); `gt_ego_lcf_feat`."""
    before, after = neighbours(nusc, sample, "prev", 1), neighbours(nusc, sample, "next", 1)
    pair = [before[0], sample] if before else [sample, *after, sample][:2]
    start, end = (records(nusc, s)[1] for s in pair)
    pace = np.linalg.norm(np.subtract(end["translation"], start["translation"])[:2]) / 0.5
    yaw = _misread_yaw(records(nusc, sample)[1]["rotation"])
    rate = (_misread_yaw(end["rotation"]) - _misread_yaw(start["rotation"])) / 0.5
    scene = nusc.get("scene", sample["scene_token"])
    try:
        poses, steering = (reader.get_messages(scene["name"], kind) for kind in ("pose", "steeranglefeedback"))
        speed = _nearest(poses, sample["timestamp"])["vel"][0]
        curvature = 2 * _nearest(steering, sample["timestamp"])["value"] / 2.588
        if nusc.get("log", scene["log_token"])["location"].startswith("singapore"):
            curvature *= -1
    except Exception:  # as in the official code: whatever is missing
        speed = np.linalg.norm(history(nusc, sample)[-1] + future(nusc, sample)[0][0])
        curvature = 0
    acceleration = can_bus(nusc, reader, sample, None)[7:9]
    forward = yaw + np.pi / 2
    return [pace * math.cos(forward), pace * math.sin(forward), *acceleration, rate, 4.084, 1.85, speed, curvature]


def _misread_yaw(rotation):
    x, y, z, w = rotation
    return math.atan2(2 * (w * z + x * y), 1 - 2 * (z * z + y * y))


def _nearest(messages, moment):
    return min(reversed(messages), key=lambda message: abs(message["utime"] - moment))


def agents(nusc, sample, hit):
    """Boxes (A, 9), labels (A,), futures (A, 6, 2), mask (A, 6), yaw changes (A, 6) that VAD keeps."""
    rows = []
    _, boxes, _ = nusc.get_sample_data(sample["data"]["LIDAR_TOP"])
    by_token = {box.token: box for box in boxes}
    for token in sample["anns"]:
        box, record = by_token[token], nusc.get("sample_annotation", token)
        name = category_to_detection_name(record["category_name"])
        if name is None or not hit(record) or not (abs(box.center[0]) < 15 and abs(box.center[1]) < 30):
            continue
        velocity = np.nan_to_num(nusc.box_velocity(token))
        turned = into_lidar(nusc, sample, np.array([velocity, np.zeros(3)]))
        stored = -box.orientation.yaw_pitch_roll[0] - np.pi / 2
        row = [*box.center, *box.wlh, stored, *(turned[0] - turned[1])[:2]]
        rows.append((row, CLASSES.index(name), *_agent_future(nusc, sample, record)))
    return rows


def _agent_future(nusc, sample, record):
    steps, mask, turns = np.zeros((6, 2)), np.zeros(6, bool), np.zeros(6)
    _, pose, calibration = records(nusc, sample)
    box = _box(nusc, record, pose, calibration)
    for k in range(6):
        if not record["next"]:
            break
        record = nusc.get("sample_annotation", record["next"])
        following = _box(nusc, record, pose, calibration)
        steps[k], mask[k] = following.center[:2] - box.center[:2], True
        turns[k] = quaternion_yaw(following.orientation) - quaternion_yaw(box.orientation)
        box = following
    return steps, mask, turns


def _box(nusc, record, pose, calibration):
    box = nusc.get_box(record["token"])
    for frame in (pose, calibration):
        box.translate(-np.array(frame["translation"]))
        box.rotate(Quaternion(frame["rotation"]).inverse)
    return box


def lidar2img(nusc, sample, channel, ratio):
    """(4, 4) of a camera, through the global frame, both ego poses included."""
    data = nusc.get("sample_data", sample["data"][channel])
    calibration, pose = (nusc.get(t, data[f"{t}_token"]) for t in ("calibrated_sensor", "ego_pose"))
    matrix = lidar2global(nusc, sample)
    for record in (pose, calibration):
        inverse = np.eye(4)
        inverse[:3, :3] = Quaternion(record["rotation"]).rotation_matrix.T
        inverse[:3, 3] = -inverse[:3, :3] @ record["translation"]
        matrix = inverse @ matrix
    view = np.eye(4)
    view[:3, :3] = calibration["camera_intrinsic"]
    return np.diag([ratio, ratio, 1, 1]) @ view @ matrix
