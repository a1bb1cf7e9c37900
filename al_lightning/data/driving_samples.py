"""What the planning data sets have in common: units, inputs and annotations of a keyframe.

Shape letters: N keyframes, A boxes, V map elements.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.data.driving_agents import Agents, in_planning_range
from al_lightning.data.driving_images import Normalization
from al_lightning.data.driving_motion import EgoMotion, Rows, scene_bounds
from al_lightning.data.map_vectors import ORDERS, POINTS, Line, line_orders
from al_lightning.driving import PADDING, DrivingAnnotations, DrivingInputs

logger = logging.getLogger(__name__)

SPLITS = ("train", "val")


@dataclass(frozen=True)
class EgoColumns:
    """Everything that a sample says of the ego vehicle, as columns of length N.

    Attributes:
        motion: history, future, command.
        status: (N, 9) float32.
        can_bus: (N, 18) float32.
        follows: (N,) bool, the previous row is the previous keyframe and belongs to the same unit.
    """

    motion: EgoMotion
    status: NDArray[np.float32]
    can_bus: NDArray[np.float32]
    follows: NDArray[np.bool_]

    def inputs(self, row: int, images: Tensor, lidar2img: Tensor) -> DrivingInputs:
        """The inputs of a keyframe."""
        return DrivingInputs(
            images=images,
            lidar2img=lidar2img,
            can_bus=torch.tensor(self.can_bus[row]),
            new_scene=torch.tensor(not self.follows[row]),
            command=torch.tensor(self.motion.command[row]),
            ego_history=torch.tensor(self.motion.history[row]),
            ego_status=torch.tensor(self.status[row]),
            ego_future=torch.tensor(self.motion.future[row]),
            ego_future_mask=torch.tensor(self.motion.future_mask[row]),
        )


def group_rows(scenes: Sequence[str], clip: int | None) -> tuple[tuple[str, ...], Rows]:
    """Names of the units and the unit (N,) of each row.

    Args:
        scenes: name of the scene of each row; the rows of a scene follow each other.
        clip: least rows of a unit: a scene is cut into as many clips as it can fill, of lengths that differ by one at
            most, and is left whole where it is shorter; None for scenes.

    Raises:
        ValueError: a clip is not positive.
    """
    if clip is not None and clip < 1:
        raise ValueError(f"clip must be a positive number of keyframes or null, got {clip}")
    names = list(scenes)
    if clip is not None:
        first, last = scene_bounds(scenes)
        size = last - first + 1
        number = (np.arange(len(names)) - first) * np.maximum(size // clip, 1) // size
        names = [f"{scene}/{number:02d}" for scene, number in zip(scenes, number, strict=True)]
    units = tuple(dict.fromkeys(names))
    number = {name: unit for unit, name in enumerate(units)}
    return units, np.array([number[name] for name in names], dtype=np.int64)


def driving_annotations(
    agents: Agents, lines: Sequence[Line], motion: EgoMotion, row: int, max_agents: int, max_lines: int
) -> DrivingAnnotations:
    """The truth of a keyframe, filled up to fixed numbers.

    Args:
        agents: those that count; only those in the planning range are kept.
        lines: class and course of the map elements.
        motion: of the ego vehicle.
        row: number of the keyframe.
        max_agents: A; of more agents the nearest are kept, with a warning.
        max_lines: V; of more map elements the nearest are kept, with a warning.
    """
    agents = agents.take(in_planning_range(agents.boxes))
    agents = agents.take(_nearest("agents", np.hypot(*agents.boxes[:, :2].T), max_agents))
    orders = np.array([line_orders(line) for _, line in lines], dtype=np.float32).reshape(-1, ORDERS, POINTS, 2)
    labels = np.array([label for label, _ in lines], dtype=np.int64)
    distance = np.hypot(orders[:, 0, :, 0], orders[:, 0, :, 1]).min(axis=1)
    kept = _nearest("map elements", distance, max_lines)
    return DrivingAnnotations(
        boxes=_filled(agents.boxes, max_agents),
        labels=_filled(agents.labels, max_agents, PADDING),
        futures=_filled(agents.futures, max_agents),
        future_mask=_filled(agents.future_mask, max_agents),
        lines=_filled(orders[kept], max_lines),
        line_labels=_filled(labels[kept], max_lines, PADDING),
        ego_future=torch.tensor(motion.future[row]),
        ego_future_mask=torch.tensor(motion.future_mask[row]),
        future_yaw=_filled(agents.future_yaw, max_agents),
    )


def _nearest(what: str, distance: NDArray[np.floating[Any]], count: int) -> Rows:
    """Positions of the ``count`` nearest, in their order."""
    if len(distance) > count:
        logger.warning(
            "a keyframe has %d %s in the planning range: the %d nearest are kept", len(distance), what, count
        )
    return np.sort(np.argsort(distance, kind="stable")[:count])


def _filled(rows: NDArray[Any], count: int, value: int = 0) -> Tensor:
    """Rows followed by as many of the value as are needed."""
    filled = np.full((count, *rows.shape[1:]), value, dtype=rows.dtype)
    filled[: len(rows)] = rows
    return torch.from_numpy(filled)


def check_options(split: str, normalization: str, max_agents: int, max_lines: int) -> None:
    """Refuse what no planning data set can be asked for.

    Raises:
        ValueError: an option is unknown, or a number of rows is not positive.
    """
    for name, value, options in (
        ("split", split, SPLITS),
        ("normalization", normalization, get_args(Normalization)),
    ):
        if value not in options:
            raise ValueError(f"{name} must be one of {', '.join(options)}, got '{value}'")
    for name, count in (("max_agents", max_agents), ("max_lines", max_lines)):
        if count < 1:
            raise ValueError(f"{name} must be positive, got {count}")
