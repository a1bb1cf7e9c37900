"""What is written agrees with the world behind it: boxes, pixels, returns, voxels, masks."""

import cv2
import numpy as np
import pytest
from nuscenes import NuScenes
from nuscenes.utils.geometry_utils import view_points
from PIL import Image
from shapely import affinity
from shapely.geometry import box as rectangle

from al_lightning.simulation.generate import build_scene
from al_lightning.simulation.plan import plan_scenes
from al_lightning.simulation.presets import PRESETS
from al_lightning.simulation.sensors.rig import CAMERAS, LIDAR
from al_lightning.simulation.traffic.events import EGO_CENTER, EGO_HALF
from al_lightning.simulation.visibility import silhouettes
from al_lightning.simulation.vocabulary import VERSION, token
from al_lightning.simulation.world import Label

TINY = PRESETS["tiny"]
PLANS = plan_scenes(TINY, 0)
FREE = int(Label.FREE)


@pytest.fixture(scope="module")
def nusc(tiny_world):
    return NuScenes(version=VERSION, dataroot=str(tiny_world), verbose=False)


@pytest.fixture(scope="module")
def scenes():
    return [build_scene(TINY, 0, plan) for plan in PLANS]


def keyframes(nusc, scenes):
    """(scene, number of the keyframe, its row, its labels) of all keyframes."""
    for scene, row in zip(scenes, nusc.scene, strict=True):
        sample = row["first_sample_token"]
        for keyframe in range(TINY.keyframes):
            record = nusc.get("sample", sample)
            with np.load(f"{nusc.dataroot}/gts/{row['name']}/{sample}/labels.npz") as labels:
                yield scene, keyframe, record, dict(labels)
            sample = record["next"]


def voxel_of(points):
    """Numbers (M, 3) of the voxels of points in the ego frame, and which of them are in the grid."""
    voxel = np.floor((points - [-40, -40, -1]) / 0.4).astype(int)
    return voxel, ((voxel >= 0) & (voxel < [200, 200, 16])).all(axis=1)


def in_ego_frame(points, ego):
    x, y, yaw = ego
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    return (points - (x, y, 0)) @ turn


def neighbourhood(volume, voxel):
    """Values (M, 27) within one voxel."""
    padded = np.pad(volume, 1, mode="edge")
    offsets = np.stack(np.meshgrid(*[range(3)] * 3), axis=-1).reshape(-1, 3)
    return padded[tuple((voxel[:, None] + offsets).transpose(2, 0, 1))]


def test_files_are_those_of_the_scene(nusc, scenes):
    captured = scenes[0].capture(1)
    sample = nusc.get("sample", nusc.get("sample", nusc.scene[0]["first_sample_token"])["next"])
    for channel, view in captured.views.items():
        with Image.open(nusc.get_sample_data_path(sample["data"][channel])) as image:
            assert np.abs(np.asarray(image).astype(int) - view.image).mean() < 6  # JPEG
    points = np.fromfile(nusc.get_sample_data_path(sample["data"]["LIDAR_TOP"]), np.float32).reshape(-1, 5)
    assert np.array_equal(points, captured.scan.points)


def test_objects_lie_inside_their_projected_boxes_and_fill_them(nusc, scenes):
    compared = 0
    for plan, scene, row in zip(PLANS, scenes, nusc.scene, strict=True):
        sample = nusc.get("sample", row["first_sample_token"])
        captured, geometry = scene.capture(0), scene.geometry(0)
        owner = {token(f"tiny/0/{plan.name}/instance/{number}"): number for number in range(len(scene.drive.tracks))}
        for channel, view in captured.views.items():
            _, boxes, intrinsic = nusc.get_sample_data(sample["data"][channel])
            pixels = np.where(view.solid >= 0, geometry.solids.instance[view.solid], -1)
            whole = silhouettes(geometry, scene.ego(0), CAMERAS[channel], TINY.image_size, len(owner))
            for box in boxes:
                number = owner[nusc.get("sample_annotation", box.token)["instance_token"]]
                corners = box.corners()
                if corners[2].min() < 0.5:
                    continue
                hull = cv2.convexHull(view_points(corners, intrinsic, normalize=True)[:2].T.astype(np.float32))
                seen = np.argwhere(pixels == number)[:, ::-1].astype(float)
                assert all(cv2.pointPolygonTest(hull, tuple(place), True) > -1 for place in seen)
                covered = np.zeros(TINY.image_size, np.uint8)
                cv2.fillConvexPoly(covered, np.round(hull).astype(np.int32), 1)
                framed = (hull >= 0).all() and (hull < TINY.image_size[::-1]).all()
                if framed and covered.sum() > 60:
                    least = 0.3 if box.name in ("vehicle.car", "vehicle.truck") else 0.15
                    assert least < whole[number] / covered.sum() <= 1.05
                    compared += 1
    assert compared > 10


def test_visibility_is_the_share_of_visible_pixels(nusc, scenes):
    for scene, keyframe, record, _ in keyframes(nusc, scenes):
        if keyframe:
            continue
        sightings = scene.capture(0).sightings
        numbers = {token(f"tiny/0/{scene.plan.name}/instance/{n}"): n for n in range(len(sightings))}
        for annotation in record["anns"]:
            row = nusc.get("sample_annotation", annotation)
            sighting = sightings[numbers[row["instance_token"]]]
            level = nusc.get("visibility", row["visibility_token"])["level"]
            low, high = (int(bound) / 100 for bound in level.removeprefix("v").split("-"))
            assert low <= sighting.visibility <= high
            assert row["num_lidar_pts"] == sighting.lidar_points


