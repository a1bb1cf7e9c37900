"""VAD's info files: real scenes against their own poses, written ones against the same drives read by the devkit."""

import io
import pickle
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import vad_converter
import yaml
from fake_drives import VERSION, write_drives
from nuscenes import NuScenes
from nuscenes.eval.common.utils import quaternion_yaw
from nuscenes.eval.detection.utils import category_to_detection_name
from pyquaternion import Quaternion

from al_lightning.acquisition import ErrorWindows
from al_lightning.config.components import check_component, instantiate
from al_lightning.data import NuScenesDriving, VADInfos
from al_lightning.data.driving_motion import VehicleSignals, ego_motion, ego_status, scene_bounds
from al_lightning.data.driving_tables import CAMERAS
from al_lightning.data.vad_info_files import BOX_SHAPES, read_infos
from al_lightning.driving import PADDING
from al_lightning.types import ActiveDataset, DataFileError, Summary, collate

PLANNING = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "planning"
CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "data"
SIZE = (96, 160)


# --- real scenes


def real_file(scene):
    path = PLANNING / f"vad_infos_{scene}.pkl"
    if not path.is_file():
        pytest.skip(f"needs the real keyframes {path}")
    return str(path)


@pytest.fixture(scope="module", params=["train", "val"])
def real(request):
    return VADInfos(real_file("scene-0103"), real_file("scene-0916"), request.param, clip=8)


def test_a_real_scene_falls_into_clips_to_train_on(real):
    clips = tuple(f"fcbccedd61424f1b85dcbf8f897f9754/{k:02d}" for k in range(5))
    assert real.units == (clips if real.split == "train" else ("325cef682f064c55a255f2625c533b75",))
    assert np.bincount(real.unit_of).tolist() == ([8] * 5 if real.split == "train" else [41])
    assert real.subsets == {}
    begins = [row for row in range(len(real)) if real.sample(row, annotations=False).inputs.new_scene]
    assert begins == ([0, 8, 16, 24, 32] if real.split == "train" else [0])
    assert all(real.label_problems(unit) == [] for unit in range(len(real.units)))
    for row in range(len(real)):
        inputs, clip = real.sample(row, annotations=False).inputs, row // 8
        inside = 7 - row % 8 if real.split == "train" and clip < 4 else 6
        assert inputs.unit_mask.tolist() == [step < inside for step in range(6)]


def test_stored_ways_and_commands_follow_from_the_poses(real):
    infos = read_infos(real.file)
    first, last = scene_bounds([info["scene_token"] for info in infos])
    lidar2global = np.stack([_pose(info, "ego2global") @ _pose(info, "lidar2ego") for info in infos])
    motion = ego_motion(lidar2global, first, last)
    for row, info in enumerate(infos):
        np.testing.assert_allclose(motion.future[row], info["gt_ego_fut_trajs"], atol=1e-6)
        np.testing.assert_allclose(motion.history[row], info["gt_ego_his_trajs"], atol=1e-6)
        np.testing.assert_array_equal(motion.future_mask[row], info["gt_ego_fut_masks"])
        assert motion.command[row] == np.argmax(info["gt_ego_fut_cmd"])
        inputs = real.sample(row, annotations=False).inputs
        np.testing.assert_array_equal(inputs.ego_future, motion.future[row])
        np.testing.assert_array_equal(inputs.command, motion.command[row])
    assert len(set(motion.command.tolist())) > 1


def test_stored_status_follows_from_the_poses(real):
    infos = read_infos(real.file)
    first, last = scene_bounds([info["scene_token"] for info in infos])
    motion = ego_motion(real._poses.lidar2global, first, last)
    left = np.array([info["map_location"].startswith("singapore") for info in infos])
    status = ego_status(real._poses, motion, VehicleSignals.unknown(len(infos)), left, first, last)
    np.testing.assert_allclose(status, [info["gt_ego_lcf_feat"] for info in infos], atol=2e-6)
    np.testing.assert_allclose(real.sample(7).inputs.ego_status, status[7], atol=2e-6)


