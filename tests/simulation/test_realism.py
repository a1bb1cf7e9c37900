"""The simulated world against what is published of nuScenes and Occ3D."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from al_lightning.simulation.generate import build_scene
from al_lightning.simulation.plan import plan_scenes
from al_lightning.simulation.presets import PRESETS
from al_lightning.simulation.sensors.occupancy import label_voxels, mask_lidar, shell
from al_lightning.simulation.world import CATEGORY_LABELS, Label

PUBLISHED = json.loads((Path(__file__).parents[1] / "data/golden/published_numbers.json").read_text())["occ3d_nuscenes"]
RARE = (Label.BICYCLE, Label.MOTORCYCLE, Label.CONSTRUCTION_VEHICLE, Label.TRAFFIC_CONE, Label.TRAILER)


@pytest.fixture(scope="module")
def scenes():
    plans = plan_scenes(PRESETS["mini"], seed=0)
    return [build_scene(PRESETS["mini"], 0, plan) for plan in plans[:: len(plans) // 12]]


def test_voxel_frequencies_come_in_the_order_of_occ3d(scenes):
    counts = np.zeros(len(Label), dtype=np.int64)
    for scene in scenes:
        geometry, ego = scene.geometry(3), scene.ego(3)
        seen = shell(label_voxels(geometry, ego))[mask_lidar(geometry, ego)]
        counts += np.bincount(seen, minlength=len(Label))
    assert spearmanr(counts, PUBLISHED["voxel_count"]).statistic >= 0.8


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
