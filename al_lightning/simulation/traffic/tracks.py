"""Turns what happened in a scene into tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from al_lightning.simulation.traffic.boxes import overlapping_pairs
from al_lightning.simulation.traffic.events import Script
from al_lightning.simulation.traffic.furniture import Standing
from al_lightning.simulation.traffic.pedestrians import Crowd
from al_lightning.simulation.traffic.population import TRACK_RANGE
from al_lightning.simulation.traffic.safety import halves
from al_lightning.simulation.traffic.vehicles import Vehicle
from al_lightning.simulation.world import TIME_STEP, Array, Track

MOVING_SPEED = 0.2
"""Vehicles slower than this are stopped (metres a second)."""


@dataclass(frozen=True)
class Run:
    """What happened, step by step.

    Attributes:
        s, speed, acceleration: (T,) of the ego vehicle.
        ego: (T, 3) its rear axle.
        vehicles: (T, n, 3) middles of the other vehicles.
        trailers: (T, k, 3).
        speeds: (T, n) of the other vehicles.
        walks: (T, m, 3).
        walking: (T, m) speeds.
        scripted: (T, q, 3).
    """

    s: Array
    speed: Array
    acceleration: Array
    ego: Array
    vehicles: Array
    trailers: Array
    speeds: Array
    walks: Array
    walking: Array
    scripted: Array


def collect_tracks(
    run: Run, vehicles: Sequence[Vehicle], crowd: Crowd, script: Script, standing: Sequence[Standing],
    rng: np.random.Generator,
) -> list[Track]:  # fmt: skip
    """All tracks, those of the script first."""
    steps = len(run.ego)
    tracks = []
    for k, (category, size) in enumerate(script.actors):
        poses = run.scripted[:, k]
        speeds = np.hypot(*np.gradient(poses[:, :2], TIME_STEP, axis=0).T)
        tracks.append(Track(category, size, poses, _attributes(category, speeds), int(rng.integers(2**31))))
    trailer = 0
    for n, vehicle in enumerate(vehicles):
        names = _attributes(vehicle.category, run.speeds[:, n])
        tracks.append(Track(vehicle.category, vehicle.size, run.vehicles[:, n], names, vehicle.seed))
        if vehicle.trailer:
            tracks.append(Track("vehicle.trailer", vehicle.trailer, run.trailers[:, trailer],
                                _attributes("vehicle.trailer", run.speeds[:, n]), vehicle.seed + 1))  # fmt: skip
            trailer += 1
    for thing in sorted(standing, key=lambda thing: -thing.size[0] * thing.size[1]):
        poses = np.tile(np.array(thing.pose), (steps, 1))
        tracks.append(Track(thing.category, thing.size, poses, (thing.attribute,) * steps, thing.seed))
    for m, walk in enumerate(crowd.walks):
        names = tuple(walk.moving if speed > MOVING_SPEED else walk.still for speed in run.walking[:, m])
        tracks.append(Track(walk.category, walk.size, run.walks[:, m], names, walk.seed))
    return tracks


def _attributes(category: str, speeds: Array) -> tuple[str, ...]:
    if category in ("vehicle.bicycle", "vehicle.motorcycle"):
        return ("cycle.with_rider",) * len(speeds)
    if category.startswith("human."):
        return tuple("pedestrian.moving" if speed > MOVING_SPEED else "pedestrian.standing" for speed in speeds)
    return tuple("vehicle.moving" if speed > MOVING_SPEED else "vehicle.stopped" for speed in speeds)


def in_reach(tracks: list[Track], ego: Array) -> list[Track]:
    """Those that come near to the ego vehicle (T, 3)."""
    return [track for track in tracks if np.hypot(*(track.poses - ego)[:, :2].T).min() < TRACK_RANGE]


def prune(tracks: list[Track], actors: int) -> list[Track]:
    """Leave out those that overlap an earlier one, unless both are people and one walks; the first ``actors`` stay."""
    if not tracks:
        return tracks
    poses = np.array([track.poses for track in tracks])
    moving = np.ptp(poses[:, :, :2], axis=1).max(axis=1) > 0
    pairs = overlapping_pairs(poses, halves(tracks), moving)
    human = np.array([track.category.startswith("human.") for track in tracks])
    pairs &= ~(human[:, None] & human & (moving[:, None] | moving))
    kept: list[int] = []
    for n in range(len(tracks)):
        if n < actors or not pairs[n, kept].any():
            kept.append(n)
    return [tracks[n] for n in kept]
