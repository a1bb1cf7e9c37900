"""The compiled walk along lines of sight, against the one of all voxels together; what both mean is tested there."""

import itertools

import numpy as np
import pytest
import torch

from al_lightning.acquisition.sight_kernel import RADII, free_levels, seen_by_cameras
from al_lightning.acquisition.visibility import TOUCH, together_seen_by_cameras

SHAPE = (9, 7, 5)


def world(seed, share):
    generator = torch.Generator().manual_seed(seed)
    occupied = torch.rand(SHAPE, generator=generator) < share
    frustum = torch.rand(3, *SHAPE, generator=generator) < 0.7
    cameras = torch.rand(3, 3, generator=generator, dtype=torch.float64) * torch.tensor(SHAPE) * 1.4 - 1
    cameras[1] = cameras[1].round()  # on a corner of voxels, where crossings fall together
    cameras[2] = cameras[2].floor() + 0.5
    return occupied, frustum, cameras


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 1.0])
def test_equals_all_voxels_together(share):
    for seed in range(40):
        occupied, frustum, cameras = world(seed, share)
        expected = together_seen_by_cameras(occupied, frustum, cameras)
        assert torch.equal(seen_by_cameras(occupied, frustum, cameras, TOUCH), expected)
        if share == 0.05:
            assert expected.any()
            assert not expected.all()


def wide_world(seed):
    """Free space as wide as a walk may leave in one step, between things of all sizes."""
    generator = torch.Generator().manual_seed(seed)
    occupied = torch.rand((97, 110, 6), generator=generator) < 10 ** -float(2 + seed % 4)
    occupied[:, :, : seed % 3] = True
    wall = int(torch.randint(97, (1,), generator=generator))
    occupied[wall, 20:90, : seed % 7] = True
    cameras = torch.rand(3, 3, generator=generator, dtype=torch.float64) * torch.tensor([97, 110, 9])
    cameras[0], cameras[1] = cameras[0].round(), cameras[1].floor() + 0.5
    return occupied, torch.rand(3, *occupied.shape, generator=generator) < 0.2, cameras


@pytest.mark.parametrize("seed", range(12))
def test_one_step_out_of_free_space_equals_all_voxels_together(seed):
    occupied, frustum, cameras = wide_world(seed)
    expected = together_seen_by_cameras(occupied, frustum, cameras)
    assert expected.any()
    assert torch.equal(seen_by_cameras(occupied, frustum, cameras, TOUCH), expected)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 1.0])
def test_free_levels_equal_brute_force(share):
    occupied = np.random.default_rng(0).random((30, 21, 4)) < share
    levels = free_levels(occupied)
    for side, (x, y, z) in itertools.product((0, 1), itertools.islice(np.ndindex(occupied.shape), 0, None, 7)):
        layers = slice(z, z + 2) if side == 0 else slice(max(z - 1, 0), z + 1)

        def free(radius, x=x, y=y, layers=layers):
            near = occupied[max(x - radius, 0) : x + radius + 1, max(y - radius, 0) : y + radius + 1, layers]
            return not near.any()

        expected = int(not occupied[x, y, z]) + sum(free(radius) for radius in RADII[2:])
        assert levels[side, x, y, z] == expected


def test_any_memory_layout():
    occupied, frustum, cameras = world(0, 0.1)
    expected = seen_by_cameras(occupied, frustum, cameras, TOUCH)
    turned = occupied.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert torch.equal(seen_by_cameras(turned, frustum, cameras, TOUCH), expected)
