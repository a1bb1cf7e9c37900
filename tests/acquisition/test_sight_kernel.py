"""The compiled walks along lines of sight, against the one of all voxels together; what both mean is tested there."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from al_lightning.acquisition.bundle_kernel import TALLEST
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


def wide_world(seed):
    """Wide free space between things of all sizes."""
    generator = torch.Generator().manual_seed(seed)
    occupied = torch.rand((97, 110, 6), generator=generator) < 10 ** -float(2 + seed % 4)
    occupied[:, :, : seed % 3] = True
    wall = int(torch.randint(97, (1,), generator=generator))
    occupied[wall, 20:90, : seed % 7] = True
    cameras = torch.rand(3, 3, generator=generator, dtype=torch.float64) * torch.tensor([97, 110, 9])
    cameras[0], cameras[1] = cameras[0].round(), cameras[1].floor() + 0.5
    return occupied, torch.rand(3, *occupied.shape, generator=generator) < 0.2, cameras


@pytest.mark.parametrize("seed", range(12))
def test_a_wide_world_equals_all_voxels_together(seed):
    occupied, frustum, cameras = wide_world(seed)
    expected = together_seen_by_cameras(occupied, frustum, cameras)
    assert expected.any()
    assert torch.equal(seen_by_cameras(occupied, frustum, cameras, TOUCH), expected)


def special_places(shape, generator):
    """Cameras in and around a grid: anywhere, on planes, lines and corners of voxels, at centres, and next to them."""
    anywhere = generator.uniform(-0.5, 1.5, (7, 3)) * shape
    places, axis = anywhere.copy(), generator.integers(3)
    places[1, axis] = anywhere[1, axis].round()
    places[2] = anywhere[2].round()
    places[3] = np.floor(anywhere[3]) + 0.5
    places[4] = np.round(anywhere[4] * 2) / 2
    places[5] = np.round(anywhere[5]) + generator.choice([-1e-6, -1e-10, 1e-13, 1e-9, 1e-8], 3)
    places[6] *= 10
    return torch.from_numpy(places)


SHAPES = [(9, 7, 1), (1, 1, 12), (1, 9, 5), (8, 1, 16), (12, 11, 16), (6, 7, 33), (5, 4, TALLEST), (5, 4, TALLEST + 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.02, 0.2, 0.8])
def test_cameras_in_special_places(shape, share):
    for seed in range(6):
        generator = np.random.default_rng(seed)
        occupied = generator.random(shape) < share
        occupied[generator.random(shape[:2]) < 0.1] = True  # full columns
        occupied[:, :, : seed % 3] = True  # a road
        occupied[:, :, -1] |= seed == 5  # a roof
        occupied, cameras = torch.from_numpy(occupied), special_places(shape, generator)
        frustum = torch.ones(len(cameras), *shape, dtype=torch.bool)
        for one in range(len(cameras)):  # each by itself: together they hide each other's errors
            sight = occupied, frustum[one : one + 1], cameras[one : one + 1]
            assert torch.equal(seen_by_cameras(*sight, TOUCH), together_seen_by_cameras(*sight))
        expected = together_seen_by_cameras(occupied, frustum, cameras)
        assert torch.equal(seen_by_cameras(occupied, frustum, cameras, TOUCH), expected)


quarters = st.integers(-8, 40).map(lambda n: n / 4)


@given(
    camera=st.tuples(quarters, quarters, quarters), seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.1, 0.4])
)
@settings(max_examples=60, deadline=None)
def test_segments_through_edges_and_corners(camera, seed, share):
    occupied = torch.from_numpy(np.random.default_rng(seed).random((6, 7, 8)) < share)
    sight = occupied, torch.ones(1, *occupied.shape, dtype=torch.bool), torch.tensor([camera], dtype=torch.float64)
    assert torch.equal(seen_by_cameras(*sight, TOUCH), together_seen_by_cameras(*sight))


def test_a_voxel_is_met_less_than_a_touch_before_the_border():
    # On the way from voxel (1, 1, 7), the segment enters (2, 0, 9) and leaves the grid within a touch of each other.
    occupied = torch.zeros(5, 14, 14, dtype=torch.bool)
    occupied[2, 0, 9] = True
    sight = occupied, torch.ones(1, *occupied.shape, dtype=torch.bool)
    camera = torch.tensor([[3.0, -2.99999999, 12.00000001]], dtype=torch.float64)
    seen = seen_by_cameras(*sight, camera, TOUCH)
    assert not seen[1, 1, 7]
    assert torch.equal(seen, together_seen_by_cameras(*sight, camera))


def test_any_number_of_threads():
    occupied, frustum, cameras = wide_world(3)
    expected = seen_by_cameras(occupied, frustum, cameras, TOUCH)
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            assert torch.equal(seen_by_cameras(occupied, frustum, cameras, TOUCH), expected)
    finally:
        torch.set_num_threads(threads)


def test_any_memory_layout():
    occupied, frustum, cameras = world(0, 0.1)
    expected = seen_by_cameras(occupied, frustum, cameras, TOUCH)
    turned = occupied.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert torch.equal(seen_by_cameras(turned, frustum, cameras, TOUCH), expected)
