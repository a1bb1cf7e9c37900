"""The grid before the cameras against the official loops, and where it is laid."""

import numpy as np
import pytest
import torch
from fake_driving import driving_inputs
from test_vad import small

from al_lightning.models.vad.grid_mask import GridMask, grid_mask


def official(height, width, period, start):
    """The loops of VAD's `GridMask` with use_h, use_w, ratio 0.5 and mode 1; 1 where the image stays."""
    frame_height, frame_width = int(1.5 * height), int(1.5 * width)
    band = min(max(int(period * 0.5 + 0.5), 1), period - 1)
    mask = np.ones((frame_height, frame_width), np.float32)
    for i in range(frame_height // period):
        begin = period * i + start[0]
        mask[begin : min(begin + band, frame_height), :] *= 0
    for i in range(frame_width // period):
        begin = period * i + start[1]
        mask[:, begin : min(begin + band, frame_width)] *= 0
    top, left = (frame_height - height) // 2, (frame_width - width) // 2
    return 1 - mask[top : top + height, left : left + width]


@pytest.mark.parametrize(("height", "width"), [(12, 20), (13, 7), (3, 3)])
def test_the_grid_is_the_official_one(height, width):
    for period in range(2, height):
        for start in np.ndindex(period, period):
            mask = grid_mask(height, width, period, start)
            np.testing.assert_array_equal(mask.numpy(), official(height, width, period, start))


def test_one_grid_lies_over_all_images_and_the_rest_is_untouched():
    images = torch.rand(2, 6, 3, 24, 40) + 1
    torch.manual_seed(0)
    seen = GridMask(1.0).train()(images)
    hidden = seen == 0
    assert seen.shape == images.shape
    assert (hidden == hidden[0, 0, 0]).all()
    assert 0 < hidden.float().mean() < 1
    assert torch.equal(seen[~hidden], images[~hidden])


def test_the_probability_is_met_and_every_period_comes():
    torch.manual_seed(0)
    images, module = torch.ones(1, 1, 1, 8, 8), GridMask(0.7).train()
    seen = [module(images) for _ in range(2000)]
    assert abs(sum(one is not images for one in seen) / 2000 - 0.7) < 0.04
    assert len({tuple(one.flatten().tolist()) for one in seen}) > 60


@pytest.mark.parametrize(("probability", "training"), [(0.0, True), (1.0, False), (0.0, False)])
def test_off_it_changes_nothing_and_draws_nothing(probability, training):
    images, before = torch.rand(1, 2, 3, 8, 8), torch.get_rng_state()
    assert GridMask(probability).train(training)(images) is images
    assert torch.equal(torch.get_rng_state(), before)


def test_the_network_is_masked_in_training_and_neither_its_past_nor_its_predictions():
    inputs = driving_inputs()
    plain, masked = small(frozen_trunk=True), small(frozen_trunk=True, grid_mask=1.0)  # the same weights
    with torch.no_grad():
        for mode in (True, False):
            plain.train(mode)
            masked.train(mode)
            assert torch.equal(plain.carry(inputs), masked.carry(inputs))
            assert torch.equal(plain.extract(inputs.images), masked.extract(inputs.images)) != mode


def test_the_grid_follows_from_the_seed():
    masked, images = small(frozen_trunk=True, grid_mask=1.0).train(), driving_inputs().images
    seen = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        with torch.no_grad():
            seen.append(masked.extract(images))
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(probability):
    with pytest.raises(ValueError, match="grid_mask must be a probability"):
        GridMask(probability)