def _pose(info, name):
    matrix = np.eye(4)
    matrix[:3, :3] = Quaternion(info[f"{name}_rotation"]).rotation_matrix
    matrix[:3, 3] = info[f"{name}_translation"]
    return matrix


def test_the_can_bus_is_filled_in_from_the_poses(real):
    before = None
    for row, info in enumerate(read_infos(real.file)):
        inputs = real.sample(row, annotations=False).inputs
        bus, before = inputs.can_bus, None if inputs.new_scene else before
        rotation, place = Quaternion(info["ego2global_rotation"]), np.array(info["ego2global_translation"])
        degrees = np.degrees(quaternion_yaw(rotation)) % 360
        np.testing.assert_allclose(bus[:3], place - before[0] if before else np.zeros(3), atol=1e-5)
        np.testing.assert_allclose(bus[3:7], [rotation.w] * 4, atol=1e-6)
        assert (bus[7:16] == 0).all()
        assert bus[16] == pytest.approx(np.radians(degrees), abs=1e-5)
        assert bus[17] == pytest.approx(degrees - before[1] if before else 0, abs=1e-4)
        before = place, degrees


def test_real_boxes_are_filtered_as_in_vad(real):
    counts = []
    for row, info in enumerate(read_infos(real.file)):
        truth = real.sample(row).annotations
        kept = [
            k
            for k, name in enumerate(info["gt_names"])
            if name in vad_converter.CLASSES
            and (info["valid_flag"][k] if real.split == "train" else info["num_lidar_pts"][k] > 0)
            and abs(info["gt_boxes"][k, 0]) < 15
            and abs(info["gt_boxes"][k, 1]) < 30
        ]
        counts.append(len(kept))
        assert (truth.labels != PADDING).sum() == len(kept)
        np.testing.assert_allclose(truth.boxes[: len(kept), :7], info["gt_boxes"][kept], rtol=1e-6, atol=1e-6)
        left = int(real.sample(row).inputs.unit_mask.sum())
        if left and (row == 0 or real.unit_of[row - 1] == real.unit_of[row]):
            velocity = np.where(np.isnan(info["gt_velocity"]), 0, info["gt_velocity"])[kept]
            np.testing.assert_allclose(truth.boxes[: len(kept), 7:], velocity, rtol=1e-6, atol=1e-6)
        futures = info["gt_agent_fut_trajs"].reshape(-1, 6, 2)[kept]
        np.testing.assert_array_equal(truth.futures[: len(kept), :left], futures[:, :left])
        np.testing.assert_array_equal(truth.future_mask[: len(kept), :left], info["gt_agent_fut_masks"][kept, :left])
        assert not truth.future_mask[:, left:].any()
        assert (truth.line_labels == PADDING).all()
    assert min(counts) > 5


def test_objects_out_of_range_are_others(real):
    for row, info in enumerate(read_infos(real.file)):
        truth = real.sample(row).annotations
        count = sum(name in vad_converter.CLASSES for name in info["gt_names"])
        assert (truth.labels != PADDING).sum() + (truth.others.labels != PADDING).sum() == count


def moved(infos, rows):
    """What the converter would write, had the boxes of some keyframes (consecutive rows) stood elsewhere."""
    changed = [dict(info) for info in infos]
    for row, info in enumerate(changed):
        if row in rows:
            info["gt_boxes"] = info["gt_boxes"] + np.array([1.0, 1, 0, 0, 0, 0, 0.1])
        futures = info["gt_agent_fut_trajs"].reshape(-1, 6, 2).copy()
        yaw, masks = info["gt_agent_fut_yaw"].copy(), info["gt_agent_fut_masks"].copy()
        for step in range(6):
            if row + step in rows or row + step + 1 in rows:
                futures[:, step] += 0.5
                yaw[:, step] += 0.1
                masks[::2, step] = 0
        info |= {"gt_agent_fut_trajs": futures.reshape(-1, 12), "gt_agent_fut_yaw": yaw, "gt_agent_fut_masks": masks}
        if row - 1 in rows or row in rows or row + 1 in rows:
            info["gt_velocity"] = info["gt_velocity"] + 1
    return changed


