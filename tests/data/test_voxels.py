"""Pooling and flips of voxel labels against loops and geometry."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from al_lightning.data.voxels import IGNORE, flip_matrix, flip_volume, pool_any, pool_semantics
from al_lightning.types import VoxelGrid

shapes = st.tuples(*[st.tuples(st.integers(1, 3), st.integers(1, 4))] * 3)  # (coarse voxels, factor) of each axis


def blocks(volume, shape):
    factors = [fine // coarse for fine, coarse in zip(volume.shape, shape, strict=True)]
    for index in np.ndindex(*shape):
        yield index, volume[tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True))].flatten()


def vote(block, pooling, empty):
    labels = [label for label in block.tolist() if label != IGNORE]
    if not labels:
        return IGNORE
    if pooling == "occupied_first":
        labels = [label for label in labels if label != empty] or [empty]
    counts = Counter(labels)
    return min(label for label, count in counts.items() if count == max(counts.values()))


@settings(max_examples=120, deadline=None)
@given(
    axes=shapes,
    seed=st.integers(0, 2**31),
    pooling=st.sampled_from(["majority", "occupied_first"]),
    empty=st.sampled_from([0, 2, 19]),
)
def test_pooling_equals_a_loop(axes, seed, pooling, empty):
    rng = np.random.default_rng(seed)
    shape = tuple(coarse for coarse, _ in axes)
    p = rng.dirichlet(np.full(5, 0.5))
    volume = rng.choice(np.array([0, 1, 2, 19, IGNORE], np.uint8), [c * f for c, f in axes], p=p)
    before = volume.copy()
    pooled = pool_semantics(volume, shape, 20, pooling, empty)
    assert pooled.dtype == np.uint8
    assert pooled.shape == shape
    for index, block in blocks(volume, shape):
        assert pooled[index] == vote(block, pooling, empty)
    np.testing.assert_array_equal(volume, before)


@settings(max_examples=60, deadline=None)
@given(axes=shapes, seed=st.integers(0, 2**31))
def test_pool_any_equals_a_loop(axes, seed):
    shape = tuple(coarse for coarse, _ in axes)
    values = np.random.default_rng(seed).random([c * f for c, f in axes]) < 0.1
    pooled = pool_any(values, shape)
    for index, block in blocks(values, shape):
        assert pooled[index] == block.any()


def test_surfaces_survive_only_where_occupied_comes_first():
    """A road one voxel thick in a block of four: 16 of 64 votes."""
    volume = np.zeros((4, 4, 4), dtype=np.uint8)
    volume[:, :, 1] = 9
    assert pool_semantics(volume, (1, 1, 1), 20, "majority").item() == 0
    assert pool_semantics(volume, (1, 1, 1), 20, "occupied_first").item() == 9


def test_a_coarse_voxel_with_one_empty_label_is_empty_and_counts():
    volume = np.full((2, 2, 2), IGNORE, dtype=np.uint8)
    volume[1, 0, 1] = 0
    assert pool_semantics(volume, (1, 1, 1), 20).item() == 0


@pytest.mark.parametrize("pooling", ["majority", "occupied_first"])
def test_same_shape_is_the_identity(pooling):
    volume = np.random.default_rng(0).choice(np.array([0, 3, 19, IGNORE], np.uint8), (5, 6, 7))
    np.testing.assert_array_equal(pool_semantics(volume, (5, 6, 7), 20, pooling), volume)


def test_wrong_arguments_are_refused():
    volume = np.zeros((4, 4, 4), dtype=np.uint8)
    with pytest.raises(ValueError, match="does not divide"):
        pool_semantics(volume, (4, 3, 4), 20)
    with pytest.raises(ValueError, match="does not divide"):
        pool_any(volume > 0, (8, 4, 4))
    with pytest.raises(ValueError, match="occupied_first, majority"):
        pool_semantics(volume, (2, 2, 2), 20, "mean")


@pytest.mark.parametrize("axes", [[], [0], [1], [2], [0, 1], [0, 1, 2]])
def test_flipped_labels_stay_with_their_points(axes):
    """The label at a point is the flipped label at the reflected point; the grid's middle is not the origin."""
    grid = VoxelGrid((0, -3, -1), (4, 1, 2), (8, 4, 6))
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 200, grid.shape).astype(np.uint8)
    flipped = flip_volume(labels, axes)
    matrix = flip_matrix(grid, axes)
    points = torch.from_numpy(rng.uniform(np.add(grid.lower, 1e-3), np.subtract(grid.upper, 1e-3), (500, 3))).float()
    reflected = points @ matrix[:3, :3].T + matrix[:3, 3]

    def label_at(volume, points):
        index = ((points - torch.tensor(grid.lower)) / torch.tensor(grid.voxel_size)).floor().long()
        return volume[tuple(index.T)]

    assert torch.equal(label_at(torch.from_numpy(labels), points), label_at(flipped, reflected))
    torch.testing.assert_close(matrix @ matrix, torch.eye(4))
    assert matrix.det().item() == pytest.approx((-1) ** len(axes))
