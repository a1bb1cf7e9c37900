"""What VAD asks of a planned trajectory: follow the driver, stay off boundaries and agents, go along the lanes.

Frame: LiDAR of the current key frame, x right, y forward, metres. A trajectory is a list of displacements.

TRAP: every loss is an average over all entries, also those that a mask or the command excludes.

Shape letters: B samples, T steps, V map elements, P points of an element, A agents, M modes, K agent classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from al_lightning.driving import commanded

FAR = 1e6
"""Distance of what does not count, metres."""
VEHICLES = 5
"""The first classes of agents are vehicles: car, truck, construction vehicle, bus, trailer."""


def plan_regression(plan: Tensor, command: Tensor, target: Tensor, step_mask: Tensor) -> Tensor:
    """L1 distance to the displacements that the driver made.

    TRAP: the average runs over the rows of all commands, so with three of them a step counts a third.

    Args:
        plan: (B, commands, T, 2).
        command: (B,) int64.
        target: (B, T, 2).
        step_mask: (B, T) bool, steps that are known.

    Returns:
        A scalar.
    """
    error = (commanded(plan, command) - target).abs() * step_mask[..., None]
    return error.sum() / plan.numel()


def plan_boundary(
    displacements: Tensor,
    step_mask: Tensor,
    lines: Tensor,
    scores: Tensor,
    score_threshold: float = 0.5,
    margin: float = 1.0,
) -> Tensor:
    """How far positions intrude into a margin around boundaries; free from where the trajectory crosses one.

    The crossing is looked for only between a step and the boundary nearest to its end.

    Args:
        displacements: (B, T, 2) of the commanded trajectory.
        step_mask: (B, T) bool.
        lines: (B, V, P, 2) map elements, metres.
        scores: (B, V) probability that an element is a boundary.
        score_threshold: elements below it do not count.
        margin: metres.

    Returns:
        A scalar.
    """
    positions = displacements.cumsum(dim=1)
    distance, nearest = _distance_to_lines(positions, lines, scores >= score_threshold).min(dim=2)
    starts = torch.cat((torch.zeros_like(positions[:, :1]), positions[:, :-1]), dim=1)
    nearest_lines = lines[torch.arange(len(lines), device=lines.device)[:, None], nearest]  # (B, T, P, 2)
    with torch.no_grad():
        beyond = _crosses(starts, positions, nearest_lines).cumsum(dim=1) > 0
    return ((margin - distance).clamp(min=0) * ~beyond * step_mask).mean()


def plan_collision(
    displacements: Tensor,
    step_mask: Tensor,
    agents: Tensor,
    futures: Tensor,
    class_scores: Tensor,
    mode_scores: Tensor,
    score_threshold: float = 0.5,
    margin: tuple[float, float] = (1.5, 3.0),
    reach: float = 3.0,
) -> Tensor:
    """How far positions intrude into margins around the vehicles nearby, each in its likeliest mode.

    The nearest agent is found for x and for y on its own. Gradients flow into the agents' futures, too.

    Args:
        displacements: (B, T, 2) of the commanded trajectory.
        step_mask: (B, T) bool.
        agents: (B, A, 2) current positions, metres.
        futures: (B, A, M, T, 2) displacements.
        class_scores: (B, A, K) probabilities.
        mode_scores: (B, A, M).
        score_threshold: agents whose best class scores lower do not count.
        margin: (x, y), metres.
        reach: agents farther away at a step do not count in it, metres.

    Returns:
        A scalar.
    """
    best_score, best_class = class_scores.max(dim=-1)
    counts = (best_score >= score_threshold) & (best_class < VEHICLES)
    mode = mode_scores.argmax(dim=-1)[..., None, None, None].expand(-1, -1, 1, *futures.shape[-2:])
    tracks = agents[:, :, None] + futures.gather(2, mode).squeeze(2).cumsum(dim=2)  # (B, A, T, 2)
    apart = displacements.cumsum(dim=1)[:, None] - tracks
    near = counts[..., None] & (torch.linalg.vector_norm(apart, dim=-1) <= reach)
    gap = apart.abs().masked_fill(~near[..., None], FAR).min(dim=1).values  # (B, T, 2)
    return ((gap.new_tensor(margin) - gap).clamp(min=0) * step_mask[..., None]).mean()


def plan_direction(
    displacements: Tensor,
    step_mask: Tensor,
    lines: Tensor,
    scores: Tensor,
    score_threshold: float = 0.5,
    reach: float = 2.0,
    least_way: float = 1.0,
) -> Tensor:
    """Angle between the driven direction and the nearest divider, either way along it, radians.

    TRAP: the direction at a step is that of the next one, the last repeats the one before, and the first step of all
    is never looked at.

    Args:
        displacements: (B, T, 2) of the commanded trajectory.
        step_mask: (B, T) bool.
        lines: (B, V, P, 2) map elements, metres.
        scores: (B, V) probability that an element is a divider.
        score_threshold: elements below it do not count.
        reach: steps farther away from every divider do not count, metres.
        least_way: trajectories shorter than this between the first and the last step do not count, metres.

    Returns:
        A scalar.
    """
    positions = displacements.cumsum(dim=1)
    distance, nearest = _distance_to_lines(positions, lines, scores >= score_threshold).min(dim=2)
    line = lines[torch.arange(len(lines), device=lines.device)[:, None], nearest]  # (B, T, P, 2)
    point = torch.linalg.vector_norm(positions[:, :, None] - line, dim=-1).argmin(dim=-1)
    last = line.shape[2] - 1
    following = torch.where(point == last, last - 1, point + 1)
    along = _pick(line, following) - _pick(line, point)
    driven = positions.diff(dim=1)
    angle = heading(torch.cat((driven, driven[:, -1:]), dim=1)) - heading(along)
    angle = angle - math.pi * torch.round(angle / math.pi)
    moving = torch.linalg.vector_norm(positions[:, -1] - positions[:, 0], dim=-1) >= least_way
    counts = (distance <= reach) & moving[:, None] & step_mask
    return torch.where(counts, angle.abs(), 0).mean()


def heading(vectors: Tensor) -> Tensor:
    """Angle (...) from the x axis of vectors (..., 2); 0, without gradient, where a vector is zero, or nearly so."""
    unmoved = vectors.square().sum(dim=-1, keepdim=True) < 1e-30  # of smaller ones the gradient overflows
    x, y = torch.where(unmoved, vectors.new_tensor((1.0, 0.0)), vectors).unbind(dim=-1)
    angle: Tensor = torch.atan2(y, x)
    return angle


def _distance_to_lines(positions: Tensor, lines: Tensor, counts: Tensor) -> Tensor:
    """Distance (B, T, V) to the nearest point of each element, `FAR` for those that do not count."""
    apart = torch.linalg.vector_norm(positions[:, :, None, None] - lines[:, None], dim=-1)
    nearest: Tensor = apart.min(dim=-1).values.masked_fill(~counts[:, None], FAR)
    return nearest


def _pick(line: Tensor, point: Tensor) -> Tensor:
    """Points (B, T, 2) of polylines (B, T, P, 2) by number (B, T)."""
    return line.gather(2, point[..., None, None].expand(-1, -1, 1, 2)).squeeze(2)


def _crosses(starts: Tensor, ends: Tensor, lines: Tensor) -> Tensor:
    """Whether segments (B, T, 2) to (B, T, 2) meet their polyline (B, T, P, 2); parallel ones never do."""
    way, piece = (ends - starts)[:, :, None], lines[:, :, 1:] - lines[:, :, :-1]
    gap = lines[:, :, :-1] - starts[:, :, None]
    det = _cross(way, piece)
    safe = torch.where(det == 0, 1, det)
    along_way, along_piece = _cross(gap, piece) / safe, _cross(gap, way) / safe
    meets = (along_way >= 0) & (along_way <= 1) & (along_piece >= 0) & (along_piece <= 1) & (det != 0)
    anywhere: Tensor = meets.any(dim=-1)
    return anywhere


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
