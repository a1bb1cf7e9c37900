"""Two real keyframes of nuScenes through the image pipeline: LiDAR points of annotated objects find their pixels.

One keyframe (scene-0003) comes with the ego pose of every camera and official LiDAR-to-camera transforms, the other
(scene-0061) with official two-dimensional boxes of its objects. Points are P, cameras N.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageFilter
from pyquaternion import Quaternion
from test_cameras import SIZE, assert_views_equal, flashocc_image

from al_lightning.data.cameras import CameraRig, camera_inputs
from al_lightning.data.images import IMAGENET_MEAN, IMAGENET_STD, ImageJitter, draw_image_augmentation
from al_lightning.data.nuscenes_tables import CAMERAS, pose_matrices
from al_lightning.data.occ3d_files import NATIVE_GRID
from al_lightning.data.pickles import read_pickle
from al_lightning.data.voxels import flip_matrix

ROOT = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "nuscenes_keyframes"
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason=f"real keyframes not found in {ROOT}")
SOURCE = (900, 1600)
CASES = [(None, []), (0, []), (1, [0]), (2, [1]), (3, [0, 1])]  # seed of the image augmentation, flips of the ego frame


class Keyframe(NamedTuple):
    """A keyframe; ``lidar2key`` (4, 4) leads to the ego frame of the first camera, ``lidar2camera`` (N, 4, 4)."""

    rig: CameraRig
    points: np.ndarray
    boxes: np.ndarray  # centre, (length, width, height), yaw in the frame of the LiDAR
    counts: np.ndarray  # official numbers of points in them
    lidar2key: np.ndarray
    lidar2camera: np.ndarray


def read_points(path):
    return np.fromfile(path, np.float32).reshape(-1, 5)[:, :3].astype(np.float64)


def poses(records, name):
    rotation, translation = (np.array([r[f"{name}_{part}"] for r in records]) for part in ("rotation", "translation"))
    return pose_matrices(rotation, translation)


def read_scene_0003():
    folder = ROOT / "scene0003_trt_flashocc_sample0"
    info = yaml.safe_load((folder / "sample0000.yaml").read_text())
    cameras = [info["cams"][name] for name in CAMERAS]
    rig = CameraRig(
        [folder / "imgs" / f"{name}.jpg" for name in CAMERAS],
        np.array([camera["cam_intrinsic"] for camera in cameras]),
        poses(cameras, "sensor2ego"),
        poses(cameras, "ego2global"),
    )
    lidar2global = poses([info], "ego2global")[0] @ poses([info], "lidar2ego")[0]
    camera2lidar = np.tile(np.eye(4), (6, 1, 1))
    camera2lidar[:, :3, :3] = [camera["sensor2lidar_rotation"] for camera in cameras]
    camera2lidar[:, :3, 3] = [camera["sensor2lidar_translation"] for camera in cameras]
    boxes = np.array(info["gt_boxes"])[:, [0, 1, 2, 4, 3, 5, 6]]
    boxes[:, 6] = -boxes[:, 6] - np.pi / 2
    return Keyframe(
        rig,
        read_points(folder / "0.bin"),
        boxes,
        np.array(info["num_lidar_pts"]),
        np.linalg.inv(rig.ego2global[0]) @ lidar2global,
        np.linalg.inv(camera2lidar),
    )


def read_info_0061():
    folder = ROOT / "scene0061_mmdet3d_demo"
    (info,) = read_pickle(next(folder.glob("*.pkl")), "keyframe")["data_list"]
    return folder, info


def read_scene_0061():
    """Cameras' ego poses are not in the file: they follow from the official LiDAR-to-camera transforms."""
    folder, info = read_info_0061()
    cameras = [info["images"][name] for name in CAMERAS]
    sensor2ego, lidar2camera = (np.array([c[name] for c in cameras]) for name in ("cam2ego", "lidar2cam"))
    lidar2global = np.array(info["ego2global"]) @ np.array(info["lidar_points"]["lidar2ego"])
    ego2global = lidar2global @ np.linalg.inv(lidar2camera) @ np.linalg.inv(sensor2ego)
    return Keyframe(
        CameraRig(
            [folder / c["img_path"] for c in cameras], np.array([c["cam2img"] for c in cameras]), sensor2ego, ego2global
        ),
        read_points(folder / info["lidar_points"]["lidar_path"]),
        np.array([instance["bbox_3d"] for instance in info["instances"]]),
        np.array([instance["num_lidar_pts"] for instance in info["instances"]]),
        np.linalg.inv(ego2global[0]) @ lidar2global,
        lidar2camera,
    )


