"""Who is on the road: densities, shares and sizes, in one place so that they can be calibrated.

Sizes are (width, length, height) in metres, means over nuScenes; densities are means, and vary from scene to scene.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Size = tuple[float, float, float]

SIZES: Mapping[str, Size] = {
    "vehicle.car": (1.95, 4.62, 1.73),
    "vehicle.truck": (2.45, 6.9, 2.85),
    "vehicle.bus.rigid": (2.85, 11.2, 3.45),
    "vehicle.bus.bendy": (2.9, 12.0, 3.4),
    "vehicle.trailer": (2.7, 10.5, 3.7),
    "vehicle.construction": (2.65, 6.0, 3.0),
    "vehicle.motorcycle": (0.78, 2.1, 1.45),
    "vehicle.bicycle": (0.6, 1.72, 1.3),
    "vehicle.emergency.ambulance": (2.25, 6.2, 2.7),
    "vehicle.emergency.police": (2.0, 4.9, 1.75),
    "human.pedestrian.adult": (0.67, 0.72, 1.77),
    "human.pedestrian.child": (0.5, 0.5, 1.3),
    "human.pedestrian.construction_worker": (0.7, 0.74, 1.74),
    "human.pedestrian.police_officer": (0.7, 0.72, 1.8),
    "human.pedestrian.stroller": (0.62, 1.0, 1.15),
    "human.pedestrian.wheelchair": (0.75, 1.05, 1.35),
    "human.pedestrian.personal_mobility": (0.6, 1.1, 1.75),
    "animal": (0.35, 0.8, 0.55),
    "movable_object.barrier": (2.4, 0.55, 1.0),
    "movable_object.trafficcone": (0.42, 0.42, 1.05),
    "movable_object.pushable_pullable": (0.65, 0.7, 1.05),
    "movable_object.debris": (0.8, 0.9, 0.7),
    "static_object.bicycle_rack": (2.2, 5.0, 1.3),
}
"""The width of a barrier is its long side, as in nuScenes."""
SIZE_SPREAD = 0.06
"""Standard deviation of each side, as a share of the mean; at most twice that."""

REACH = 90.0
"""Actors are simulated up to so far from the ego vehicle's way (metres)."""
TRACK_RANGE = 70.0
"""Tracks are kept that come so near to the ego vehicle (metres)."""

MOVING_PER_100_M = 3.7
"""Moving vehicles per 100 m of lane."""
MOVING_SPREAD = 0.4
"""Standard deviation over scenes of the logarithm of that density."""
MOVING_SHARES: Mapping[str, float] = {
    "vehicle.car": 0.76,
    "vehicle.truck": 0.14,
    "vehicle.bus.rigid": 0.035,
    "vehicle.bus.bendy": 0.003,
    "vehicle.motorcycle": 0.013,
    "vehicle.bicycle": 0.01,
    "vehicle.construction": 0.006,
    "vehicle.emergency.ambulance": 0.003,
    "vehicle.emergency.police": 0.004,
}
TRAILER_BEHIND_TRUCK = 0.06
"""Share of the moving trucks that pull a trailer."""

PARKED_OCCUPANCY = (0.55, 1.0)
"""Share of parking places that are taken, drawn evenly for each scene."""
PARKED_SHARES: Mapping[str, float] = {
    "vehicle.car": 0.92,
    "vehicle.truck": 0.07,
    "vehicle.motorcycle": 0.006,
    "vehicle.bus.rigid": 0.0,
    "vehicle.trailer": 0.0,
}
TRAILER_YARD = 0.27
"""Share of the scenes with trailers parked somewhere."""
TRAILER_SHARE = 0.7
"""Share of trailers among the parked of such a scene."""

SITE_ACTIVE = 0.2
"""Probability that work goes on at a site."""
SITE_VEHICLE = 0.45
"""Probability that a construction vehicle stands on an active site."""
SITE_ENCLOSED = 0.35
"""Probability that an active site has barriers on both sides."""
SITE_CONES = 0.8
"""Probability that any other active site has traffic cones."""
LOOSE_BARRIERS = 0.25
"""Share of the scenes with a row of barriers along a road without any work."""

PEDESTRIANS_PER_100_M = 3.4
"""Pedestrians per 100 m of sidewalk, groups counted by head."""
PEDESTRIANS_SPREAD = 0.6
"""Standard deviation over scenes of the logarithm of that density."""
PEDESTRIAN_SHARES: Mapping[str, float] = {
    "human.pedestrian.adult": 0.93,
    "human.pedestrian.child": 0.03,
    "human.pedestrian.police_officer": 0.006,
    "human.pedestrian.stroller": 0.01,
    "human.pedestrian.personal_mobility": 0.008,
    "human.pedestrian.wheelchair": 0.006,
    "animal": 0.01,
}
STANDING_SHARE = 0.2
SITTING_SHARE = 0.03
"""Shares of the pedestrians who stand, and who sit."""
CROSSERS_PER_CROSSING = 0.3
"""Groups that want to cross, for each crossing and 20 s."""
SIDEWALK_BICYCLES = 0.1
"""Share of the scenes with somebody cycling on a sidewalk."""
PARKED_BICYCLES = 0.08
"""Share of the scenes with bicycles leaning somewhere on a sidewalk."""
PARKED_MOTORCYCLES = 0.08
"""Share of the scenes with motorcycles on a sidewalk."""
BICYCLE_RACKS = 0.08
"""Share of the scenes with a bicycle rack."""
LOOSE_OBJECTS = 0.3
"""Share of the scenes with bins, trolleys or debris on a sidewalk."""


def draw_category(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    """One of the categories, in proportion to its share."""
    weights = np.array(list(shares.values()))
    return str(rng.choice(list(shares), p=weights / weights.sum()))


def draw_size(category: str, rng: np.random.Generator) -> Size:
    """The mean size, varied within twice `SIZE_SPREAD`."""
    factor = 1 + SIZE_SPREAD * np.clip(rng.normal(size=3), -2, 2)
    width, length, height = (float(round(v * f, 3)) for v, f in zip(SIZES[category], factor, strict=True))
    return width, length, height
