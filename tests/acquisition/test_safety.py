"""Soft collisions against shapely and closed forms; closeness to hazards."""

import math

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from al_lightning.acquisition.functional import (
    footprint_distance,
    hazardous_scenes,
    safety_criticality,
    safety_descriptor,
    segment_distance,
    soft_collision,
)


def polygon(footprint):
    """The oriented box as a shapely polygon, corners from complex numbers."""
    x, y, yaw, length, width = footprint
    turn = complex(math.cos(yaw), math.sin(yaw))
    corners = [
        complex(x, y) + turn * complex(a * length, b * width) / 2 for a, b in ((1, 1), (-1, 1), (-1, -1), (1, -1))
    ]
    return shapely.Polygon([(corner.real, corner.imag) for corner in corners])


def random_scene(seed, T=3, A=4, P=6, E=5):
    rng = np.random.default_rng(seed)
    plan = torch.from_numpy(rng.uniform(-10, 10, (T, P, 2)))
    footprints = torch.from_numpy(rng.uniform((-12, -12, -4, 0.3, 0.3), (12, 12, 4, 12, 3), (T, A, P, 5)))
    boundaries = torch.from_numpy(rng.uniform(-12, 12, (T, E, 2, 2)))
    return plan, footprints, torch.from_numpy(rng.random((T, A, P)) < 0.7), boundaries, rng


@settings(max_examples=60)
@given(seed=st.integers(0, 2**31))
def test_distances_are_those_of_shapely(seed):
    plan, footprints, _, boundaries, _ = random_scene(seed, T=1)
    points, boxes, segments = plan[0, 0], footprints[0, :, 0], boundaries[0]
    expected = [polygon(box.tolist()).distance(shapely.Point(points.tolist())) for box in boxes]
    np.testing.assert_allclose(footprint_distance(points, boxes), expected, atol=1e-12)
    expected = [shapely.LineString(segment.tolist()).distance(shapely.Point(points.tolist())) for segment in segments]
    np.testing.assert_allclose(segment_distance(points, segments), expected, atol=1e-12)


def test_distance_is_zero_inside_and_on_the_border_and_a_segment_may_be_a_point():
    box = torch.tensor([3.0, 4.0, math.pi / 2, 4.0, 2.0])  # 2 m along x, 4 m along y
    points = torch.tensor([[3.0, 4], [4, 6], [2.1, 2.1], [6, 4], [3, 9], [7, 9]])
    np.testing.assert_allclose(footprint_distance(points, box), [0, 0, 0, 2, 3, math.hypot(3, 3)], atol=1e-6)
    assert segment_distance(torch.tensor([3.0, 4]), torch.zeros(2, 2)) == 5


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 10), edges=st.booleans())
def test_descriptor_equals_the_transcription(seed, scale, edges):
    """Eq. 3, object by object."""
    plan, footprints, present, boundaries, rng = random_scene(seed)
    known = torch.from_numpy(rng.random((3, 5)) < 0.5)
    weights, t = torch.from_numpy(rng.random(5)), int(rng.integers(3))
    expected = []
    for d in range(5):
        point = shapely.Point(plan[t, d].tolist())
        distances = [polygon(footprints[t, a, d].tolist()).distance(point) for a in range(4) if present[t, a, d]]
        if edges:
            distances += [
                shapely.LineString(segment.tolist()).distance(point)
                for segment, there in zip(boundaries[t], known[t], strict=True)
                if there
            ]
        expected.append(float(weights[d]) * math.exp(-min(distances, default=math.inf) / scale))
    options = {"boundaries": boundaries, "boundary_present": known} if edges else {}
    result = safety_descriptor(plan, footprints, present, t, 5, weights, scale, **options)
    np.testing.assert_allclose(result, expected, atol=1e-10)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), angle=st.floats(-4, 4))
def test_moving_the_world_changes_nothing(seed, angle):
    plan, footprints, present, boundaries, rng = random_scene(seed)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    shift = torch.from_numpy(rng.uniform(-5, 5, 2))
    moved = footprints.clone()
    moved[..., :2] = footprints[..., :2] @ turn.T + shift
    moved[..., 2] += angle
    order = torch.from_numpy(rng.permutation(4))
    before = soft_collision(plan, footprints, present, boundaries=boundaries)
    after = soft_collision(
        plan @ turn.T + shift, moved[:, order], present[:, order], boundaries=boundaries @ turn.T + shift
    )
    torch.testing.assert_close(after, before, rtol=0, atol=1e-12)
    assert (before > 0).all()
    assert (before <= 1).all()


