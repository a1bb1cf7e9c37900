"""The vocabularies of nuScenes: categories, attributes, levels of visibility, sensors, files of maps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from al_lightning.simulation.sensors.rig import CAMERAS

Row = dict[str, Any]
Rows = dict[str, list[Row]]

VERSION = "v1.0-sim"
CHANNELS = ("LIDAR_TOP", *CAMERAS)
SCENE_TABLES = (
    "log",
    "scene",
    "sample",
    "calibrated_sensor",
    "ego_pose",
    "sample_data",
    "instance",
    "sample_annotation",
)
"""Tables to which every scene adds rows of its own."""

MAP_MASKS: Mapping[str, str] = {
    "boston-seaport": "36092f0b03a857c6a3403e25b4b7aab3",
    "singapore-onenorth": "53992ee3023e5494b90c316c183be829",
    "singapore-queenstown": "93406b464a165eaba6d9de76ca09f5da",
    "singapore-hollandvillage": "37819e65e09e5547b8a3ceaefba56bb2",
}
"""The file name of each location's map mask, which the devkit's `BitMap` insists on."""

CATEGORIES: Mapping[str, str] = {
    "human.pedestrian.adult": "A grown person on foot.",
    "human.pedestrian.child": "A child on foot.",
    "human.pedestrian.wheelchair": "A wheelchair, with or without the person in it.",
    "human.pedestrian.stroller": "A stroller, with or without the child in it.",
    "human.pedestrian.personal_mobility": "A small means of transport such as a scooter, skateboard or Segway.",
    "human.pedestrian.police_officer": "A police officer on foot.",
    "human.pedestrian.construction_worker": "A construction worker on foot.",
    "animal": "An animal of any kind.",
    "vehicle.car": "A vehicle for personal use, such as a sedan, hatchback, van, pickup or jeep.",
    "vehicle.motorcycle": "A motor vehicle on two wheels, with or without rider.",
    "vehicle.bicycle": "A bicycle, with or without rider.",
    "vehicle.bus.bendy": "A bus of two or more sections with a pivot between them.",
    "vehicle.bus.rigid": "A bus or shuttle in one piece for more than ten persons.",
    "vehicle.truck": "A vehicle that is mainly meant for cargo.",
    "vehicle.construction": "A vehicle that is mainly meant for construction work.",
    "vehicle.emergency.ambulance": "An ambulance.",
    "vehicle.emergency.police": "A police car or motorcycle.",
    "vehicle.trailer": "A trailer of a truck, car or bicycle.",
    "movable_object.barrier": "A temporary barrier that can be moved.",
    "movable_object.trafficcone": "A traffic cone.",
    "movable_object.pushable_pullable": "An object that people push or pull, such as a bin or a cart.",
    "movable_object.debris": "Something on the road that is too large to be driven over safely.",
    "static_object.bicycle_rack": "A rack for bicycles, with all bicycles parked in it.",
}
ATTRIBUTES: Mapping[str, str] = {
    "vehicle.moving": "The vehicle moves.",
    "vehicle.stopped": "The vehicle stands, its driver means to go on.",
    "vehicle.parked": "The vehicle stands and will go on standing.",
    "cycle.with_rider": "Someone rides the bicycle or motorcycle.",
    "cycle.without_rider": "Nobody rides the bicycle or motorcycle.",
    "pedestrian.sitting_lying_down": "The person sits or lies.",
    "pedestrian.standing": "The person stands.",
    "pedestrian.moving": "The person moves.",
}
VISIBILITIES: Mapping[str, tuple[float, str]] = {
    "v0-40": (0.4, "visibility of whole object is between 0 and 40%"),
    "v40-60": (0.6, "visibility of whole object is between 40 and 60%"),
    "v60-80": (0.8, "visibility of whole object is between 60 and 80%"),
    "v80-100": (1.0, "visibility of whole object is between 80 and 100%"),
}
"""Level -> upper end and description; tokens are 1 to 4, as in nuScenes."""


def token(*parts: str | int) -> str:
    """The identity of a row: 32 hexadecimal digits that depend on its parts alone."""
    return hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def visibility_token(share: float) -> str:
    """Token of the level that holds a share of visible pixels."""
    return str(1 + sum(share > upper for upper, _ in list(VISIBILITIES.values())[:-1]))


def shared_rows() -> Rows:
    """The tables that are the same for all scenes: categories, attributes, levels of visibility, sensors."""
    return {
        "category": [
            {"token": token("category", name), "name": name, "description": text} for name, text in CATEGORIES.items()
        ],
        "attribute": [
            {"token": token("attribute", name), "name": name, "description": text} for name, text in ATTRIBUTES.items()
        ],
        "visibility": [
            {"description": text, "token": str(number), "level": level}
            for number, (level, (_, text)) in enumerate(VISIBILITIES.items(), start=1)
        ],
        "sensor": [
            {
                "token": token("sensor", channel),
                "channel": channel,
                "modality": "lidar" if channel == "LIDAR_TOP" else "camera",
            }
            for channel in CHANNELS
        ],
    }
