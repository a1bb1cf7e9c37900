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
from al_lightning.data.driving_motion import FUTURE_STEPS, EgoMotion, Rows, scene_bounds
from al_lightning.data.map_vectors import ORDERS, POINTS, Line, line_orders
from al_lightning.driving import PADDING, DrivingAnnotations, DrivingInputs, OtherAgents

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
        left: (N,) int64 steps that lead to keyframes of the same unit.
    """

    motion: EgoMotion
    status: NDArray[np.float32]
    can_bus: NDArray[np.float32]
    follows: NDArray[np.bool_]
    left: Rows

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
            unit_mask=torch.arange(FUTURE_STEPS) < int(self.left[row]),
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


def clip_ends(scenes: Sequence[str], unit_of: Rows) -> tuple[Rows, NDArray[np.bool_]]:
    """Steps (N,) that lead to keyframes of the same unit; (N,) bool, where a unit begins or ends amid its scene.

    A unit that ends with its scene is left as it is in the file, where keyframes may be missing.
    """
    rows = np.arange(len(unit_of))
    first, last = (np.searchsorted(unit_of, unit_of, side=side) for side in ("left", "right"))
    begin, end = scene_bounds(scenes)
    inner = last - 1 < end
    left = np.where(inner, last - 1 - rows, FUTURE_STEPS)
    return left, ((rows == first) & (first > begin)) | ((rows == last - 1) & inner)


def driving_annotations(
    agents: Agents,
    counted: NDArray[np.bool_],
    lines: Sequence[Line],
    motion: EgoMotion,
    row: int,
    max_agents: int,
    max_lines: int,
) -> DrivingAnnotations:
    """The truth of a keyframe, filled up to fixed numbers.

    Args:
        agents: all of the ten classes.
        counted: (A,) those to train and validate with, if they are in the planning range; the rest are `others`.
        lines: class and course of the map elements.
        motion: of the ego vehicle.
        row: number of the keyframe.
        max_agents: A; of more agents, or of more others, the nearest are kept, with a warning.
        max_lines: V; of more map elements the nearest are kept, with a warning.
    """
    counted = counted & in_planning_range(agents.boxes)
    targets, others = agents.take(counted), agents.take(~counted)
    orders = np.array([line_orders(line) for _, line in lines], dtype=np.float32).reshape(-1, ORDERS, POINTS, 2)
    labels = np.array([label for label, _ in lines], dtype=np.int64)
    distance = np.hypot(orders[:, 0, :, 0], orders[:, 0, :, 1]).min(axis=1)
    kept = _nearest("map elements in the planning range", distance, max_lines)
    return DrivingAnnotations(
        **_agent_rows("agents in the planning range", targets, max_agents),
        others=OtherAgents(**_agent_rows("other agents", others, max_agents)),
        lines=_filled(orders[kept], max_lines),
        line_labels=_filled(labels[kept], max_lines, PADDING),
        ego_future=torch.tensor(motion.future[row]),
        ego_future_mask=torch.tensor(motion.future_mask[row]),
    )


def _agent_rows(what: str, agents: Agents, count: int) -> dict[str, Tensor]:
    """Columns of so many agents, the nearest."""
    agents = agents.take(_nearest(what, np.hypot(*agents.boxes[:, :2].T), count))
    return {name: _filled(column, count, PADDING if name == "labels" else 0) for name, column in vars(agents).items()}


def _nearest(what: str, distance: NDArray[np.floating[Any]], count: int) -> Rows:
    """Positions of the ``count`` nearest, in their order."""
    if len(distance) > count:
        logger.warning("a keyframe has %d %s: the %d nearest are kept", len(distance), what, count)
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
