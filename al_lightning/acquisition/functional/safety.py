"""How close a plan comes to objects, and how close a scene comes to hazardous scenes (planning paper, Eq. 3 and S).

Shape letters: T keyframes, A objects, E boundary segments, P planned steps, H steps of the window, N scenes, M hazards,
D size of an embedding.

Positions are metres in the frame of the keyframe that plans. A footprint is (x, y, yaw, length, width), an oriented
box, yaw counterclockwise from +x.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from al_lightning.acquisition.functional.error_patterns import window_weights
from al_lightning.acquisition.functional.neighbors import nearest_distance


def footprint_distance(points: Tensor, footprints: Tensor) -> Tensor:
    """Distance (...) from points (..., 2) to oriented boxes (..., 5), metres; 0 inside."""
    x, y, yaw, length, width = footprints.unbind(-1)
    right, forward = points[..., 0] - x, points[..., 1] - y
    along = yaw.cos() * right + yaw.sin() * forward
    across = yaw.cos() * forward - yaw.sin() * right
    return torch.hypot((along.abs() - length / 2).clamp(min=0), (across.abs() - width / 2).clamp(min=0))


def segment_distance(points: Tensor, segments: Tensor) -> Tensor:
    """Distance (...) from points (..., 2) to segments (..., 2, 2) of two end points each, metres."""
    start, end = segments.unbind(-2)
    run, reach = end - start, points - start
    square = run.square().sum(-1)
    share = ((reach * run).sum(-1) / torch.where(square > 0, square, 1)).clamp(0, 1)
    offset = reach - share[..., None] * run
    return torch.hypot(offset[..., 0], offset[..., 1])


def soft_collision(
    plan: Tensor,
    footprints: Tensor,
    present: Tensor,
    scale: float = 1.0,
    boundaries: Tensor | None = None,
    boundary_present: Tensor | None = None,
) -> Tensor:
    """Soft collision cost c(t) = exp(-d_min(t) / sigma_sc) of every planned step (planning paper, before Eq. 3).

    d_min is the distance from the planned position, a point, to the nearest object or boundary; 0 within a footprint.
    Where there is neither, it is infinite and the cost 0.

    Args:
        plan: (..., P, 2) planned positions.
        footprints: (..., A, P, 5) of the relevant objects at the time of each planned step.
        present: (..., A, P) bool; where it is false a footprint may hold anything.
        scale: sigma_sc, metres.
        boundaries: (..., E, 2, 2) end points of segments, such as road edges; None to measure objects alone.
        boundary_present: (..., E) bool; None for all.

    Returns:
        (..., P) float64 in [0, 1].

    Raises:
        ValueError: shapes do not fit, the scale is not positive, or a value that counts is not finite.
    """
    if not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive and finite, got {scale}")
    if footprints.shape != (*present.shape, 5) or (*present.shape[:-2], present.shape[-1], 2) != plan.shape:
        raise ValueError(
            "plan (..., P, 2), footprints (..., A, P, 5) and present (..., A, P) needed, "
            f"got {tuple(plan.shape)}, {tuple(footprints.shape)} and {tuple(present.shape)}"
        )
    if not bool(plan.isfinite().all()):
        raise ValueError("plan is not finite")
    plan = plan.double()
    nearest = [_nearest(footprint_distance(plan[..., None, :, :], footprints.double()), present.bool())]
    if boundaries is not None:
        distance = segment_distance(plan[..., None, :, :], boundaries.double()[..., None, :, :])
        known = torch.ones_like(distance[..., 0], dtype=torch.bool) if boundary_present is None else boundary_present
        nearest.append(_nearest(distance, known.bool()[..., None].expand_as(distance)))
    return torch.exp(-torch.stack(nearest).amin(0) / scale)


def _nearest(distance: Tensor, present: Tensor) -> Tensor:
    """Smallest distance (..., P) over (..., A, P); infinite without any."""
    if not bool(distance[present].isfinite().all()):
        raise ValueError("an object or boundary that is present is not finite")
    none = distance.new_full((*distance.shape[:-2], 1, distance.shape[-1]), torch.inf)
    return torch.cat([distance.masked_fill(~present, torch.inf), none], dim=-2).amin(-2)


def safety_descriptor(
    plan: Tensor,
    footprints: Tensor,
    present: Tensor,
    reference_step: int,
    horizon: int = 5,
    weights: Tensor | None = None,
    scale: float = 1.0,
    boundaries: Tensor | None = None,
    boundary_present: Tensor | None = None,
) -> Tensor:
    """Safety state s_i = [b_1 c(t* + 1), ..., b_H c(t* + H)] of a scene (Eq. 3).

    The objects come from annotations: legal for labeled scenes only.

    Args:
        plan: (T, P, 2) planned positions of every keyframe, each in its own frame.
        footprints: (T, A, P, 5) of the relevant objects, in the same frames.
        present: (T, A, P) bool.
        reference_step: t* of `representative_error`.
        horizon: H.
        weights: (H,) b_d, not negative; None for 1.
        scale: sigma_sc, metres (see `soft_collision`).
        boundaries: (T, E, 2, 2) segments in the same frames; None to measure objects alone.
        boundary_present: (T, E) bool; None for all.

    Returns:
        (H,) float64.

    Raises:
        ValueError: shapes do not fit, t* is no keyframe, or a weight or the scale is out of range.
    """
    if not (0 <= int(reference_step) < len(plan) and 1 <= horizon <= plan.shape[1]):
        raise ValueError(f"step {int(reference_step)} and horizon {horizon} do not fit plan {tuple(plan.shape)}")
    t = int(reference_step)
    cost = soft_collision(
        plan[t, :horizon],
        footprints[t, :, :horizon],
        present[t, :, :horizon],
        scale,
        None if boundaries is None else boundaries[t],
        None if boundary_present is None else boundary_present[t],
    )
    return window_weights(weights, horizon).to(cost.device) * cost


def hazardous_scenes(safety: Tensor, fraction: float = 0.1) -> Tensor:
    """The scenes with the largest component of their safety state: the hazards (planning paper, appendix A.2).

    Args:
        safety: (N, H) safety states.
        fraction: share of the scenes, rounded to the nearest number of scenes, at least one.

    Returns:
        (M,) int64 rows, most hazardous first; ties go to the lowest row.

    Raises:
        ValueError: there is no scene, a state is not finite, or the fraction is outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be above 0 and at most 1, got {fraction}")
    if safety.dim() != 2 or safety.numel() == 0 or not bool(safety.isfinite().all()):
        raise ValueError(f"safety must be (N, H) with N > 0 and finite, got {tuple(safety.shape)}")
    count = max(1, math.floor(fraction * len(safety) + 0.5))
    return safety.amax(1).argsort(descending=True, stable=True)[:count]


def safety_criticality(z: Tensor, hazards: Tensor, temperature: float = 0.5) -> Tensor:
    """S_i = max over hazards h of exp(-|z_i - z_h|^2 / (2 tau_s)): 1 at a hazard, less the farther from all of them.

    tau_s is not squared, as printed.

    Args:
        z: (N, D) embeddings.
        hazards: (M, D) embeddings of hazardous scenes, M > 0.
        temperature: tau_s.

    Returns:
        (N,) float64 in [0, 1].

    Raises:
        ValueError: shapes do not fit, there is no hazard, values are not finite, or tau_s is not positive.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive and finite, got {temperature}")
    if len(hazards) == 0:
        raise ValueError("there is no hazardous scene to measure the distance to")
    return torch.exp(-nearest_distance(z, hazards).square() / (2 * temperature))
