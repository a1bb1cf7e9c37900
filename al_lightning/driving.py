"""What an end-to-end driver is given, what it says, and what it is trained with.

Frames: the LiDAR of the current key frame, x right, y forward, z up, metres; all boxes, lines and trajectories lie in
it. A trajectory is a list of displacements, one for each step of 0.5 s; positions are their cumulative sum.

Shape letters: B samples, N cameras, H W pixels, Q cells of the bird's-eye view, C channels, L decoder layers,
A agents, K agent classes, M modes, T steps, V map elements, P points of an element, O orderings of these points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

RIGHT, LEFT, STRAIGHT = 0, 1, 2
"""Driving commands, rows of the plan."""

AGENT_CLASSES = (
    "car", "truck", "construction_vehicle", "bus", "trailer", "barrier", "motorcycle", "bicycle", "pedestrian",
    "traffic_cone",
)  # fmt: skip
"""Classes of agents, in the order of their labels."""

OBSTACLES = (AGENT_CLASSES.index("barrier"), AGENT_CLASSES.index("traffic_cone"))
"""Classes that are no road users: the published collision rate does not count them."""

DIVIDER, PED_CROSSING, BOUNDARY = 0, 1, 2
"""Classes of map elements."""

PADDING = -1
"""Label of a row that only fills up a fixed number of boxes or map elements."""


@dataclass
class DrivingInputs:
    """One frame of a drive (a sample, or a batch with a leading B).

    Attributes:
        images: (N, 3, H, W) float32, normalized; cameras always in the same order.
        lidar2img: (N, 4, 4) LiDAR frame to pixels (u d, v d, d, 1) of the network's input.
        can_bus: (18,) float32. 0:2 way since the previous frame along the global x and y, metres; 3:16 pose and CAN
            signals, fed to the network as they are; 16 heading, radians; 17 change of heading since the previous frame,
            degrees, counter-clockwise.
        new_scene: () bool, there is no previous frame: whatever history is carried belongs to another scene.
        command: () int64, `RIGHT`, `LEFT` or `STRAIGHT`.
        ego_history: (2, 2) the last displacements of the ego vehicle, metres. VAD does not look at them. TRAP: at the
            first keyframe of a scene VAD's converter makes them of the future.
        ego_status: (9,) velocity, acceleration, yaw rate, size, speed, steering. VAD does not look at them. TRAP: so it
            makes velocity and yaw rate there and, without a CAN bus, the speed everywhere.
        ego_future: (T, 2) logged displacements of the ego vehicle, metres; None where nobody has driven on yet. A
            record of the drive, not a label: it may be read of an unlabeled scene, but is no input of a network.
        ego_future_mask: (T,) bool, the steps that were driven; None likewise.
        unit_mask: (T,) bool, the steps that end at a keyframe of the same unit, which is labeled together with this
            one; None for all.
    """

    images: Tensor
    lidar2img: Tensor
    can_bus: Tensor
    new_scene: Tensor
    command: Tensor
    ego_history: Tensor
    ego_status: Tensor
    ego_future: Tensor | None = None
    ego_future_mask: Tensor | None = None
    unit_mask: Tensor | None = None


@dataclass
class OtherAgents:
    """Annotated agents that nothing is trained or validated with: far away now, or hit by no sensor.

    The attributes are those of `DrivingAnnotations`, of as many rows.
    """

    boxes: Tensor
    labels: Tensor
    futures: Tensor
    future_mask: Tensor
    future_yaw: Tensor


@dataclass
class DrivingAnnotations:
    """The truth of one frame (a sample, or a batch with a leading B); rows labeled `PADDING` fill up A and V.

    Attributes:
        boxes: (A, 9) gravity centre x, y, z, width, length, height (metres), yaw in the stored convention
            (-yaw - pi/2), velocity x, y (m/s).
        labels: (A,) int64 class of each box.
        futures: (A, T, 2) displacements, metres.
        future_mask: (A, T) bool, the steps that are known.
        lines: (V, O, P, 2) points of each map element in all orderings that mean the same, metres; spare orderings are
            filled with a far constant (-10000).
        line_labels: (V,) int64 `DIVIDER`, `PED_CROSSING` or `BOUNDARY`.
        ego_future: (T, 2) displacements of the ego vehicle, metres.
        ego_future_mask: (T,) bool, the steps that are known.
        future_yaw: (A, T) changes of yaw from step to step, radians, counter-clockwise; None for agents that keep it.
        others: the annotated agents that are not among these; None where they are not known.
    """

    boxes: Tensor
    labels: Tensor
    futures: Tensor
    future_mask: Tensor
    lines: Tensor
    line_labels: Tensor
    ego_future: Tensor
    ego_future_mask: Tensor
    future_yaw: Tensor | None = None
    others: OtherAgents | None = None


@dataclass
class DrivingPrediction:
    """What an end-to-end driver says of a batch.

    Attributes:
        bev: (B, Q, C) bird's-eye view, row by row (y), the encoder's output.
        agent_logits: (L, B, A, K) class scores of every decoder layer, the last one counts; sigmoid.
        agent_boxes: (L, B, A, 10) centre x, y (metres), log width, log length, centre z, log height, sin and cos of the
            stored yaw, velocity x, y.
        agent_futures: (B, A, M, T, 2) displacements in each mode, metres.
        agent_mode_logits: (B, A, M) scores of the modes; sigmoid.
        line_logits: (L, B, V, 3) class scores of map elements; sigmoid.
        lines: (L, B, V, P, 2) points, metres.
        plan: (B, 3, T, 2) displacements of the ego vehicle for each command, metres.
    """

    bev: Tensor
    agent_logits: Tensor
    agent_boxes: Tensor
    agent_futures: Tensor
    agent_mode_logits: Tensor
    line_logits: Tensor
    lines: Tensor
    plan: Tensor


def plan_alone(plan: Tensor) -> DrivingPrediction:
    """A prediction that holds nothing but a plan (B, 3, T, 2)."""
    B, _, T, _ = plan.shape
    return DrivingPrediction(
        bev=plan.new_zeros(B, 0, 0),
        agent_logits=plan.new_zeros(1, B, 0, 0),
        agent_boxes=plan.new_zeros(1, B, 0, 10),
        agent_futures=plan.new_zeros(B, 0, 0, T, 2),
        agent_mode_logits=plan.new_zeros(B, 0, 0),
        line_logits=plan.new_zeros(1, B, 0, 3),
        lines=plan.new_zeros(1, B, 0, 0, 2),
        plan=plan,
    )


class Drive(Protocol):
    """Predicts one and the same batch again and again; random if dropout has become active."""

    def __call__(self, plan_only: bool = False) -> DrivingPrediction:
        """All of the prediction; or its plan, the rest of which may then be left empty as by `plan_alone`."""
        ...


def commanded(plan: Tensor, command: Tensor) -> Tensor:
    """The displacements (B, T, 2) that belong to the command (B,) among all (B, commands, T, 2)."""
    return plan[torch.arange(len(plan), device=plan.device), command]


def commanded_positions(plan: Tensor, command: Tensor) -> Tensor:
    """Where the ego vehicle will be under its command.

    Args:
        plan: (B, 3, T, 2) displacements for each command.
        command: (B,) int64.

    Returns:
        (B, T, 2) positions after each step, metres.
    """
    return commanded(plan, command).cumsum(dim=1)


def footprints(annotations: DrivingAnnotations | OtherAgents) -> tuple[Tensor, Tensor]:
    """Where the annotated agents will stand.

    Args:
        annotations: of a sample or a batch.

    Returns:
        (..., A, T, 5) x, y, yaw (counter-clockwise from +x), length, width at each step, and (..., A, T) bool, the
        steps at which an agent is known; where it is not, the footprint means nothing.
    """
    boxes, futures = annotations.boxes, annotations.futures
    centers = boxes[..., None, :2] + futures.cumsum(dim=-2)
    yaw = (-boxes[..., 6:7] - math.pi / 2).expand(futures.shape[:-1])
    if annotations.future_yaw is not None:
        yaw = yaw + annotations.future_yaw.cumsum(dim=-1)
    size = boxes[..., None, [4, 3]].expand(*futures.shape[:-1], 2)
    present = annotations.future_mask & (annotations.labels != PADDING)[..., None]
    return torch.cat((centers, yaw[..., None], size), dim=-1), present


def current_footprints(annotations: DrivingAnnotations | OtherAgents) -> Tensor:
    """Where the annotated agents stand now: (..., A, 5), as `footprints`; of padding it means nothing."""
    boxes = annotations.boxes
    return torch.cat((boxes[..., :2], -boxes[..., 6:7] - math.pi / 2, boxes[..., [4, 3]]), dim=-1)
