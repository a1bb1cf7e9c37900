"""What there is to see in a scene, in the style of nuScenes' descriptions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from al_lightning.simulation.world import Array, Town, Track

TURNS = {"left": "turn left at intersection", "right": "turn right at intersection", "straight": "cross intersection"}
EVENT_PHRASES = {
    "cut_in": "cut in",
    "hard_braking": "hard braking",
    "jaywalking": "jaywalker",
    "narrow_gap": "narrow gap between vehicles",
}
SIGHT = 40.0
"""Things farther away go unmentioned (metres)."""
WAITING_STEPS = 15
"""The ego vehicle waits if it stands for so many steps."""


def describe(
    town: Town, lanes: Sequence[int], speed: Array, ego: Array, tracks: Sequence[Track], event: str
) -> tuple[str, ...]:
    """Short phrases, the event first, the first one capitalized."""
    phrases = [EVENT_PHRASES[event]] if event else []
    phrases += [TURNS[town.lanes[n].turn] for n in lanes if town.lanes[n].junction >= 0]
    if (speed < 0.2).sum() >= WAITING_STEPS:
        at_crossing = any(town.lanes[n].crossings for n in lanes)
        phrases.append("wait at crossing" if at_crossing else "wait in traffic")
    near = [track for track in tracks if np.hypot(*(track.poses - ego)[:, :2].T).min() < SIGHT]
    phrases += _sights(town, near)
    unique = list(dict.fromkeys(phrases)) or ["empty road"]
    return (unique[0][0].upper() + unique[0][1:], *unique[1:])


def _at_work(town: Town, near: Sequence[Track]) -> bool:
    """Whether some construction zone is closed off by barriers."""
    barriers = np.array([track.poses[0] for track in near if track.category == "movable_object.barrier"]).reshape(-1, 3)
    for site in town.sites:
        cos, sin = np.cos(site.yaw), np.sin(site.yaw)
        x, y = barriers[:, 0] - site.x, barriers[:, 1] - site.y
        inside = (abs(x * cos + y * sin) < site.length / 2) & (abs(y * cos - x * sin) < site.width / 2)
        if inside.sum() >= 2:
            return True
    return False


def _sights(town: Town, near: Sequence[Track]) -> list[str]:
    count = {track.category: sum(t.category == track.category for t in near) for track in near}
    parked = sum("vehicle.parked" in track.attributes for track in near)
    people = sum(track.category.startswith("human.pedestrian") for track in near)
    moving = sum("vehicle.moving" in track.attributes for track in near)
    chances = [
        (parked >= 4, "parked cars"),
        (moving >= 8, "dense traffic"),
        (people >= 8, "many peds"),
        (0 < people < 8, "peds on sidewalk"),
        (_at_work(town, near), "construction zone"),
        (any(category.startswith("vehicle.bus") for category in count), "bus"),
        ("vehicle.truck" in count, "truck"),
        ("vehicle.trailer" in count, "trailer"),
        ("vehicle.construction" in count, "construction vehicle"),
        ("vehicle.motorcycle" in count, "motorcycle"),
        ("vehicle.bicycle" in count, "bicycle"),
        ("movable_object.trafficcone" in count, "traffic cones"),
        ("static_object.bicycle_rack" in count, "bicycle rack"),
    ]
    return [phrase for holds, phrase in chances if holds]
