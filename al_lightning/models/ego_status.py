"""A planner that sees nothing: the ego vehicle's own motion and its command to a plan (AD-MLP, arXiv 2305.10430).

It shows how much of open-loop planning is mere extrapolation, and trains in seconds.

Shape letters: B samples, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from al_lightning.driving import DrivingInputs, DrivingPrediction

COMMANDS = 3
MEASURED = 13
"""Numbers of `ego_history` and `ego_status`."""


class EgoStatusPlanner(nn.Module):
    """Corrects driving on at the last displacement, by layers that look at the ego vehicle's history and status.

    It starts as that extrapolation. The plan for each command comes from the same layers, asked three times.

    Args:
        hidden: widths of the hidden layers.
        steps: T.
        dropout: rate of dropout after every hidden layer; stochastic passes need some.

    Raises:
        ValueError: there is no hidden layer, a size is not positive, or the rate is outside [0, 1).
    """

    def __init__(self, hidden: Sequence[int] = (128, 128), steps: int = 6, dropout: float = 0.1) -> None:
        super().__init__()
        if not hidden or min(*hidden, steps) < 1 or not 0 <= dropout < 1:
            raise ValueError(
                "sizes must be positive, one hidden layer at least, and dropout in [0, 1), "
                f"got hidden {tuple(hidden)}, steps {steps}, dropout {dropout}"
            )
        widths = (MEASURED + COMMANDS, *hidden)
        layers = [
            nn.Sequential(nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout))
            for before, after in pairwise(widths)
        ]
        self.layers = nn.Sequential(*layers)
        self.correction = nn.Linear(widths[-1], steps * 2)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def extract(self, images: Tensor) -> Tensor:
        """No features (B, 0) of images (B, ...)."""
        return images.new_zeros(len(images), 0)

    def drive(self, features: Tensor, inputs: DrivingInputs, history: Tensor | None = None) -> DrivingPrediction:
        """Plan for each command; random where dropout is active.

        Args:
            features: not looked at.
            inputs: a batch; only `ego_history` and `ego_status` are read.
            history: not looked at.

        Returns:
            A prediction without agents, map elements and bird's-eye view.
        """
        measured = torch.cat((inputs.ego_history.flatten(1), inputs.ego_status), dim=1)
        B = len(measured)
        commands = torch.eye(COMMANDS, device=measured.device).expand(B, -1, -1)
        asked = torch.cat((measured[:, None].expand(-1, COMMANDS, -1), commands), dim=-1)
        correction = self.correction(self.layers(asked)).view(B, COMMANDS, -1, 2)
        plan = (inputs.ego_history[:, None, -1:] + correction).float()
        return _plan_alone(plan)

    def carry(self, inputs: DrivingInputs, history: Tensor | None = None) -> Tensor:
        """Nothing to carry to the next frame (B, 0, 0)."""
        return inputs.images.new_zeros(len(inputs.images), 0, 0)

    def forward(self, inputs: DrivingInputs, history: Tensor | None = None) -> DrivingPrediction:
        """`drive` without features."""
        return self.drive(self.extract(inputs.images), inputs, history)


def _plan_alone(plan: Tensor) -> DrivingPrediction:
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
