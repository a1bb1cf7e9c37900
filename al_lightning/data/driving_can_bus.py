"""The CAN bus of a nuScenes-format set at its keyframes, read by nuscenes-devkit."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from al_lightning.data.driving_motion import Array, Rows, VehicleSignals
from al_lightning.types import DataFileError

logger = logging.getLogger(__name__)

KINDS = ("pose", "steeranglefeedback")
RATES = ("accel", "rotation_rate", "vel")

Messages = Sequence[Mapping[str, Any]]


def read_signals(root: Path, scenes: Sequence[str], timestamps: Rows) -> VehicleSignals:
    """Signals at keyframes. One warning tells how many scenes have no CAN bus; their signals are 0, as in VAD.

    Args:
        root: folder that holds ``can_bus``, which may be missing.
        scenes: names of the scenes of the N keyframes.
        timestamps: (N,) int64 microseconds.

    Raises:
        DataFileError: a file is damaged.
    """
    signals = VehicleSignals.unknown(len(scenes))
    names = np.array(scenes)
    lacking = []
    for name in np.unique(names):
        messages = _messages(root, str(name))
        if messages is None:
            lacking.append(str(name))
            continue
        rows = np.flatnonzero(names == name)
        try:
            signals.rates[rows] = later_rates(messages["pose"], timestamps[rows])
            signals.speed[rows] = [pose["vel"][0] for pose in nearest(messages["pose"], timestamps[rows])]
            signals.steering[rows] = [m["value"] for m in nearest(messages["steeranglefeedback"], timestamps[rows])]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataFileError(f"the CAN bus of {name} in {root / 'can_bus'} cannot be used: {error!r}") from error
        signals.known[rows] = True
    if lacking:
        logger.warning(
            "%d of %d scenes have no CAN bus in %s: their signals are 0; the first: %s",
            len(lacking),
            len(set(scenes)),
            root / "can_bus",
            lacking[0],
        )
    return signals


def _messages(root: Path, scene: str) -> dict[str, Messages] | None:
    """Pose and steering messages of a scene, or None where it has none.

    The devkit refuses scenes that nuScenes recorded without CAN bus by their names.
    """
    files = [root / "can_bus" / f"{scene}_{kind}.json" for kind in KINDS]
    if not all(path.is_file() for path in files):
        return None
    from nuscenes.can_bus.can_bus_api import NuScenesCanBus

    reader = NuScenesCanBus(str(root))
    if scene in {f"scene-{number:04d}" for number in reader.can_blacklist}:
        return None
    try:
        return {kind: reader.get_messages(scene, kind) for kind in KINDS}
    except (AssertionError, OSError, ValueError) as error:
        raise DataFileError(f"cannot read the CAN bus of {scene} in {root / 'can_bus'}: {error}") from error


def later_rates(poses: Messages, timestamps: Rows) -> Array:
    """Acceleration, rotation rate and velocity (N, 9) of the first pose message after each keyframe, else of the last.

    TRAP: VAD takes position and orientation, which are overwritten later, of the message before.
    """
    moments = np.array([pose["utime"] for pose in poses], dtype=np.int64)
    after = np.minimum(np.searchsorted(moments, timestamps, side="right"), len(poses) - 1)
    return _finite([np.concatenate([poses[i][key] for key in RATES]) for i in after], 9)


def nearest(messages: Messages, timestamps: Rows) -> list[Mapping[str, Any]]:
    """The message nearest in time to each keyframe, of two equally near the later one."""
    moments = np.array([message["utime"] for message in messages], dtype=np.int64)
    after = np.searchsorted(moments, timestamps)
    before = np.maximum(after - 1, 0)
    after = np.minimum(after, len(messages) - 1)
    earlier = timestamps - moments[before] < moments[after] - timestamps
    return [messages[i] for i in np.where((after == before) | earlier, before, after)]


def _finite(rows: list[Array], width: int) -> Array:
    values = np.array(rows, dtype=np.float64).reshape(len(rows), -1)
    if values.shape[1] != width or not np.isfinite(values).all():
        raise ValueError(f"{', '.join(RATES)} must be {width} finite numbers")
    return values
