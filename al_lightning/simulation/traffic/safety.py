"""How near to a collision a scene comes: clearance and time to collision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from al_lightning.simulation.traffic.boxes import clearances
from al_lightning.simulation.traffic.events import EGO_CENTER, EGO_HALF, Unsuitable
from al_lightning.simulation.world import TIME_STEP, Array, Track

CRITICAL_TIME = 2.2
"""Time to collision below which an event is critical (seconds)."""
CRITICAL_GAP = 0.6
"""Clearance below which passing a vehicle is critical (metres)."""
CRITICAL_SPEED = 1.0
"""The ego vehicle must be faster than this for it (metres a second)."""
MIDDLE = (0.25, 0.75)
"""Part of the scene in which its event has to happen."""


def ego_boxes(ego: Array) -> Array:
    """Middle of the ego vehicle's box (T, 3), given the point under its rear axle."""
    yaw = ego[:, 2]
    ahead: Array = np.stack([np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)], axis=-1)
    return ego + EGO_CENTER * ahead


def halves(tracks: Sequence[Track]) -> Array:
    """Half length and half width (N, 2)."""
    return np.array([(track.size[1] / 2, track.size[0] / 2) for track in tracks]).reshape(-1, 2)


def ego_clearances(ego: Array, tracks: Sequence[Track]) -> Array:
    """Distance (N, T) between the ego vehicle and each track, 0 where they overlap, infinite when far."""
    poses = np.array([track.poses for track in tracks]).reshape(-1, len(ego), 3)
    result: Array = clearances(ego_boxes(ego), EGO_HALF, poses, halves(tracks))
    return result


def times_to_collision(clearance: Array) -> Array:
    """Seconds (N, T - 1) until contact if the clearance (N, T) went on to shrink as from one step to the next."""
    with np.errstate(invalid="ignore"):  # far both times: infinite less infinite
        closing = (clearance[:, :-1] - clearance[:, 1:]) / TIME_STEP
    known = np.isfinite(closing) & (closing > 1e-3)
    return np.where(known, clearance[:, 1:] / np.where(known, closing, 1.0), np.inf)


def check_critical(event: str, ego: Array, speed: Array, actors: Sequence[Track]) -> None:
    """Make sure that the event's actors become critical around the middle of the scene.

    Raises:
        Unsuitable: they do not.
    """
    middle = slice(int(MIDDLE[0] * len(ego)), int(MIDDLE[1] * len(ego)))
    clearance = ego_clearances(ego, actors)[:, middle]
    driving = speed[middle] > CRITICAL_SPEED
    if event == "narrow_gap":
        critical = bool((clearance.min(axis=0) < CRITICAL_GAP)[driving].any())
    else:
        critical = bool((times_to_collision(clearance).min(axis=0) < CRITICAL_TIME)[driving[1:]].any())
    if not critical:
        raise Unsuitable("the event is not critical")


def check_contact(ego: Array, tracks: Sequence[Track]) -> None:
    """Make sure that the ego vehicle touches nobody.

    Raises:
        Unsuitable: it does.
    """
    if bool((ego_clearances(ego, tracks) <= 0).any()):
        raise Unsuitable("the ego vehicle collides")
