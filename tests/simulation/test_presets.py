"""Presets are valid, frozen and found by name."""

from dataclasses import FrozenInstanceError, replace

import pytest

from al_lightning.simulation.presets import PRESETS, find_preset
from al_lightning.simulation.sensors.rig import checked_image_size


def test_presets_are_known_by_their_names():
    assert list(PRESETS) == ["tiny", "mini", "small", "full"]
    assert all(find_preset(name).name == name for name in PRESETS)


def test_unknown_preset_names_those_that_exist():
    with pytest.raises(ValueError, match=r"tiny, mini, small, full, got 'huge'"):
        find_preset("huge")


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_cameras_have_images_of_that_size(preset):
    assert checked_image_size(preset.image_size) == preset.image_size


def test_large_presets_hold_all_official_scenes():
    for name in ("small", "full"):
        assert (PRESETS[name].train_scenes, PRESETS[name].val_scenes) == (700, 150)


@pytest.mark.parametrize(
    "change",
    [
        {"train_scenes": 701},
        {"val_scenes": 151},
        {"towns": 5},
        {"towns": 0},
        {"keyframes": 2},
        {"blocks": 1},
        {"image_size": (8, 16)},
        {"train_scenes": 0, "val_scenes": 0},
    ],
    ids=str,
)
def test_sizes_that_cannot_be_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change)) if len(change) == 1 else "at least one scene"):
        replace(PRESETS["tiny"], **change)


def test_presets_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        PRESETS["tiny"].keyframes = 4
