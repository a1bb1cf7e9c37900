"""Which scenes a data set holds: names, locations, weather, events and times, before anything is simulated.

Names come from nuScenes' official lists, so its splits apply. Shares hold within rounding within each split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import pi

import numpy as np

from al_lightning.simulation.presets import Preset
from al_lightning.simulation.world import Weather

LOCATIONS: Mapping[str, float] = {
    "boston-seaport": 0.55,
    "singapore-onenorth": 0.21,
    "singapore-queenstown": 0.14,
    "singapore-hollandvillage": 0.10,
}
"""nuScenes' locations and their shares of the scenes."""
NIGHT_SHARE, RAIN_SHARE, EVENT_SHARE = 0.12, 0.19, 0.10
EVENTS = ("cut_in", "hard_braking", "jaywalking", "narrow_gap")
WITHOUT_CAN_BUS = frozenset((*range(161, 169), *range(170, 177), *range(309, 315)))
"""Numbers of scenes whose CAN bus messages the devkit refuses to open, since the real ones have none."""
FIRST_DAY = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ScenePlan:
    """A scene to be simulated.

    Attributes:
        name: ``scene-0001``, from an official list of nuScenes.
        location: name of the town.
        weather: light, rain, sun.
        event: what happens to the ego vehicle, or ``""``; see `world.Drive`.
        seed: source of everything random in the scene.
        start: time of the first keyframe.
    """

    name: str
    location: str
    weather: Weather
    event: str
    seed: int
    start: datetime

    @property
    def timestamp(self) -> int:
        """Time of the first keyframe, microseconds since 1970."""
        return int(self.start.timestamp()) * 1_000_000

    @property
    def logfile(self) -> str:
        """Name of the log, in nuScenes' style: vehicle, local time, time zone."""
        return self.start.strftime("sim-%Y-%m-%d-%H-%M-%S+0000")


def derive_seed(*parts: int) -> int:
    """A seed of 32 bits that depends on all parts, their order and their number."""
    return int(np.random.SeedSequence((len(parts), *parts)).generate_state(1)[0])


def town_seed(seed: int, location: str) -> int:
    """The seed of a town."""
    return derive_seed(seed, 1, list(LOCATIONS).index(location))


def spread(count: int, shares: Sequence[float], generator: np.random.Generator) -> list[int]:
    """Kinds 0, 1, .. of ``count`` things in random order, each as often as its share says, within rounding.

    Largest remainders decide; what the shares leave is -1.
    """
    parts = np.array([*shares, max(0.0, 1.0 - sum(shares))]) * count
    counts = np.floor(parts + 1e-9).astype(int)
    for kind in np.argsort(counts - parts, kind="stable")[: count - counts.sum()]:
        counts[kind] += 1
    kinds = np.repeat([*range(len(shares)), -1], counts)
    return [int(kind) for kind in generator.permutation(kinds)]


def scene_names(split: str, count: int, seed: int) -> list[str]:
    """``count`` names of an official split, in a seeded order; those without a CAN bus come last."""
    from nuscenes.utils.splits import create_splits_scenes  # here, since it loads the whole devkit

    names = sorted(create_splits_scenes()[split])
    order = np.random.default_rng([seed, 2, len(names)]).permutation(len(names))
    drawn = [names[position] for position in order]
    return sorted(drawn, key=lambda name: int(name[-4:]) in WITHOUT_CAN_BUS)[:count]


def plan_scenes(preset: Preset, seed: int) -> list[ScenePlan]:
    """All scenes of a data set, sorted by name."""
    plans = []
    for part, (split, count) in enumerate((("train", preset.train_scenes), ("val", preset.val_scenes))):
        names = sorted(scene_names(split, count, seed))
        generator = np.random.default_rng([seed, 3, part])
        shares = list(LOCATIONS.values())[: preset.towns]
        places = spread(count, [share / sum(shares) for share in shares], generator)
        night = spread(count, [NIGHT_SHARE], generator)
        rain = spread(count, [RAIN_SHARE], generator)
        event = spread(count, [EVENT_SHARE], generator)
        events = iter(spread(event.count(0), [1 / len(EVENTS)] * len(EVENTS), generator))
        plans += [
            _plan_scene(
                name,
                location=list(LOCATIONS)[places[row]],
                night=night[row] == 0,
                rain=rain[row] == 0,
                event=EVENTS[next(events)] if event[row] == 0 else "",
                seed=seed,
            )
            for row, name in enumerate(names)
        ]
    return sorted(plans, key=lambda plan: plan.name)


def _plan_scene(name: str, location: str, night: bool, rain: bool, event: str, seed: int) -> ScenePlan:
    number = int(name[-4:])
    generator = np.random.default_rng([seed, 4, number])
    sun = (float(generator.uniform(-pi, pi)), float(generator.uniform(0.35, 1.2)))
    hour = 19 + int(generator.integers(3)) if night else 9 + int(generator.integers(8))
    return ScenePlan(
        name=name,
        location=location,
        weather=Weather(night=night, rain=rain, sun=sun, seed=derive_seed(seed, 5, number)),
        event=event,
        seed=derive_seed(seed, 6, number),
        start=FIRST_DAY + timedelta(days=number, hours=hour, minutes=int(generator.integers(60))),
    )
