"""All losses of VAD together.

Shape letters: B samples, A agents, T steps, L decoder layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from al_lightning.driving import BOUNDARY, DIVIDER, PADDING, DrivingAnnotations, DrivingPrediction, commanded
from al_lightning.losses.agents import box_codes, detection_losses, match_agents, motion_losses
from al_lightning.losses.map_elements import map_losses
from al_lightning.losses.planning import (
    plan_boundary,
    plan_collision,
    plan_direction,
    plan_regression,
)


class VADLoss(nn.Module):
    """Perception, motion and planning; the defaults are the official end-to-end training of VAD-tiny.

    The matchings use the weights of classes, boxes and points. All decoder layers learn classes, boxes and points; the
    futures, of which there is one set, use the matching of the last layer.

    Args:
        extent: (x, y) size of the bird's-eye view, metres; distances between map points count relative to it.
        agent_class: weight of the agents' classes.
        agent_box: weight of their boxes.
        future: weight of their futures.
        mode: weight of the modes' scores.
        line_class: weight of the map elements' classes.
        line_point: weight of their points.
        line_direction: weight of their directions.
        plan: weight of the distance to the driver's trajectory.
        plan_boundary: weight of `plan_boundary`.
        plan_collision: weight of `plan_collision`.
        plan_direction: weight of `plan_direction`.
    """

    def __init__(
        self,
        extent: tuple[float, float] = (30.0, 60.0),
        agent_class: float = 2.0,
        agent_box: float = 0.25,
        future: float = 0.2,
        mode: float = 0.2,
        line_class: float = 2.0,
        line_point: float = 1.0,
        line_direction: float = 0.005,
        plan: float = 1.0,
        plan_boundary: float = 1.0,
        plan_collision: float = 1.0,
        plan_direction: float = 0.5,
    ) -> None:
        super().__init__()
        self.extent = extent
        self.weights = {
            "agent_class": agent_class,
            "agent_box": agent_box,
            "future": future,
            "mode": mode,
            "line_class": line_class,
            "line_point": line_point,
            "line_direction": line_direction,
            "plan": plan,
            "plan_boundary": plan_boundary,
            "plan_collision": plan_collision,
            "plan_direction": plan_direction,
        }

    def forward(
        self, prediction: DrivingPrediction, annotations: DrivingAnnotations, command: Tensor
    ) -> dict[str, Tensor]:
        """Weigh what is wrong.

        Args:
            prediction: of a batch.
            annotations: of the batch.
            command: (B,) int64.

        Returns:
            Weighted losses by the names of the arguments of the class; their sum is the loss.

        Raises:
            ValueError: annotations or predictions that are not finite.
        """
        losses = (
            self._agents(prediction, annotations)
            | self._map(prediction, annotations)
            | planning_losses(prediction, annotations, command)
        )
        return {name: self.weights[name] * loss for name, loss in losses.items()}

    def _agents(self, prediction: DrivingPrediction, annotations: DrivingAnnotations) -> dict[str, Tensor]:
        real = [labels != PADDING for labels in annotations.labels]
        labels = _rows(annotations.labels, real)
        codes = [box_codes(boxes) for boxes in _rows(annotations.boxes, real)]
        layers = []
        for logits, boxes in zip(prediction.agent_logits, prediction.agent_boxes, strict=True):
            matches = [
                match_agents(*sample, self.weights["agent_class"], self.weights["agent_box"])
                for sample in zip(logits, boxes, labels, codes, strict=True)
            ]
            layers.append(detection_losses(logits, boxes, labels, codes, matches))
        futures, masks = _rows(annotations.futures, real), _rows(annotations.future_mask, real)
        future, mode = motion_losses(prediction.agent_futures, prediction.agent_mode_logits, futures, masks, matches)
        agent_class, agent_box = map(_sum, zip(*layers, strict=True))
        return {"agent_class": agent_class, "agent_box": agent_box, "future": future, "mode": mode}

    def _map(self, prediction: DrivingPrediction, annotations: DrivingAnnotations) -> dict[str, Tensor]:
        real = [labels != PADDING for labels in annotations.line_labels]
        labels, orders = _rows(annotations.line_labels, real), _rows(annotations.lines, real)
        extent = prediction.lines.new_tensor(self.extent)
        layers = [
            map_losses(logits, lines, labels, orders, extent, self.weights["line_class"], self.weights["line_point"])
            for logits, lines in zip(prediction.line_logits, prediction.lines, strict=True)
        ]
        line_class, line_point, line_direction = map(_sum, zip(*layers, strict=True))
        return {"line_class": line_class, "line_point": line_point, "line_direction": line_direction}


def planning_losses(
    prediction: DrivingPrediction, annotations: DrivingAnnotations, command: Tensor
) -> dict[str, Tensor]:
    """The planning losses without weights; map and agents are those that the network itself predicts."""
    mask = annotations.ego_future_mask
    trajectory = commanded(prediction.plan, command)
    lines, line_scores = prediction.lines[-1], prediction.line_logits[-1].sigmoid()
    return {
        "plan": plan_regression(prediction.plan, command, annotations.ego_future, mask),
        "plan_boundary": plan_boundary(trajectory, mask, lines, line_scores[..., BOUNDARY]),
        "plan_collision": plan_collision(
            trajectory,
            mask,
            prediction.agent_boxes[-1][..., :2],
            prediction.agent_futures,
            prediction.agent_logits[-1].sigmoid(),
            prediction.agent_mode_logits,
        ),
        "plan_direction": plan_direction(trajectory, mask, lines, line_scores[..., DIVIDER]),
    }


def _sum(losses: tuple[Tensor, ...]) -> Tensor:
    """The sum over the decoder layers."""
    return torch.stack(losses).sum()


def _rows(values: Tensor, real: list[Tensor]) -> list[Tensor]:
    """The rows of each sample that do not only fill up."""
    return [rows[keep] for rows, keep in zip(values, real, strict=True)]
