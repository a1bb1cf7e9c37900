"""Random colours against mmdet3d's steps, one pixel at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from al_lightning.data import PhotometricDistortion
from al_lightning.data.photometric import Colours, change_colours, draw_colours

EPSILON = np.finfo(np.float32).eps


def to_hsv(red, green, blue):
    """OpenCV's formula for floats: hue in degrees, value as it comes in."""
    value, low = max(red, green, blue), min(red, green, blue)
    spread = value - low
    scale = 60 / (spread + EPSILON)
    if value == red:
        hue = (green - blue) * scale
    elif value == green:
        hue = (blue - red) * scale + 120
    else:
        hue = (red - green) * scale + 240
    return hue + 360 * (hue < 0), spread / (abs(value) + EPSILON), value


def to_rgb(hue, saturation, value):
    sector, part = divmod(hue / 60, 1)
    low, falling, rising = (value * (1 - saturation * share) for share in (1, part, 1 - part))
    return ((value, rising, low), (falling, value, low), (low, value, rising), (low, falling, value),
            (rising, low, value), (value, low, falling))[int(sector) % 6]  # fmt: skip


def by_hand(pixel, colours):
    pixel = [(channel + colours.brightness) * colours.contrast for channel in pixel]
    hue, saturation, value = to_hsv(*pixel)
    hue += colours.hue
    if hue > 360:
        hue -= 360
    if hue < 0:
        hue += 360
    pixel = [channel * colours.late_contrast for channel in to_rgb(hue, saturation * colours.saturation, value)]
    return [pixel[channel] for channel in colours.channels]


choices = st.builds(
    Colours,
    brightness=st.sampled_from([0.0, -32.0, 17.0]),
    contrast=st.sampled_from([1.0, 0.5, 1.4]),
    saturation=st.sampled_from([1.0, 0.5, 1.5]),
    hue=st.sampled_from([0.0, -18.0, 11.0]),
    late_contrast=st.sampled_from([1.0, 0.7]),
    channels=st.permutations(range(3)).map(tuple),
)


@settings(deadline=None, max_examples=100)
@given(arrays(np.uint8, (3, 4, 3)), choices)
def test_every_pixel_is_changed_as_in_mmdet3d(pixels, colours):
    changed = change_colours(pixels, colours)
    expected = np.array([[by_hand(pixel.tolist(), colours) for pixel in row] for row in pixels])
    assert changed.dtype == np.float32
    assert changed.flags.c_contiguous
    np.testing.assert_allclose(changed, expected, atol=2e-3)


def test_nothing_to_do_leaves_the_image_and_what_is_given_stays():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    before = pixels.copy()
    np.testing.assert_allclose(change_colours(pixels, Colours()), pixels, atol=1e-3)
    change_colours(pixels, Colours(brightness=9.0, channels=(2, 1, 0)))
    np.testing.assert_array_equal(pixels, before)
    assert change_colours(np.zeros((1, 1, 3), np.uint8), Colours(brightness=-32.0)).min() == -32
    assert change_colours(np.full((1, 1, 3), 255, np.uint8), Colours(contrast=1.5)).max() == 382.5


def test_draws_have_the_probabilities_and_ranges_of_vad():
    generator = np.random.default_rng(1)
    drawn = [draw_colours(generator, PhotometricDistortion()) for _ in range(4000)]
    columns = {name: np.array([getattr(c, name) for c in drawn]) for name in vars(drawn[0])}
    for name, neutral, low, high, share in (
        ("brightness", 0, -32, 32, 0.5),
        ("contrast", 1, 0.5, 1.5, 0.25),
        ("late_contrast", 1, 0.5, 1.5, 0.25),
        ("saturation", 1, 0.5, 1.5, 0.5),
        ("hue", 0, -18, 18, 0.5),
    ):
        changed = columns[name][columns[name] != neutral]
        assert abs(len(changed) / 4000 - share) < 4 * math.sqrt(share * (1 - share) / 4000), name
        assert low <= changed.min() < low + 0.02 * (high - low), name
        assert high - 0.02 * (high - low) < changed.max() <= high, name
    assert not ((columns["contrast"] != 1) & (columns["late_contrast"] != 1)).any()
    moved = (columns["channels"] != np.arange(3)).any(1)
    assert abs(moved.mean() - 0.5 * 5 / 6) < 0.035
    assert len(set(map(tuple, columns["channels"]))) == 6


def test_the_same_generator_draws_the_same():
    first, second = (draw_colours(np.random.default_rng((3, 1, 4)), PhotometricDistortion()) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "arguments",
    [{"brightness": -1.0}, {"hue": 200.0}, {"contrast": (1.5, 0.5)}, {"saturation": (0.0, 1.0)}, {"contrast": (1.0,)}],
)
def test_ranges_that_are_none_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        PhotometricDistortion(**arguments)