def test_no_object_is_no_cost_and_absent_ones_may_hold_anything():
    plan = torch.zeros(2, 6, 2)
    assert (
        soft_collision(plan, torch.zeros(2, 0, 6, 5), torch.zeros(2, 0, 6, dtype=torch.bool)).tolist() == [[0] * 6] * 2
    )
    nowhere = torch.full((2, 3, 6, 5), torch.nan)
    absent = torch.zeros(2, 3, 6, dtype=torch.bool)
    assert not soft_collision(plan, nowhere, absent).any()
    edge = torch.tensor([[[[2.0, -9], [2.0, 9]]]]).expand(2, 1, 2, 2)
    np.testing.assert_allclose(soft_collision(plan, nowhere, absent, 4.0, edge), math.exp(-0.5), rtol=1e-12)
    with pytest.raises(ValueError, match="not finite"):
        soft_collision(plan, nowhere, ~absent)
    with pytest.raises(ValueError, match="plan is not finite"):
        soft_collision(plan * torch.nan, nowhere, absent)


def test_window_starts_at_the_reference_step():
    plan = torch.zeros(3, 6, 2)
    footprints = torch.tensor([5.0, 0, 0, 2, 2]).expand(3, 1, 6, 5).clone()
    footprints[1, 0, :, 0] = torch.arange(6) + 1.0  # distances 0 to 5
    present = torch.ones(3, 1, 6, dtype=torch.bool)
    result = safety_descriptor(plan, footprints, present, 1, horizon=4, scale=2.0)
    np.testing.assert_allclose(result, np.exp(-np.arange(4) / 2), rtol=1e-12)
    with pytest.raises(ValueError, match="do not fit"):
        safety_descriptor(plan, footprints, present, 3)
    with pytest.raises(ValueError, match="scale"):
        safety_descriptor(plan, footprints, present, 1, scale=0.0)
    with pytest.raises(ValueError, match="present"):
        safety_descriptor(plan, footprints, present[..., :5], 1, horizon=6)


def test_hazards_are_the_top_share_by_largest_component():
    safety = torch.zeros(70, 5)
    safety[torch.arange(70), torch.arange(70) % 5] = torch.linspace(0, 1, 70)
    assert hazardous_scenes(safety).tolist() == [69, 68, 67, 66, 65, 64, 63]
    assert len(hazardous_scenes(safety[:4])) == 1  # never none
    assert hazardous_scenes(torch.ones(30, 5)).tolist() == [0, 1, 2]
    assert len(hazardous_scenes(safety, 1.0)) == 70
    with pytest.raises(ValueError, match="fraction"):
        hazardous_scenes(safety, 0.0)
    with pytest.raises(ValueError, match="N > 0"):
        hazardous_scenes(safety[:0])


def on_circle(*angles):
    return torch.tensor([[math.cos(a), math.sin(a)] for a in angles], dtype=torch.float64)


def test_criticality_on_the_circle():
    """Squared chord 2 - 2 cos: exp(-(1 - cos) / tau), tau not squared."""
    angles = torch.linspace(-3, 3, 13, dtype=torch.float64)
    result = safety_criticality(on_circle(*angles.tolist()), on_circle(0.0), temperature=0.25)
    np.testing.assert_allclose(result, np.exp(-(1 - np.cos(angles)) / 0.25), rtol=1e-12)
    assert safety_criticality(on_circle(math.pi), on_circle(0.0)).item() == pytest.approx(math.exp(-4))  # tau 0.5


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31))
def test_criticality_is_that_of_the_closest_hazard(seed):
    generator = torch.Generator().manual_seed(seed)
    z, hazards = (torch.randn(n, 8, dtype=torch.float64, generator=generator) for n in (12, 4))
    expected = [
        max(math.exp(-sum((a - b) ** 2 for a, b in zip(one, h, strict=True))) for h in hazards.tolist())
        for one in z.tolist()
    ]
    result = safety_criticality(z, hazards)
    np.testing.assert_allclose(result, expected, rtol=1e-10)
    rotation = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64, generator=generator)).Q
    np.testing.assert_allclose(safety_criticality(z @ rotation, hazards @ rotation), expected, rtol=1e-10)
    assert safety_criticality(hazards, hazards).tolist() == [1.0] * 4


def test_criticality_block_by_block_is_the_same(monkeypatch):
    z, hazards = torch.randn(2, 11, 3, generator=torch.Generator().manual_seed(0))
    whole = safety_criticality(z, hazards[:4])
    monkeypatch.setattr("al_lightning.acquisition.functional.neighbors.BLOCK", 9)
    assert torch.equal(safety_criticality(z, hazards[:4]), whole)


def test_criticality_refuses_what_it_cannot_measure():
    z = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="no hazardous scene"):
        safety_criticality(z, z[:0])
    with pytest.raises(ValueError, match="temperature"):
        safety_criticality(z, z, 0.0)
    with pytest.raises(ValueError, match="finite"):
        safety_criticality(z * torch.nan, z)
    with pytest.raises(ValueError, match="must be"):
        safety_criticality(z, z[:, :2])


@pytest.mark.parametrize(("scenes", "count"), [(1, 1), (14, 1), (15, 2), (17, 2), (24, 2), (25, 3), (700, 70)])
def test_the_number_of_hazards_is_rounded_to_the_nearest(scenes, count):
    assert len(hazardous_scenes(torch.arange(scenes).float()[:, None])) == count
