"""Planning metrics for a training loop; the formulas are in `functional`.

Shape letters: B samples, A agents.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from al_lightning.metrics.functional.agent_raster import agent_raster
from al_lightning.metrics.functional.planning import STEPS, displacement_error, plan_collision, planning_scores

_UNIT = 1e-9
_FARTHEST = 1e6


class OpenLoopPlanning(Metric):
    """L2 distance and collision rate at 1, 2 and 3 s in both published conventions (`functional.planning_scores`).

    Only samples with six valid future steps count. The collision of the ego's centre point, which the official code
    prints too, reads the wrong cell and is left out.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    distance: Tensor
    collisions: Tensor
    samples: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Integers (distances in nanometres): their sums do not depend on order or number of processes.
        self.add_state("distance", torch.zeros(STEPS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("collisions", torch.zeros(STEPS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("samples", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, plan: Tensor, truth: Tensor, valid: Tensor, footprints: Tensor, present: Tensor) -> None:
        """Count a batch.

        Args:
            plan: (B, 6, 2) planned positions at 0.5, 1.0, ..., 3.0 s, metres in the LiDAR frame (x right, y forward).
            truth: (B, 6, 2) positions driven.
            valid: (B, 6) or (B,) bool, the steps or samples with a known future.
            footprints: (B, A, 6, 5) x, y, yaw, length, width of the agents at each step, in the same frame; pad where
                samples have fewer agents.
            present: (B, A, 6) bool, false for padding, for agents that are gone, and for those that do not count
                (barriers and traffic cones; officially also those that are now outside x +-15 m, y +-30 m, or hit by no
                LiDAR point). `driving.footprints` gives both of `DrivingAnnotations`.

        Raises:
            ValueError: shapes do not fit, or a valid position or a present footprint is not finite or more than
                1000 km away.
        """
        if valid.shape not in {plan.shape[:1], plan.shape[:2]} or present.shape[:1] != plan.shape[:1]:
            raise ValueError(
                f"valid (B,) or (B, {STEPS}) and present (B, A, {STEPS}) needed, "
                f"got {tuple(valid.shape)} and {tuple(present.shape)} for plan {tuple(plan.shape)}"
            )
        known = valid.bool() if valid.dim() == 1 else valid.bool().all(1)
        plan, truth, present = plan[known], truth[known], present[known]
        distance = displacement_error(plan, truth)
        if bool((distance > _FARTHEST).any()):
            raise ValueError(f"a planned position lies {distance.max():.3g} m from the driven one")
        self.distance += (distance / _UNIT).round().long().sum(0)
        self.collisions += plan_collision(plan, truth, agent_raster(footprints[known], present)).sum(0)
        self.samples += known.sum()

    def compute(self) -> dict[str, Tensor]:
        """``L2_avg_1s``, ``L2_at_1s``, ``collision_avg_1s``, ``collision_at_1s`` (2s, 3s) and ``samples``.

        Metres, and fractions in [0, 1]. Without a valid sample there is only ``samples``.
        """
        count = self.samples.double()
        if not bool(count):
            return {"samples": count}
        return {
            **planning_scores(self.distance.double() * _UNIT / count, self.collisions.double() / count),
            "samples": count,
        }