READERS = {"scene-0003": read_scene_0003, "scene-0061": read_scene_0061}


@pytest.fixture(scope="module", params=READERS)
def keyframe(request):
    return READERS[request.param]()


def moved(points, matrix):
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def source_pixels(keyframe, n, points):
    """Pixels (P, 2) of the image on disk and depths (P,) of points of the LiDAR, by the official transforms."""
    rays = moved(points, keyframe.lidar2camera[n]) @ keyframe.rig.intrinsics[n].T
    return rays[:, :2] / rays[:, 2:], rays[:, 2]


def network_pixels(inputs, n, points):
    """Pixels (P, 2) of the network's input of points in the augmented ego frame, by what the network is given."""
    ego2camera = torch.linalg.inv(inputs.bda.double() @ inputs.camera2ego[n].double()).numpy()
    rays = moved(points, ego2camera) @ inputs.intrinsics[n].double().numpy().T
    pixels = np.concatenate([rays[:, :2] / rays[:, 2:], np.ones((len(rays), 1))], axis=1)
    return (pixels @ inputs.post_rotation[n].double().numpy().T + inputs.post_translation[n].double().numpy())[:, :2]


def read_inputs(keyframe, seed, axes):
    """The network's inputs, and FlashOcc's own augmentation of each camera with the same draws."""
    generator = None if seed is None else np.random.default_rng(seed)
    bda = flip_matrix(NATIVE_GRID, axes)
    inputs = camera_inputs(keyframe.rig, SIZE, bda, ImageJitter(), generator, "bgr")
    if seed is None:
        official = [flashocc_image(path, 704 / 1600, 0, False, 0.0) for path in keyframe.rig.images]
    else:
        rng = np.random.default_rng(seed)
        draws = [draw_image_augmentation(rng, SOURCE, SIZE, ImageJitter()) for _ in CAMERAS]
        official = [
            flashocc_image(path, d.ratio, d.left, d.flip, d.angle)
            for path, d in zip(keyframe.rig.images, draws, strict=True)
        ]
    return inputs, official


def object_points(keyframe, box):
    own = (keyframe.points - box[:3]) @ Quaternion(axis=(0, 0, 1), radians=box[6]).rotation_matrix
    return keyframe.points[(np.abs(own) <= box[3:6] / 2).all(1)]


def in_source(pixels, depth):
    return (depth > 1) & ((pixels >= 0) & (pixels < SOURCE[::-1])).all(1)


def test_points_in_boxes_are_as_many_as_officially_counted(keyframe):
    """That boxes and points were read rightly: the other tests hang on it."""
    counts = np.array([len(object_points(keyframe, box)) for box in keyframe.boxes])
    assert (np.abs(counts - keyframe.counts) <= np.maximum(1, 0.11 * keyframe.counts)).all()
    assert counts.sum() > 900


