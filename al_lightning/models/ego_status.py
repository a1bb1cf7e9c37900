"""A planner that sees nothing: the ego vehicle's own motion and its command to a plan (AD-MLP, arXiv 2305.10430).

It shows how much of open-loop planning is mere extrapolation, and trains in seconds. It looks at what had been measured
by then, and at nothing that VAD's converter takes from the time after the keyframe: at the first keyframe of a scene
the whole `DrivingInputs.ego_history`, and `DrivingInputs.ego_status`, whose velocity and yaw rate are of the future
there, as is its speed wherever a set has no CAN bus.

Shape letters: B samples, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from al_lightning.driving import Drive, DrivingInputs, DrivingPrediction, plan_alone

COMMANDS = 3
SIGNALS = slice(7, 16)
"""Acceleration, rotation rate and velocity in `DrivingInputs.can_bus`; 0 where a set has no CAN bus."""
SPEED = 13
"""Velocity forward in `DrivingInputs.can_bus`, m/s."""
MEASURED = 14
"""Numbers of `measured`."""
STEP_SECONDS = 0.5


class EgoStatusPlanner(nn.Module):
    """Corrects driving on at the last displacement, by layers that look at what was `measured`.

    It starts as that extrapolation; where a scene is new, at the speed that the CAN bus tells. The plan for each
    command comes from the same layers, asked three times.

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
            inputs: a batch; only `ego_history`, `can_bus` and `new_scene` are read.
            history: not looked at.

        Returns:
            A prediction without agents, map elements and bird's-eye view.
        """
        known = measured(inputs)
        B = len(known)
        commands = torch.eye(COMMANDS, device=known.device).expand(B, -1, -1)
        asked = torch.cat((known[:, None].expand(-1, COMMANDS, -1), commands), dim=-1)
        correction = self.correction(self.layers(asked)).view(B, COMMANDS, -1, 2)
        return plan_alone((_last_displacement(inputs)[:, None, None] + correction).float())

    def prepare(self, features: Tensor, inputs: DrivingInputs, history: Tensor | None = None) -> Drive:
        """`drive`, to be called again and again."""
        return lambda plan_only=False: self.drive(features, inputs, history)  # noqa: ARG005 - there is no more

    def carry(self, inputs: DrivingInputs, history: Tensor | None = None) -> Tensor:
        """Nothing to carry to the next frame (B, 0, 0)."""
        return inputs.images.new_zeros(len(inputs.images), 0, 0)

    def forward(self, inputs: DrivingInputs, history: Tensor | None = None) -> DrivingPrediction:
        """`drive` without features."""
        return self.drive(self.extract(inputs.images), inputs, history)


def measured(inputs: DrivingInputs) -> Tensor:
    """What is known of the ego vehicle at a keyframe without looking ahead.

    Returns:
        (B, 14): two displacements (0 where the scene is new), acceleration, rotation rate and velocity, each x, y, z,
        and 1 where the scene is new. Not the steering: VAD's converter turns its sign around in Singapore, and the
        planner is not told the town.
    """
    new = inputs.new_scene[:, None]
    history = inputs.ego_history.flatten(1).masked_fill(new, 0)
    return torch.cat((history, inputs.can_bus[:, SIGNALS], new), dim=1)


def _last_displacement(inputs: DrivingInputs) -> Tensor:
    """The way (B, 2) of the last half second; where the scene is new, what the measured speed makes of it."""
    forward = STEP_SECONDS * inputs.can_bus[:, SPEED]
    ahead = torch.stack((torch.zeros_like(forward), forward), dim=1)
    return torch.where(inputs.new_scene[:, None], ahead, inputs.ego_history[:, -1])
