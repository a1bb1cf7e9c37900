"""The compiled walk along lines of sight, against the one of all voxels together; what both mean is tested there."""

import pytest
import torch

from al_lightning.acquisition.sight_kernel import seen_by_cameras
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


def test_any_memory_layout():
    occupied, frustum, cameras = world(0, 0.1)
    expected = seen_by_cameras(occupied, frustum, cameras, TOUCH)
    turned = occupied.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert torch.equal(seen_by_cameras(turned, frustum, cameras, TOUCH), expected)
