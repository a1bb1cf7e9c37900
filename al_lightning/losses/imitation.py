"""The loss of a driver that only plans."""

from __future__ import annotations

from torch import Tensor, nn

from al_lightning.driving import DrivingAnnotations, DrivingPrediction
from al_lightning.losses.planning import plan_regression


class Imitation(nn.Module):
    """Distance of the commanded plan to what the driver did, the first of VAD's planning losses (`plan_regression`)."""

    def forward(
        self, prediction: DrivingPrediction, annotations: DrivingAnnotations, command: Tensor
    ) -> dict[str, Tensor]:
        """The loss as ``plan``.

        Args:
            prediction: of a batch.
            annotations: of the batch; only the ego vehicle's future is read.
            command: (B,) int64.
        """
        loss = plan_regression(prediction.plan, command, annotations.ego_future, annotations.ego_future_mask)
        return {"plan": loss}
