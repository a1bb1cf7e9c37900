"""Rays through voxels: closed forms, a scalar re-implementation and the official numbers."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import recipes
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from al_lightning.metrics.functional import (
    RayCounts,
    RayHits,
    cast_rays,
    lidar_directions,
    ray_counts,
    ray_iou,
    select_ray_origins,
)
from al_lightning.types import VoxelGrid

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"
NUSCENES = VoxelGrid((-40, -40, -1), (40, 40, 5.4), (200, 200, 16))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Rays are many small steps: on busy cores, threads that wait for each other take most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_directions_of_the_official_metric():
    directions = lidar_directions()
    assert directions.shape == (39 * 360, 3)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(39 * 360))
    elevation = directions[::360, 2].double().asin()
    below = [-(math.pi / 2 - math.atan(k + 1)) for k in range(10)]
    np.testing.assert_allclose(elevation[:10], below, atol=1e-6)
    np.testing.assert_allclose(elevation[9:].diff(), below[9] - below[8], atol=1e-6)
    assert elevation[-2] < 0.21 <= elevation[-1]
    np.testing.assert_allclose(directions[90, :2], [0, math.cos(below[0])], atol=1e-6)  # 90 degrees is +y


def test_single_voxel_worked_example():
    semantics = torch.full((200, 200, 16), 17, dtype=torch.uint8)
    semantics[130, 100, 7] = 4
    hits = cast_rays(semantics, torch.tensor([[0.1, 0.1, 2.0]]), torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]), NUSCENES, 17)
    assert hits.labels.tolist() == [4, 17]
    np.testing.assert_allclose(hits.depth, [12.3, 39.9], atol=1e-5)


def march(semantics, origin, direction, free):
    """One ray through unit voxels by sorted border crossings: no stepping state, so no shared mistakes."""
    crossings = {0.0}
    for axis in range(3):
        if direction[axis] != 0:
            crossings |= {(b - origin[axis]) / direction[axis] for b in range(semantics.shape[axis] + 1)}
    times = sorted(t for t in crossings if t >= 0)
    label, depth = free, 0.0
    for enter, leave in itertools.pairwise(times):
        if leave - enter < 1e-9:
            continue
        cell = np.floor(origin + direction * (enter + leave) / 2).astype(int)
        if ((cell >= 0) & (cell < semantics.shape)).all():
            depth = leave
            if semantics[tuple(cell)] != free:
                return int(semantics[tuple(cell)]), depth
    return label, depth


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), outside=st.booleans())
def test_rays_equal_sorted_crossings(seed, outside):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(2, 7, 3).tolist())
    semantics = np.where(rng.random(shape) < 0.15, rng.integers(0, 3, shape), 3).astype(np.uint8)
    # On a lattice of 1/64 and away from borders, so that float32 end points are exact enough to agree on every border.
    origin = (rng.integers(1, 64, 3) / 64 + rng.integers(0, shape) + (rng.integers(-9, 9, 3) if outside else 0)).astype(
        np.float32
    )
    directions = rng.normal(size=(20, 3))
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    grid = VoxelGrid((0, 0, 0), shape, shape)
    hits = cast_rays(torch.from_numpy(semantics), torch.from_numpy(origin)[None], torch.from_numpy(directions), grid, 3)
    for ray, direction in enumerate(directions):
        start, end = origin.astype(np.float64), (origin + direction).astype(np.float64)
        label, depth = march(semantics, start, (end - start) / np.linalg.norm(end - start), 3)
        assert hits.labels[ray] == label
        assert hits.depth[ray].item() == pytest.approx(depth, abs=1e-4)


def test_origins_times_directions_and_metres():
    """Depth is in metres, and the order is origins first."""
    grid = VoxelGrid((0, 0, 0), (2, 2, 2), (4, 4, 4))
    semantics = torch.full((4, 4, 4), 1)
    semantics[3] = 0
    origins = torch.tensor([[0.25, 0.25, 0.25], [1.1, 0.25, 0.25]])
    hits = cast_rays(semantics, origins, torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]), grid, free=1)
    assert hits.labels.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(hits.depth, [1.75, 0.25, 0.9, 1.1], atol=1e-6)


def test_a_ray_that_misses_the_grid_is_free():
    grid = VoxelGrid((0, 0, 0), (2, 2, 2), (2, 2, 2))
    hits = cast_rays(torch.zeros(2, 2, 2), torch.tensor([[5.0, 5, 5]]), torch.tensor([[1.0, 0, 0]]), grid, free=1)
    assert hits.labels.tolist() == [1]
    assert hits.depth.tolist() == [0]


def test_wrong_grids_are_refused():
    ray = torch.tensor([[1.0, 0, 0]])
    with pytest.raises(ValueError, match="shape of the grid"):
        cast_rays(torch.zeros(2, 2, 3), ray, ray, VoxelGrid((0, 0, 0), (2, 2, 2), (2, 2, 2)), 1)
    with pytest.raises(ValueError, match="cubic"):
        cast_rays(torch.zeros(2, 2, 2), ray, ray, VoxelGrid((0, 0, 0), (2, 2, 4), (2, 2, 2)), 1)


@pytest.mark.parametrize("far", [1e9, math.nan, math.inf])
def test_rays_without_a_direction_are_refused(far):
    grid = VoxelGrid((0, 0, 0), (2, 2, 2), (2, 2, 2))
    with pytest.raises(ValueError, match="origin"):
        cast_rays(torch.zeros(2, 2, 2), torch.full((1, 3), far), torch.tensor([[0.6, 0.8, 0]]), grid, free=1)


def hits_of(rays):
    return RayHits(torch.tensor([label for label, _ in rays]), torch.tensor([float(depth) for _, depth in rays]))


def test_counts_worked_example():
    target = hits_of([(4, 10), (4, 20), (11, 5), (7, 8), (4, 30)])
    prediction = hits_of([(4, 10.5), (4, 21.5), (11, 5), (4, 8), (17, 39)])
    scores = ray_iou(ray_counts(prediction, target, num_classes=18, free=17))
    assert {c: v for c, v in enumerate(scores.iou[0].tolist()) if v == v} == pytest.approx({4: 0.2, 7: 0, 11: 1, 17: 0})
    np.testing.assert_allclose(scores.at, [0.4, 0.5, 0.5])
    assert scores.iou[1:, 4].tolist() == [0.5, 0.5]
    assert scores.ray_iou.item() == pytest.approx(0.466667, abs=1e-6)
    assert scores.classes_present == 3


def test_rays_that_are_free_in_the_truth_are_dropped_and_the_threshold_is_strict():
    counts = ray_counts(hits_of([(0, 5), (0, 6), (0, 6)]), hits_of([(2, 5), (0, 5), (0, 5.5)]), num_classes=3, free=2)
    assert counts.true.tolist() == [2, 0, 0]
    assert counts.predicted.tolist() == [2, 0, 0]
    assert counts.matched[:, 0].tolist() == [1, 2, 2]  # an error of exactly 1 m is no match at 1 m


def test_a_class_out_of_range_is_refused():
    good, bad = hits_of([(0, 1)]), hits_of([(255, 1)])
    with pytest.raises(ValueError, match=r"predicted class.*0\.\.2.*255"):
        ray_counts(bad, good, num_classes=3, free=2)
    with pytest.raises(ValueError, match="true class"):
        ray_counts(good, bad, num_classes=3, free=2)


def test_origins_near_the_car_evenly_chosen():
    positions = torch.stack([torch.linspace(-60, 60, 41), torch.zeros(41), torch.full((41,), 1.84)], dim=1)
    near = positions[positions[:, 0].abs() < 39]
    chosen = select_ray_origins(positions)
    assert len(near) == 25
    torch.testing.assert_close(chosen, near[[0, 3, 7, 10, 14, 17, 21, 24]])
    torch.testing.assert_close(select_ray_origins(positions[18:23]), positions[18:23])
    assert len(select_ray_origins(torch.tensor([[0.0, 39.0, 0], [0.0, 38.9, 0]]))) == 1


def test_official_numbers():
    with np.load(GOLDEN / "rayiou.npz") as file:
        golden = dict(file)
    total = None
    for seed, origins in zip(golden["seeds"].tolist(), golden["origins"], strict=True):
        hits = [
            cast_rays(torch.from_numpy(volume), torch.from_numpy(origins), lidar_directions(), NUSCENES, free=17)
            for volume in recipes.ray_scene(seed)
        ]
        counts = ray_counts(*hits, num_classes=18, free=17)
        total = counts if total is None else RayCounts(*(a + b for a, b in zip(total, counts, strict=True)))
    scores = ray_iou(total)
    # One ray of 56,160 in another bin would move these by more than 1e-7.
    np.testing.assert_allclose(scores.at, [golden[f"r{t}"] for t in (1, 2, 4)], atol=1e-12)
    assert scores.ray_iou.item() == pytest.approx(golden["rayiou"].item(), abs=1e-12)
