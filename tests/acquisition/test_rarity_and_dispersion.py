"""Density, scatter, scores over their deviation: against transcriptions in float64, on the circle, degenerate cases."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from al_lightning.acquisition.functional import (
    dispersion,
    divide_by_deviation,
    nearest_neighbors,
    neighborhood_correlation,
    rarity,
)


def points(seed, N=25, D=6):
    return torch.randn(N, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def distances(z):
    """Sorted distances of every point to all others."""
    return [sorted(math.dist(a, b) for j, b in enumerate(z) if j != i) for i, a in enumerate(z)]


def transcription(z, K, bandwidth=None):
    near = [row[:K] for row in distances(z.tolist())]
    sigma = np.median([row[-1] for row in near]) if bandwidth is None else bandwidth
    return [-math.log(sum(math.exp(-(d**2) / (2 * sigma**2)) for d in row) / len(row)) for row in near]


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), N=st.integers(2, 30), K=st.integers(1, 35), bandwidth=st.none() | st.floats(0.5, 5))
def test_rarity_equals_the_transcription(seed, N, K, bandwidth):
    """Also where there are fewer than K others, who then are the neighbours."""
    z = points(seed, N)
    np.testing.assert_allclose(rarity(z, K, bandwidth), transcription(z, K, bandwidth), rtol=1e-9, atol=1e-12)


def test_rarity_on_the_circle():
    """Evenly spaced points are equally rare; their two nearest are one chord away, which is then the bandwidth."""
    angles = torch.arange(12, dtype=torch.float64) * (2 * math.pi / 12)
    z = torch.stack([angles.cos(), angles.sin()], dim=1)
    np.testing.assert_allclose(rarity(z, 2), [0.5] * 12, rtol=1e-12)
    chord = 2 * math.sin(math.pi / 12)
    np.testing.assert_allclose(rarity(z, 2, bandwidth=1.0), [chord**2 / 2] * 12, rtol=1e-12)
    lonely = torch.cat([z, torch.tensor([[3.0, 0.0]], dtype=torch.float64)])
    assert rarity(lonely, 2).argmax() == 12


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31))
def test_rarity_follows_permutations_and_ignores_rotation_and_scale(seed):
    z = points(seed)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(seed))
    rotation = torch.linalg.qr(points(seed + 1, 6)).Q
    plain = rarity(z, 5)
    assert torch.equal(rarity(z[order], 5), plain[order])
    torch.testing.assert_close(rarity(3 * z @ rotation, 5), plain, rtol=1e-9, atol=1e-12)


def test_far_points_do_not_underflow():
    z = torch.tensor([[0.0], [1], [2], [1e4]], dtype=torch.float64)
    result = rarity(z, 1)
    assert result.isfinite().all()
    assert result[3].item() == pytest.approx((1e4 - 2) ** 2 / 2)


def test_degenerate_clouds_are_defined():
    assert rarity(torch.zeros(1, 4)).tolist() == [0]
    assert rarity(torch.ones(30, 4)).tolist() == [0] * 30
    z = torch.zeros(30, 1)
    z[-1] = 2.0  # the median distance is 0, the only one above it 2
    np.testing.assert_allclose(rarity(z, 5), [0] * 29 + [0.5], atol=1e-12)
    with pytest.raises(ValueError, match="neighbors and points"):
        rarity(torch.zeros(0, 4))
    with pytest.raises(ValueError, match="neighbors and points"):
        rarity(z, 0)
    with pytest.raises(ValueError, match="bandwidth"):
        rarity(z, 5, 0.0)
    with pytest.raises(ValueError, match="finite"):
        rarity(z * torch.nan)


def test_the_log_says_that_neighbors_are_too_few(caplog):
    z = points(0, 6)
    assert torch.equal(rarity(z, 20), rarity(z, 5))
    assert [record.getMessage() for record in caplog.records] == [
        "rarity: 20 neighbors were asked for, of 5 other scenes; all are taken"
    ]


def test_a_point_is_no_neighbor_of_itself_but_an_equal_one_is():
    z = torch.tensor([[0.0], [5.0], [0.0], [7.0]])
    near = nearest_neighbors(z, 2)
    assert near.rows.tolist() == [[2, 1], [3, 0], [0, 1], [1, 0]]
    assert near.distance.tolist() == [[0, 5], [2, 5], [0, 5], [2, 7]]


def test_blocks_do_not_matter(monkeypatch):
    z = points(3, 50)
    whole = nearest_neighbors(z, 7)
    monkeypatch.setattr("al_lightning.acquisition.functional.neighbors.BLOCK", 150)
    for a, b in zip(whole, nearest_neighbors(z, 7), strict=True):
        assert torch.equal(a, b)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), S=st.integers(2, 12))
def test_dispersion_is_the_trace_of_the_covariance(seed, S):
    samples = torch.randn(S, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = [np.trace(np.cov(samples[:, i].numpy(), rowvar=False)) for i in range(5)]
    np.testing.assert_allclose(dispersion(samples), expected, rtol=1e-10)
    rotation = torch.linalg.qr(points(seed, 7, 7)).Q
    np.testing.assert_allclose(dispersion(samples @ rotation + 3), expected, rtol=1e-9)


def test_dispersion_on_the_circle():
    """S points evenly around the circle have mean 0 and lengths 1: trace S / (S - 1)."""
    angles = torch.arange(10, dtype=torch.float64) * (2 * math.pi / 10)
    z = torch.stack([angles.cos(), angles.sin()], dim=1)[:, None]
    assert dispersion(z).item() == pytest.approx(10 / 9)
    assert dispersion(z[:1].expand(10, 1, 2)).item() == 0
    with pytest.raises(ValueError, match="two or more passes"):
        dispersion(z[:1])
    with pytest.raises(ValueError, match="finite"):
        dispersion(z * torch.nan)


@given(st.lists(st.floats(-1e3, 1e3) | st.floats(-1e-300, 1e-300), min_size=2, max_size=20))
def test_divided_scores_have_deviation_one_or_are_constant(values):
    values = torch.tensor(values, dtype=torch.float64)
    result = divide_by_deviation(values)
    assert result.isfinite().all()
    if values.min() == values.max():
        assert not result.any()
    else:
        scaled = values.numpy() / float(values.max() - values.min())
        np.testing.assert_allclose(result, scaled / np.std(scaled), rtol=1e-9)


def test_a_large_mean_does_not_hide_the_deviation():
    values = torch.tensor([0.0, 1, 2, 3], dtype=torch.float64) + 1e12
    result = divide_by_deviation(values)
    np.testing.assert_allclose(result - result[0], np.arange(4) / np.std(np.arange(4)), atol=1e-3)
    with pytest.raises(ValueError, match="range"):
        divide_by_deviation(torch.tensor([-1e308, 1e308], dtype=torch.float64))
    with pytest.raises(ValueError, match="no score"):
        divide_by_deviation(torch.zeros(0))


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31))
def test_correlation_equals_numpy_over_all_neighbor_pairs(seed):
    z, safety = points(seed), torch.rand(25, 5, generator=torch.Generator().manual_seed(seed))
    first, second = [], []
    c = safety.double().amax(1).tolist()
    for i, a in enumerate(z.tolist()):
        others = sorted((math.dist(a, b), j) for j, b in enumerate(z.tolist()) if j != i)[:10]
        first.append([d for d, _ in others])
        second.append([abs(c[i] - c[j]) for _, j in others])
    over_all = np.corrcoef(np.ravel(first), np.ravel(second))[0, 1]
    assert neighborhood_correlation(z, safety) == pytest.approx(over_all, abs=1e-9)
    mean = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(first, second, strict=True)])
    assert neighborhood_correlation(z, safety, per="scene") == pytest.approx(mean, abs=1e-9)


def test_correlation_of_each_scene_leaves_out_where_none_is_defined():
    """Three scenes in a corner that are as safe as each other, and three whose safety grows with the distance."""
    z = torch.tensor([0.0, 1, 3, 100, 101, 103])[:, None]
    safety = torch.tensor([0.5, 0.5, 0.5, 0.0, 0.1, 0.3])[:, None]
    assert neighborhood_correlation(z, safety, neighbors=2, per="scene") == pytest.approx(1)
    assert neighborhood_correlation(z, safety, neighbors=1, per="scene") == 0
    with pytest.raises(ValueError, match="per must be one of pair, scene"):
        neighborhood_correlation(z, safety, per="pool")


def test_correlation_of_an_ordered_line_is_one_and_of_equal_safety_zero():
    z = torch.arange(20.0)[:, None]
    assert neighborhood_correlation(z, z / 20) == pytest.approx(1)
    assert neighborhood_correlation(z, torch.ones(20, 5)) == 0
    with pytest.raises(ValueError, match="two or more"):
        neighborhood_correlation(z[:1], z[:1])