@pytest.mark.parametrize("clip", [0, 1, 4])
def test_the_labels_of_a_clip_are_made_of_its_own_boxes(tmp_path, clip):
    """Those of one clip of a real scene are moved: nothing changes in the others."""
    infos = read_infos(Path(real_file("scene-0103")))
    own = range(8 * clip, 8 * clip + 8)
    before, after = (write(tmp_path, i, name) for i, name in ((infos, "a.pkl"), (moved(infos, own), "b.pkl")))
    whole, clips = ([dataset(path, clip=size) for path in (before, after)] for size in (None, 8))
    plans = torch.randn(40, 1, 6, 2, generator=torch.Generator().manual_seed(0)).cumsum(2)
    changes = []
    for row in range(40):
        a, b = (asdict(subject.sample(row).annotations) for subject in clips)
        if row in own:
            assert not torch.equal(a["boxes"], b["boxes"])
        else:
            torch.testing.assert_close(a, b, rtol=0, atol=0)
            a, b = (subject.sample(row).annotations for subject in whole)
            changes.append(torch.equal(a.boxes, b.boxes) and torch.equal(a.future_mask, b.future_mask))
    assert not all(changes)  # of a whole scene they are labels of its own
    states = [safety(subject, plans) for subject in clips]
    same = (states[0] == states[1]).all(dim=1)
    assert same.tolist() == [unit != clip for unit in range(5)]


def safety(subject, plans):
    """Safety states of all clips."""
    windows = ErrorWindows()
    batch = collate([subject.sample(row, annotations=False) for row in range(len(subject))])
    units = windows.group(Summary(torch.from_numpy(subject.unit_of), windows(batch, plans)))
    return windows.with_labels(units, lambda row: subject.sample(row).annotations)["safety"]


def test_velocities_at_the_ends_of_a_clip_are_those_of_its_own_steps(real):
    """Stored ones are taken from the keyframes on both sides; those at the ends of the scene stay."""
    inner = [row for k in range(1, 5) for row in (8 * k - 1, 8 * k)] if real.split == "train" else []
    for row, info in enumerate(read_infos(real.file)):
        found = real.sample(row).annotations
        real_boxes = found.labels != PADDING
        velocity, first = found.boxes[real_boxes, 7:], found.futures[real_boxes, 0]
        if row in inner:
            torch.testing.assert_close(velocity, first / 0.5)
            assert (velocity == 0).all() == (row % 8 == 7)
        else:
            stored = np.nan_to_num(info["gt_velocity"]).astype(np.float32)
            assert all((stored == one.numpy()).all(axis=1).any() for one in velocity)


def test_without_a_root_there_is_no_camera(real):
    inputs = real.sample(3, annotations=False).inputs
    assert (inputs.images.shape, inputs.lidar2img.shape) == ((0, 3, 384, 640), (0, 4, 4))
    batch = collate([real.sample(row) for row in range(3)])
    assert batch.inputs.images.shape == (3, 0, 3, 384, 640)
    assert batch.annotations.boxes.shape == (3, 300, 9)


def test_a_published_planner_scores_as_published():
    """Distances at 1, 2 and 3 s of a real planner's output to the logged ways, 69 keyframes of both scenes."""
    path = PLANNING / "planner_predictions_val.npz"
    if not path.is_file():
        pytest.skip(f"needs the planner's output {path}")
    with np.load(path) as file:
        plan_of = dict(zip(file["token"].tolist(), file["trajectory"], strict=True))
    distances = []
    for split in ("train", "val"):
        subject = VADInfos(real_file("scene-0103"), real_file("scene-0916"), split)
        for row, info in enumerate(read_infos(subject.file)):
            inputs = subject.sample(row, annotations=False).inputs
            if inputs.ego_future_mask.all():
                way = inputs.ego_future.cumsum(dim=0).numpy()
                distances.append(np.linalg.norm(way - plan_of[info["token"]], axis=1)[[1, 3, 5]])
    assert len(distances) == 69
    np.testing.assert_allclose(np.mean(distances, axis=0), [0.25, 0.86, 2.10], atol=0.005)


