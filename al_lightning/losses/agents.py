"""Losses of detected agents and of their futures, as VAD trains them.

Shape letters: B samples, A agent queries, G boxes, K classes, M modes, T steps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from al_lightning.losses.matching import Match, average_count, focal_cost, match, one_hot_targets, sigmoid_focal

CODE_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2)
_MATCHED_CODES = 8  # the velocity takes no part in the matching


def box_codes(boxes: Tensor) -> Tensor:
    """Boxes (G, 9) = centre, width, length, height, yaw, velocity to the codes (G, 10) that networks predict.

    Raises:
        ValueError: a value is not finite or a side not positive.
    """
    if not bool(torch.isfinite(boxes).all() & (boxes[:, 3:6] > 0).all()):
        raise ValueError("boxes need finite values and positive sides")
    x, y, z, width, length, height, yaw, vx, vy = boxes.unbind(dim=-1)
    return torch.stack((x, y, width.log(), length.log(), z, height.log(), yaw.sin(), yaw.cos(), vx, vy), dim=-1)


@torch.no_grad()
def match_agents(
    logits: Tensor, codes: Tensor, labels: Tensor, truth: Tensor, class_weight: float, box_weight: float
) -> Match:
    """Match the queries of a sample to its boxes.

    Args:
        logits: (A, K).
        codes: (A, 10) predicted.
        labels: (G,) int64.
        truth: (G, 10) codes of the boxes.
        class_weight: weight of `focal_cost`.
        box_weight: weight of the L1 distance of the first eight codes.
    """
    distance = torch.cdist(codes[:, :_MATCHED_CODES], truth[:, :_MATCHED_CODES], p=1)
    return match(class_weight * focal_cost(logits, labels) + box_weight * distance)


def detection_losses(
    logits: Tensor, codes: Tensor, labels: list[Tensor], truths: list[Tensor], matches: list[Match]
) -> tuple[Tensor, Tensor]:
    """Classes and boxes of one decoder layer.

    Args:
        logits: (B, A, K).
        codes: (B, A, 10).
        labels: (G,) of each sample.
        truths: (G, 10) codes of the boxes of each sample.
        matches: of each sample.

    Returns:
        Focal loss and L1 loss, both divided by the number of matched boxes.
    """
    count = average_count(sum(len(queries) for queries, _ in matches), logits.device)
    weights = codes.new_tensor(CODE_WEIGHTS)
    class_loss, box_loss = logits.new_zeros(()), logits.new_zeros(())
    for b, (queries, boxes) in enumerate(matches):
        targets = one_hot_targets(logits.shape[1:], queries, labels[b][boxes])
        class_loss = class_loss + sigmoid_focal(logits[b], targets)
        box_loss = box_loss + ((codes[b, queries] - truths[b][boxes]).abs() * weights).sum()
    return class_loss / count, box_loss / count


def best_mode(futures: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """The mode (G,) whose last position is nearest to the true one; 0 where the last step is not known.

    Args:
        futures: (G, M, T, 2) displacements.
        truth: (G, T, 2).
        mask: (G, T) bool.
    """
    apart = torch.linalg.vector_norm(futures.sum(dim=2) - truth.sum(dim=1)[:, None], dim=-1)
    mode: Tensor = (apart * mask[:, -1:]).argmin(dim=-1)
    return mode


def motion_losses(
    futures: Tensor, mode_logits: Tensor, truths: list[Tensor], masks: list[Tensor], matches: list[Match]
) -> tuple[Tensor, Tensor]:
    """Futures and modes of the matched agents.

    Args:
        futures: (B, A, M, T, 2) displacements.
        mode_logits: (B, A, M); modes of unmatched agents are pushed down, all of them.
        truths: (G, T, 2) of each sample.
        masks: (G, T) bool of each sample.
        matches: of each sample.

    Returns:
        L1 loss of the best mode and focal loss of the modes, both divided by the number of matched boxes.
    """
    count = average_count(sum(len(queries) for queries, _ in matches), futures.device)
    future_loss, mode_loss = futures.new_zeros(()), futures.new_zeros(())
    for b, (queries, boxes) in enumerate(matches):
        truth, mask = truths[b][boxes], masks[b][boxes]
        mode = best_mode(futures[b, queries].detach(), truth, mask)
        error = F.l1_loss(futures[b, queries, mode], truth, reduction="none")
        future_loss = future_loss + (error * mask[..., None]).sum()
        targets = one_hot_targets(mode_logits.shape[1:], queries, mode)
        mode_loss = mode_loss + sigmoid_focal(mode_logits[b], targets)
    return future_loss / count, mode_loss / count
