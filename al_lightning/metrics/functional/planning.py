"""Open-loop planning: distance to the driven path and collisions with road users, as plain functions.

Shape letters: B samples, T = 6 steps of 0.5 s.

Positions are metres in the LiDAR frame of the current keyframe, x right, y forward, at 0.5, 1.0, ..., 3.0 s. Two
conventions are in print, and both are computed: up to t (ST-P3, VAD) the mean over all steps up to t, at t (UniAD) the
step at t alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from al_lightning.metrics.functional.agent_raster import CELL_SIZE, CELLS

STEPS = 6
STEPS_A_SECOND = 2
# Cells of the ego box (4.084 m x 1.85 m, centre 0.5 m ahead of the LiDAR) at the origin, counted from the back and from
# the left edge of the raster.
_EGO_ALONG = range(97, 105)
_EGO_ACROSS = range(98, 102)


def displacement_error(plan: Tensor, truth: Tensor) -> Tensor:
    """Distance (B, T) float64 in metres between planned and driven positions (B, T, 2).

    Raises:
        ValueError: shapes differ or are not (B, 6, 2), or positions are not finite.
    """
    for name, positions in (("plan", plan), ("truth", truth)):
        if positions.dim() != 3 or positions.shape != plan.shape or positions.shape[1:] != (STEPS, 2):
            raise ValueError(
                f"plan and truth must be (B, {STEPS}, 2), got {tuple(plan.shape)} and {tuple(truth.shape)}"
            )
        if not bool(positions.isfinite().all()):
            raise ValueError(f"{name} is not finite")
    distance: Tensor = torch.linalg.vector_norm(plan.double() - truth.double(), dim=-1)
    return distance


def box_collision(positions: Tensor, raster: Tensor) -> Tensor:
    """Whether the ego box touches an occupied cell.

    The box always points along +y, whatever way the positions turn, and is smeared along the edge of the raster where
    it lies outside: both as in the official code.

    Args:
        positions: (..., T, 2).
        raster: (..., T, 200, 200) bool, see `agent_raster`.

    Returns:
        (..., T) bool.

    Raises:
        ValueError: shapes do not fit.
    """
    if positions.shape[-1] != 2 or raster.shape != (*positions.shape[:-1], CELLS, CELLS):
        raise ValueError(
            f"positions (..., T, 2) and raster (..., T, {CELLS}, {CELLS}) needed, "
            f"got {tuple(positions.shape)} and {tuple(raster.shape)}"
        )
    x, y = (positions / CELL_SIZE).double()[..., None].unbind(-2)
    along, across = (torch.tensor(list(cells), device=positions.device) for cells in (_EGO_ALONG, _EGO_ACROSS))
    row = _cell(CELLS - (y + along))
    column = _cell(x + across)
    cells = (row[..., :, None] * CELLS + column[..., None, :]).flatten(-2)
    return raster.flatten(-2).gather(-1, cells).any(-1)


def _cell(coordinate: Tensor) -> Tensor:
    """Truncate toward zero and stay on the raster; clamped first, so that far positions do not overflow."""
    return coordinate.clamp(0, CELLS - 1).long()


def plan_collision(plan: Tensor, truth: Tensor, raster: Tensor) -> Tensor:
    """Whether the plan collides (B, T) bool where the driven path, put through the same test, does not.

    A step at which the driven path collides too, an artefact of the raster, is no collision, but still a step.

    Args:
        plan: (B, T, 2) planned positions.
        truth: (B, T, 2) driven positions.
        raster: (B, T, 200, 200) bool, see `agent_raster`.
    """
    return box_collision(plan, raster) & ~box_collision(truth, raster)


def planning_scores(distance: Tensor, collision: Tensor) -> dict[str, Tensor]:
    """The published numbers from means over samples.

    Args:
        distance: (T,) mean distance at each step, metres.
        collision: (T,) share of the samples that collide at each step, 0 to 1 (papers print percent).

    Returns:
        ``L2_avg_1s`` and ``collision_avg_1s`` (2s, 3s): mean over the steps up to then (ST-P3, VAD);
        ``L2_at_1s`` and ``collision_at_1s`` (2s, 3s): at that step (UniAD).
    """
    scores = {}
    for name, values in (("L2", distance), ("collision", collision)):
        for seconds in range(1, STEPS // STEPS_A_SECOND + 1):
            step = seconds * STEPS_A_SECOND
            scores[f"{name}_avg_{seconds}s"] = values[:step].mean()
            scores[f"{name}_at_{seconds}s"] = values[step - 1]
    return scores