# --- written files


def make_info(nusc, sample):
    """An info as VAD's converter writes it, all boxes included."""
    data, pose, calibration = vad_converter.records(nusc, sample)
    scene = nusc.get("scene", sample["scene_token"])
    future, mask, command = vad_converter.future(nusc, sample)
    boxes = {box.token: box for box in nusc.get_sample_data(data["token"])[1]}
    annotated = [nusc.get("sample_annotation", token) for token in sample["anns"]]
    ways = [vad_converter._agent_future(nusc, sample, record) for record in annotated]
    turn = vad_converter.lidar2global(nusc, sample)[:3, :3]
    count = len(annotated)
    return {
        **{key: sample[key] for key in ("token", "scene_token", "prev", "timestamp")},
        "map_location": nusc.get("log", scene["log_token"])["location"],
        "cams": {channel: _camera(nusc, sample, channel) for channel in CAMERAS},
        "can_bus": np.arange(18) / 7,
        "lidar2ego_translation": calibration["translation"],
        "lidar2ego_rotation": calibration["rotation"],
        "ego2global_translation": pose["translation"],
        "ego2global_rotation": pose["rotation"],
        "gt_ego_his_trajs": vad_converter.history(nusc, sample).astype(np.float32),
        "gt_ego_fut_trajs": future.astype(np.float32),
        "gt_ego_fut_masks": mask.astype(np.float32),
        "gt_ego_fut_cmd": np.eye(3, dtype=np.float32)[command],
        "gt_ego_lcf_feat": np.arange(9, dtype=np.float32),
        "gt_boxes": np.array(
            [[*b.center, *b.wlh, -b.orientation.yaw_pitch_roll[0] - np.pi / 2] for b in map(boxes.get, sample["anns"])]
        ).reshape(count, 7),
        "gt_names": np.array(
            [category_to_detection_name(r["category_name"]) or "animal" for r in annotated], dtype=str
        ),
        "gt_velocity": np.array([nusc.box_velocity(token) @ turn for token in sample["anns"]]).reshape(count, 3)[:, :2],
        "num_lidar_pts": np.array([r["num_lidar_pts"] for r in annotated], dtype=int),
        "valid_flag": np.array([r["num_lidar_pts"] + r["num_radar_pts"] > 0 for r in annotated], dtype=bool),
        "gt_agent_fut_trajs": np.array([way[0] for way in ways], dtype=np.float32).reshape(count, 12),
        "gt_agent_fut_masks": np.array([way[1] for way in ways], dtype=np.float32).reshape(count, 6),
        "gt_agent_fut_yaw": np.array([way[2] for way in ways], dtype=np.float32).reshape(count, 6),
        "sweeps": [],
    }


