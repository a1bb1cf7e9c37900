"""The simulated world against what is published of nuScenes and Occ3D."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from al_lightning.simulation.generate import build_scene
from al_lightning.simulation.plan import plan_scenes
from al_lightning.simulation.presets import PRESETS
from al_lightning.simulation.sensors.occupancy import label_voxels, mask_camera, mask_lidar
from al_lightning.simulation.world import CATEGORY_LABELS, Label

PUBLISHED = json.loads((Path(__file__).parents[1] / "data/golden/published_numbers.json").read_text())["occ3d_nuscenes"]
RARE = (Label.BICYCLE, Label.MOTORCYCLE, Label.CONSTRUCTION_VEHICLE, Label.TRAFFIC_CONE, Label.TRAILER)


@pytest.fixture(scope="module")
def scenes():
    plans = plan_scenes(PRESETS["mini"], seed=0)
    return [build_scene(PRESETS["mini"], 0, plan) for plan in plans[:: len(plans) // 12]]


def labels_of(scene):
    """Semantics, LiDAR mask and camera mask as `Scene.capture` makes them, without the images."""
    geometry, ego = scene.geometry(3), scene.ego(3)
    scanned = mask_lidar(geometry, ego, scene.stations(3))
    semantics = np.where(scanned, label_voxels(geometry, ego), np.uint8(Label.FREE))
    return semantics, scanned, scanned & mask_camera(geometry, ego, (180, 320))


def test_voxel_frequencies_are_near_those_of_occ3d(scenes):
    seen = [semantics[camera] for semantics, _, camera in map(labels_of, scenes)]
    counts = np.bincount(np.concatenate(seen), minlength=len(Label)) / len(scenes)
    published = np.array(PUBLISHED["voxel_count"]) / 28_130
    assert spearmanr(counts, published).statistic >= 0.8
    frequent = [Label.CAR, *range(Label.DRIVEABLE_SURFACE, Label.FREE + 1)]
    assert (np.abs(np.log(counts[frequent] / published[frequent])) < np.log(3)).all(), counts


def test_masks_are_like_the_real_ones(scenes):
    """The two real labels at hand: 0.09 and 0.17 of the grid scanned, 0.07 and 0.16 seen, 23,000 of it occupied."""
    for semantics, scanned, camera in map(labels_of, scenes):
        assert 0.05 < scanned.mean() < 0.35
        assert 0.04 < camera.mean() < scanned.mean()
        assert not (semantics[~scanned] != Label.FREE).any()
        assert 5_000 < (semantics[camera] != Label.FREE).sum() < 40_000


def test_rare_classes_are_in_a_minority_of_scenes(scenes):
    held = [{CATEGORY_LABELS[track.category] for track in scene.drive.tracks} for scene in scenes]
    shares = {label: np.mean([label in labels for labels in held]) for label in RARE}
    assert all(share < 0.5 for share in shares.values()), shares
    assert all(np.mean([label in labels for labels in held]) > 0.9 for label in (Label.CAR, Label.PEDESTRIAN))


def test_weather_and_events_have_their_shares():
    plans = plan_scenes(PRESETS["full"], seed=0)
    for share, wanted in (
        (np.mean([plan.weather.night for plan in plans]), 0.12),
        (np.mean([plan.weather.rain for plan in plans]), 0.19),
        (np.mean([plan.event != "" for plan in plans]), 0.10),
    ):
        assert share == pytest.approx(wanted, abs=0.01)