@pytest.mark.parametrize(("seed", "axes"), CASES)
def test_points_of_every_visible_object_fall_on_their_pixels(keyframe, seed, axes):
    """Through key-ego transform, flips and image augmentation, as by the official transforms and FlashOcc's recipe."""
    inputs, official = read_inputs(keyframe, seed, axes)
    assert_views_equal(inputs, official)
    visible = 0
    for box in keyframe.boxes:
        points = object_points(keyframe, box)
        augmented = moved(moved(points, keyframe.lidar2key), inputs.bda.double().numpy())
        for n, (_, rotation, translation) in enumerate(official):
            pixels, depth = source_pixels(keyframe, n, points)
            seen = in_source(pixels, depth)
            expected = pixels[seen] @ rotation[:2, :2].double().numpy().T + translation[:2].double().numpy()
            np.testing.assert_allclose(network_pixels(inputs, n, augmented[seen]), expected, atol=0.1)
            visible += seen.any()
    assert visible >= 35


@pytest.mark.parametrize(("seed", "axes"), CASES)
def test_points_of_an_object_fall_into_its_official_box(seed, axes):
    """In scene-0061 every object has a box in the image; other cameras and other objects are told apart."""
    keyframe, (_, info) = read_scene_0061(), read_info_0061()
    inputs, official = read_inputs(keyframe, seed, axes)
    hits = 0
    for n, name in enumerate(CAMERAS):
        _, rotation, translation = official[n]
        for instance in info["cam_instances"].get(name, []):
            center, depth = source_pixels(keyframe, n, keyframe.boxes[:, :3])
            offset = np.abs(center - instance["center_2d"]).max(1) + np.abs(depth - instance["depth"])
            assert offset.min() < 0.1
            points = object_points(keyframe, keyframe.boxes[offset.argmin()])
            augmented = moved(moved(points, keyframe.lidar2key), inputs.bda.double().numpy())
            pixels = network_pixels(inputs, n, augmented) - translation[:2].double().numpy()
            original = pixels @ np.linalg.inv(rotation[:2, :2].double().numpy()).T
            original = original[in_source(original, source_pixels(keyframe, n, points)[1])]
            low, high = np.array(instance["bbox"]).reshape(2, 2)
            assert ((original > low - 1) & (original < high + 1)).all()
            hits += len(original)
    assert hits > 900


@pytest.mark.parametrize(("seed", "axes"), CASES[1:3])
def test_the_pixels_show_what_the_source_shows(keyframe, seed, axes):
    """Grey values at the places of all LiDAR points, in the input and in the image on disk, go together."""
    inputs, _ = read_inputs(keyframe, seed, axes)
    std, mean = (torch.tensor(values)[:, None, None] for values in (IMAGENET_STD, IMAGENET_MEAN))
    for n, path in enumerate(keyframe.rig.images):
        pixels, depth = source_pixels(keyframe, n, keyframe.points)
        seen = in_source(pixels, depth)
        augmented = moved(moved(keyframe.points[seen], keyframe.lidar2key), inputs.bda.double().numpy())
        places = np.floor(network_pixels(inputs, n, augmented)).astype(int)
        inside = ((places >= 8) & (places < np.array(SIZE[::-1]) - 8)).all(1)
        (u, v), (su, sv) = places[inside].T, np.floor(pixels[seen][inside]).astype(int).T
        image = (inputs.images[n] * std + mean).mean(0).numpy()
        source = np.asarray(Image.open(path).convert("RGB").filter(ImageFilter.BoxBlur(1))).mean(-1)[sv, su]
        agreement = np.corrcoef(image[v, u], source)[0, 1]
        assert len(u) > 1000
        assert agreement > 0.85
        for du, dv in ((-5, 0), (5, 0), (0, -5), (0, 5)):
            assert np.corrcoef(image[v + dv, u + du], source)[0, 1] < agreement - 0.01


def test_cameras_of_one_keyframe_are_some_centimetres_apart_in_time(keyframe):
    """The key-ego transform matters on real data: without it a camera would stand where the vehicle was or will be."""
    inputs = camera_inputs(keyframe.rig, (32, 88), torch.eye(4), ImageJitter())
    shift = np.linalg.norm(inputs.camera2ego[:, :3, 3].numpy() - keyframe.rig.sensor2ego[:, :3, 3], axis=1)
    assert shift[0] < 1e-5
    assert 0.002 < shift.max() < 1.0