def _camera(nusc, sample, channel):
    data = nusc.get("sample_data", sample["data"][channel])
    calibration = nusc.get("calibrated_sensor", data["calibrated_sensor_token"])
    view = np.eye(4)
    view[:3, :3] = calibration["camera_intrinsic"]
    camera2lidar = np.linalg.inv(np.linalg.inv(view) @ vad_converter.lidar2img(nusc, sample, channel, 1.0))
    return {
        "data_path": f"./data/nuscenes\\{data['filename']}",
        "cam_intrinsic": np.array(calibration["camera_intrinsic"]),
        "sensor2lidar_rotation": camera2lidar[:3, :3],
        "sensor2lidar_translation": camera2lidar[:3, 3],
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("drives")
    write_drives(root)
    return root


@pytest.fixture(scope="module")
def infos(root):
    """Keyframes of two scenes, in an order that means nothing."""
    nusc = NuScenes(VERSION, str(root), verbose=False)
    names = {scene["token"]: scene["name"] for scene in nusc.scene}
    chosen = [s for s in nusc.sample if names[s["scene_token"]] in ("scene-0003", "scene-0012")]
    return [make_info(nusc, sample) for sample in sorted(chosen, key=lambda sample: sample["token"])]


def write(tmp_path, infos, name="infos.pkl"):
    path = tmp_path / name
    path.write_bytes(pickle.dumps({"infos": infos, "metadata": {"version": VERSION}}))
    return str(path)


def dataset(path, **arguments):
    return VADInfos(path, path, **{"image_size": SIZE, **arguments})


def test_samples_are_those_of_the_data_set_itself(root, infos, tmp_path):
    subject = dataset(write(tmp_path, infos), split="val", root=str(root), images=True, maps=True)
    other = NuScenesDriving(str(root), VERSION, "val", image_size=SIZE)
    assert np.bincount(subject.unit_of).tolist() == [9, 7]
    for row in range(len(other)):
        a, b = subject.sample(row), other.sample(row)
        for name in ("images", "new_scene", "command", "ego_future_mask"):
            torch.testing.assert_close(getattr(a.inputs, name), getattr(b.inputs, name), rtol=0, atol=0)
        for name in ("lidar2img", "ego_history", "ego_future"):
            torch.testing.assert_close(getattr(a.inputs, name), getattr(b.inputs, name), rtol=1e-5, atol=1e-3)
        others = [*range(7), 16, 17]
        torch.testing.assert_close(a.inputs.can_bus[others], b.inputs.can_bus[others], rtol=1e-6, atol=1e-5)
        np.testing.assert_allclose(a.inputs.can_bus[7:16], np.arange(7, 16) / 7, rtol=1e-6)
        np.testing.assert_array_equal(a.inputs.ego_status, np.arange(9))
        torch.testing.assert_close(asdict(a.annotations), asdict(b.annotations), rtol=1e-5, atol=1e-5)


def test_the_configuration_builds_the_data_set(infos, tmp_path):
    path = write(tmp_path, infos)
    node = yaml.safe_load((CONFIGS / "vad_infos.yaml").read_text()) | {"train": path, "val": path}
    check_component(node, "data", provided=("split",), kind=ActiveDataset)
    subject = instantiate(node, "data", split="val")
    assert isinstance(subject, VADInfos)
    assert np.bincount(subject.unit_of).tolist() == [9, 7]


def test_gaps_between_keyframes_end_the_carried_history(infos, tmp_path):
    scene = sorted((i for i in infos if i["scene_token"] == infos[0]["scene_token"]), key=lambda i: i["timestamp"])
    subject = dataset(write(tmp_path, [*scene[:2], *scene[3:]]))
    new = [bool(subject.sample(row).inputs.new_scene) for row in range(4)]
    assert new == [True, False, True, False]
    assert (subject.sample(2).inputs.can_bus[[0, 1, 2, 17]] == 0).all()


def test_paths_name_the_file_the_images_and_the_map(root, infos, tmp_path):
    subject = dataset(write(tmp_path, infos))
    paths = subject.paths(0)
    assert paths["boxes"] == str(tmp_path / "infos.pkl")
    assert all((root / paths[name]).is_file() for name in ("first_image", "last_image", "map"))


def test_files_of_the_two_splits(infos, tmp_path):
    one, two = (
        write(tmp_path, [i for i in infos if (i["scene_token"] == infos[0]["scene_token"]) == own], f"{own}.pkl")
        for own in (True, False)
    )
    train, val = (VADInfos(one, two, split) for split in ("train", "val"))
    assert (train.units, set(val.units)) == (
        (infos[0]["scene_token"],),
        {i["scene_token"] for i in infos} - set(train.units),
    )


def test_training_waits_for_boxes(infos, tmp_path):
    bare = [{key: value for key, value in info.items() if key not in BOX_SHAPES} for info in infos]
    subject = dataset(write(tmp_path, bare), clip=100)
    assert subject.sample(0, annotations=False).annotations is None
    with pytest.raises(DataFileError, match=r"keyframe \w+ lacks gt_boxes, gt_names"):
        subject.sample(0)
    assert len(subject.label_problems(0)) == 1 + np.bincount(subject.unit_of)[0]
    with pytest.raises(DataFileError, match="lacks gt_boxes"):
        dataset(write(tmp_path, bare), split="val")


def test_boxes_of_different_numbers_are_refused(infos, tmp_path):
    crooked = [{**info, "gt_velocity": np.zeros((99, 2))} for info in infos]
    subject = dataset(write(tmp_path, crooked))
    assert "gt_velocity" in subject.label_problems(0)[0]
    with pytest.raises(DataFileError, match="gt_velocity of keyframe"):
        subject.sample(0)


def test_a_scene_without_boxes_counts_as_unlabeled(infos, tmp_path):
    empty = [{**info, **{key: info[key][:0] for key in BOX_SHAPES}} for info in infos]
    assert "has no box" in dataset(write(tmp_path, empty)).label_problems(0)[0]
    assert (dataset(write(tmp_path, empty)).sample(0).annotations.labels == PADDING).all()


def test_an_empty_clip_counts_as_unlabeled_whatever_its_scene_has(infos, tmp_path):
    whole = dataset(write(tmp_path, infos), clip=3)
    chosen = {info["token"] for info, unit in zip(whole._infos, whole.unit_of, strict=True) if unit == 0}
    part = [
        {**info, **{key: info[key][:0] for key in BOX_SHAPES}} if info["token"] in chosen else info for info in infos
    ]
    subject = dataset(write(tmp_path, part), clip=3)
    assert f"has no box in {subject.units[0]}" in subject.label_problems(0)[0]
    assert subject.label_problems(1) == []
    assert dataset(write(tmp_path, part)).label_problems(0) == []


class _Spy:
    ran = False

    def __reduce__(self):
        return setattr, (_Spy, "ran", True)


@pytest.mark.parametrize("payload", [_Spy(), np.array([_Spy()], dtype=object), io.BytesIO])
def test_a_pickle_cannot_run_code(tmp_path, payload):
    path = tmp_path / "infos.pkl"
    path.write_bytes(pickle.dumps({"infos": [payload]}))
    with pytest.raises(DataFileError, match="not only plain values and arrays"):
        dataset(str(path))
    assert not _Spy.ran


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "must hold a dictionary"),
        ({"infos": []}, "must hold a dictionary"),
        ({"infos": [3]}, "keyframe 0 of .* lacks token"),
        ({"infos": [{"token": "a"}]}, "lacks scene_token, prev"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "infos.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(DataFileError, match=message):
        dataset(str(path))


@pytest.mark.parametrize("content", [b"", b"\x80\x04no pickle", None])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "infos.pkl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataFileError, match=r"cannot read the keyframes of .*infos\.pkl"):
        dataset(str(path))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("gt_ego_fut_trajs", np.full((6, 2), np.nan), "must be .* finite numbers"),
        ("can_bus", np.zeros(17), r"can_bus of keyframe 0 .* must be \(18,\)"),
        ("lidar2ego_rotation", "none", "must be numbers"),
    ],
)
def test_bad_values_are_named(infos, tmp_path, key, value, message):
    with pytest.raises(DataFileError, match=message):
        dataset(write(tmp_path, [{**infos[0], key: value}]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "test"}, "split must be one of"),
        ({"normalization": "none"}, "normalization must be one of"),
        ({"images": True}, "need the root"),
        ({"maps": True}, "need the root"),
        ({"max_agents": 0}, "max_agents must be positive"),
        ({"clip": 0}, "clip must be a positive number"),
    ],
)
def test_wrong_arguments_are_refused(infos, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        dataset(write(tmp_path, infos), **arguments)


def test_missing_images_and_maps_are_found_before_training(infos, tmp_path):
    path = write(tmp_path, infos)
    with pytest.raises(DataFileError, match="96 of 96 images"):
        dataset(path, root=str(tmp_path), images=True)
    with pytest.raises(DataFileError, match="cannot read the map"):
        dataset(path, root=str(tmp_path), maps=True)


def test_there_is_no_visibility_mask(infos, tmp_path):
    with pytest.raises(ValueError, match="label_mask"):
        dataset(write(tmp_path, infos)).sample(0, label_mask=True)
