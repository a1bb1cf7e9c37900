"""The torchmetrics class: accumulation, official aggregates, and a real planner on real keyframes."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.utilities import dim_zero_sum
from vad_infos import SCENES, agents_of, frame, read_infos, read_plans

from al_lightning.metrics import OpenLoopPlanning

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "planning_metrics.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file if name != "agg_keys"}


def golden_batch(golden, rows):
    """plan, truth, valid, footprints, present of some golden samples."""
    agents = [
        agents_of(box, row[:, :12].reshape(-1, 6, 2), row[:, 12:18], row[:, 28:], row[:, 27])
        for box, row in zip(golden["boxes"][rows], golden["attr"][rows], strict=True)
    ]
    footprints, present = map(torch.stack, zip(*agents, strict=True))
    present &= (torch.arange(8) < golden["n_agents"][rows, None])[..., None]
    plan, truth = (golden[name][rows].cumsum(1) for name in ("pred_offsets", "gt_offsets"))
    return plan, truth, golden["fut_valid"][rows], footprints, present


def test_aggregates_are_the_official_ones(golden):
    metric = OpenLoopPlanning()
    metric.update(*golden_batch(golden, torch.arange(60)))
    scores = metric.compute()
    expected = {
        "L2_avg": (1.250339, 2.033707, 2.824382),
        "collision_avg": (0.010417, 0.036458, 0.031250),
        "L2_at": (1.623178, 3.199685, 4.819971),
        "collision_at": (0.020833, 0.062500, 0.020833),
    }
    for name, values in expected.items():
        np.testing.assert_allclose([scores[f"{name}_{s}s"] for s in (1, 2, 3)], values, atol=1e-6)
    assert scores["samples"] == 48
    assert all(value.is_floating_point() and value.shape == () for value in scores.values())


def test_order_and_batches_do_not_matter_to_the_last_bit(golden):
    at_once, one_by_one, merged = (OpenLoopPlanning() for _ in range(3))
    at_once.update(*golden_batch(golden, torch.arange(60)))
    for row in torch.randperm(60, generator=torch.Generator().manual_seed(0)):
        one_by_one.update(*golden_batch(golden, row[None]))
    for rows in torch.arange(60).flip(0).split(7):
        merged(*golden_batch(golden, rows))  # forward(), which torchmetrics implements by merging states
    assert at_once.compute() == one_by_one.compute() == merged.compute()


def test_valid_by_step_counts_samples_with_all_six(golden):
    plan, truth, valid, *agents = golden_batch(golden, torch.arange(60))
    steps = torch.ones(60, 6, dtype=torch.bool)
    steps[~valid, 3:] = False
    by_sample, by_step = OpenLoopPlanning(), OpenLoopPlanning()
    by_sample.update(plan, truth, valid, *agents)
    by_step.update(plan, truth, steps, *agents)
    assert by_sample.compute() == by_step.compute()


def test_invalid_samples_may_hold_anything_and_none_at_all_is_no_nan(golden):
    plan, truth, valid, footprints, present = golden_batch(golden, torch.arange(4))
    metric = OpenLoopPlanning()
    metric.update(plan * torch.nan, truth, torch.zeros(4, dtype=torch.bool), footprints, present)
    assert metric.compute() == {"samples": 0}
    with pytest.raises(ValueError, match="plan is not finite"):
        metric.update(plan * torch.nan, truth, torch.ones(4, dtype=torch.bool), footprints, present)
    with pytest.raises(ValueError, match="from the driven one"):
        metric.update(plan + 1e9, truth, torch.ones(4, dtype=torch.bool), footprints, present)
    with pytest.raises(ValueError, match="valid"):
        metric.update(plan, truth, valid[:3], footprints, present)


def test_states_are_summed_integers_and_survive_pickling(golden):
    metric = OpenLoopPlanning()
    metric.update(*golden_batch(golden, torch.arange(9)))
    assert all(value.dtype == torch.int64 for value in metric.metric_state.values())
    assert set(metric._reductions.values()) == {dim_zero_sum}
    assert pickle.loads(pickle.dumps(metric)).compute() == metric.compute()


def scene_scores(scene):
    """Per-keyframe scores of the published planner, and the metric over the scene."""
    infos = read_infos(scene)
    metric, single = OpenLoopPlanning(), []
    for info, plan in zip(infos, read_plans([info["token"] for info in infos]), strict=True):
        truth, valid, *agents = frame(info)
        sample = [value[None] for value in (plan, truth, valid, *agents)]
        alone = OpenLoopPlanning()
        alone.update(*sample)
        single.append(alone.compute())
        metric.update(*sample)
    return metric, single


KEYS = [f"{name}_avg_{s}s" for name in ("L2", "collision") for s in (1, 2, 3)]


def test_real_scene_has_the_official_numbers():
    with np.load(GOLDEN / "planning_official_scene-0103.npz") as file:
        official = dict(file)
    infos = read_infos("scene-0103")
    assert [info["token"] for info in infos] == official["token"].tolist()
    np.testing.assert_array_equal(read_plans(official["token"]), official["plan"])
    metric, single = scene_scores("scene-0103")
    assert [scores["samples"] == 1 for scores in single] == official["valid"].tolist()
    for scores, expected, valid in zip(single, official["per_sample"], official["valid"], strict=True):
        np.testing.assert_allclose([scores[key] for key in KEYS] if valid else 0, expected if valid else 0, atol=1e-6)
    np.testing.assert_allclose([metric.compute()[key] for key in KEYS], official["agg"], atol=1e-6)


def test_published_planner_on_both_real_scenes():
    metrics = [scene_scores(scene)[0] for scene in SCENES]
    count = sum(int(metric.samples) for metric in metrics)
    distance = sum(metric.distance for metric in metrics).double() * 1e-9 / count
    assert count == 69
    assert [round(float(distance[step]), 2) for step in (1, 3, 5)] == [0.25, 0.86, 2.10]


def test_driving_into_the_agents_of_a_real_scene_collides():
    """A plan that ends on the nearest counted agent hits it, unless the driven path does too."""
    hits = 0
    for info in read_infos("scene-0916"):
        truth, valid, footprints, present = frame(info)
        there = present.all(1)
        if not (valid.all() and there.any()):
            continue
        agent = footprints[there][0]
        metric = OpenLoopPlanning()
        metric.update(agent[None, :, :2], truth[None], valid[None], footprints[None], present[None])
        hits += int(metric.collisions.sum())
    assert hits > 30
