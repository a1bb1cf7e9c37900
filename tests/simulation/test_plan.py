"""The plan of a data set: official names, shares within rounding, no dependence on anything but the seed."""

from collections import Counter

import numpy as np
import pytest
from nuscenes.utils.splits import create_splits_scenes

from al_lightning.simulation.plan import EVENTS, LOCATIONS, WITHOUT_CAN_BUS, derive_seed, plan_scenes, spread, town_seed
from al_lightning.simulation.presets import PRESETS

SPLITS = create_splits_scenes()


def parts(plans):
    return {split: [plan for plan in plans if plan.name in set(SPLITS[split])] for split in ("train", "val")}


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_scenes_belong_to_the_official_splits(preset):
    plans = plan_scenes(preset, 0)
    split = parts(plans)
    assert (len(split["train"]), len(split["val"])) == (preset.train_scenes, preset.val_scenes)
    assert [plan.name for plan in plans] == sorted({plan.name for plan in plans})


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["mini", "small"])
def test_shares_hold_within_rounding_in_each_split(name, seed):
    for plans in parts(plan_scenes(PRESETS[name], seed)).values():
        count = len(plans)
        assert abs(sum(plan.weather.night for plan in plans) - 0.12 * count) <= 0.5
        assert abs(sum(plan.weather.rain for plan in plans) - 0.19 * count) <= 0.5
        events = Counter(plan.event for plan in plans if plan.event)
        assert abs(events.total() - 0.10 * count) <= 0.5
        assert set(events) <= set(EVENTS)
        assert max(events[event] for event in EVENTS) - min(events[event] for event in EVENTS) <= 1
        places = Counter(plan.location for plan in plans)
        assert all(abs(places[location] - share * count) < 1 for location, share in LOCATIONS.items())


def test_mini_has_every_kind_of_scene_in_both_splits():
    for plans in parts(plan_scenes(PRESETS["mini"], 0)).values():
        assert any(plan.weather.night for plan in plans)
        assert any(plan.weather.rain for plan in plans)
        assert any(plan.event for plan in plans)
        assert {plan.location for plan in plans} == set(LOCATIONS)


def test_seed_decides():
    tiny = PRESETS["tiny"]
    assert plan_scenes(tiny, 3) == plan_scenes(tiny, 3)
    assert [plan.name for plan in plan_scenes(tiny, 3)] != [plan.name for plan in plan_scenes(tiny, 4)]
    seeds = [town_seed(seed, location) for seed in (0, 1) for location in LOCATIONS]
    assert len(set(seeds)) == len(seeds)


def test_scenes_never_share_seed_log_or_time():
    plans = plan_scenes(PRESETS["full"], 0)
    for values in ([plan.seed for plan in plans], [plan.logfile for plan in plans]):
        assert len(set(values)) == len(plans)
    starts = np.sort([plan.timestamp for plan in plans])
    assert np.diff(starts).min() > 60e6


def test_it_is_dark_in_the_evening():
    for plan in plan_scenes(PRESETS["mini"], 0):
        assert (plan.start.hour >= 19) == plan.weather.night


def test_scenes_without_can_bus_are_used_last():
    silent = WITHOUT_CAN_BUS & {int(name[-4:]) for split in ("train", "val") for name in SPLITS[split]}
    assert silent
    for preset, some in (("mini", False), ("small", True)):
        numbers = {int(plan.name[-4:]) for plan in plan_scenes(PRESETS[preset], 0)}
        assert numbers & silent == (silent if some else set())


def test_spread_rounds_by_largest_remainder():
    kinds = spread(10, [0.55, 0.21, 0.14, 0.1], np.random.default_rng(0))
    assert Counter(kinds) == {0: 6, 1: 2, 2: 1, 3: 1}
    assert Counter(spread(7, [0.2], np.random.default_rng(0))) == {0: 1, -1: 6}


def test_derived_seeds_depend_on_every_part_and_on_order():
    assert len({derive_seed(1, 2), derive_seed(2, 1), derive_seed(1, 2, 0), derive_seed(1, 3)}) == 4