def test_returns_lie_in_occupied_voxels_of_their_class(nusc, scenes):
    for scene, keyframe, _, labels in keyframes(nusc, scenes):
        geometry, scan = scene.geometry(keyframe), scene.capture(keyframe).scan
        points = scan.points[:, :3] @ LIDAR.to_ego.T + LIDAR.translation
        voxel, inside = voxel_of(points)
        hit = inside & (scan.solid >= 0)
        around = neighbourhood(labels["semantics"], voxel[hit])
        own = geometry.solids.label[scan.solid[hit]][:, None]
        assert (around != FREE).any(axis=1).all()
        assert (around == own).any(axis=1).mean() > 0.998
        ground = neighbourhood(labels["semantics"], voxel[inside & (scan.solid < 0)])
        assert (ground != FREE).any(axis=1).all()
        assert hit.sum() > 500


def test_the_lidar_mask_holds_every_return(nusc, scenes):
    for scene, keyframe, _, labels in keyframes(nusc, scenes):
        points = scene.capture(keyframe).scan.points[:, :3] @ LIDAR.to_ego.T + LIDAR.translation
        voxel, inside = voxel_of(points)
        assert neighbourhood(labels["mask_lidar"], voxel[inside]).any(axis=1).all()


def seen_from(geometry, origin, rotation, places, intrinsic):
    """Which places (M, 3) in the global frame lie in a camera's image with nothing in front, and where the ray ends."""
    ray = places - origin
    distance = np.linalg.norm(ray, axis=1)
    local = ray @ rotation
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = (local[:, i] / local[:, 2] * intrinsic[i, i] + intrinsic[i, 2] for i in range(2))
    height, width = TINY.image_size
    framed = (local[:, 2] > 0) & (u >= 0) & (u <= width - 1) & (v >= 0) & (v <= height - 1)
    reach = geometry.cast(origin, ray / distance[:, None], 400.0).distance
    return framed & (reach >= distance - 0.01), origin + ray * (np.minimum(reach, 400.0) / distance)[:, None]


def test_the_camera_mask_is_the_line_of_sight_where_the_lidar_has_been(nusc, scenes):
    draw = np.random.default_rng(0)
    for scene, keyframe, _, labels in keyframes(nusc, scenes):
        if keyframe:
            continue
        ego, geometry = scene.ego(0), scene.geometry(0)
        x, y, yaw = ego
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        voxel = draw.integers((0, 0, 3), (200, 200, 16), (4000, 3))
        seen, ending = np.zeros((9, len(voxel)), bool), np.zeros(len(voxel), bool)
        for attempt in range(len(seen)):
            share = draw.uniform(0.02, 0.98, voxel.shape) if attempt else 0.5
            places = ((voxel + share) * 0.4 + [-40, -40, -1]) @ turn.T + (x, y, 0)
            for camera in CAMERAS.values():
                intrinsic = camera.scaled(TINY.image_size)
                now, ends = seen_from(geometry, *camera.placed(ego), places, intrinsic)
                seen[attempt] |= now
                if not attempt:
                    ending |= now & voxel_of(in_ego_frame(ends, ego))[1]
        scanned, masked = (labels[f"mask_{sensor}"][tuple(voxel.T)].astype(bool) for sensor in ("lidar", "camera"))
        free = labels["semantics"][tuple(voxel.T)] == FREE
        assert not (masked & ~scanned).any()
        assert masked[ending & scanned].mean() > 0.95
        assert seen[:, masked & free].any(axis=0).mean() > 0.95
        assert 0.01 < masked.mean() < 0.95


def test_ego_collides_with_nothing(nusc):
    vehicle = rectangle(EGO_CENTER - EGO_HALF[0], -EGO_HALF[1], EGO_CENTER + EGO_HALF[0], EGO_HALF[1])
    for sample in nusc.sample:
        _, boxes, _ = nusc.get_sample_data(sample["data"]["LIDAR_TOP"], use_flat_vehicle_coordinates=True)
        for box in boxes:
            length, width = box.wlh[1], box.wlh[0]
            footprint = affinity.rotate(
                rectangle(-length / 2, -width / 2, length / 2, width / 2),
                box.orientation.yaw_pitch_roll[0],
                origin=(0, 0),
                use_radians=True,
            )
            assert not vehicle.intersects(affinity.translate(footprint, *box.center[:2]))


def test_annotations_stand_where_their_tracks_are(nusc, scenes):
    for scene, keyframe, record, _ in keyframes(nusc, scenes):
        poses = [track.poses[scene.steps[keyframe]] for track in scene.drive.tracks]
        numbers = {token(f"tiny/0/{scene.plan.name}/instance/{n}"): n for n in range(len(poses))}
        for annotation in record["anns"]:
            box = nusc.get_box(annotation)
            row = nusc.get("sample_annotation", annotation)
            pose = poses[numbers[row["instance_token"]]]
            assert np.allclose(box.center[:2], pose[:2])
            assert np.cos(box.orientation.yaw_pitch_roll[0] - pose[2]) == pytest.approx(1)


def test_description_refuses_phrases_about_the_weather(scenes, monkeypatch):
    drive = scenes[0].drive
    monkeypatch.setattr(scenes[0], "drive", type(drive)(**{**vars(drive), "phrases": ("Nightclub", "parked cars")}))
    with pytest.raises(ValueError, match="knows nothing of the weather"):
        _ = scenes[0].description
