"""Losses of vectorized map elements, as VAD trains them.

An element's points may be listed in several orders that mean the same: both directions of a line, every start of a
closed one. The order nearest to the prediction counts.

Shape letters: B samples, V element queries, G elements, O orders, P points, K classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from al_lightning.losses.matching import Match, average_count, focal_cost, match, one_hot_targets, sigmoid_focal


@torch.no_grad()
def match_elements(
    logits: Tensor, points: Tensor, labels: Tensor, orders: Tensor, class_weight: float, point_weight: float
) -> tuple[Match, Tensor]:
    """Match the queries of a sample to its map elements.

    Args:
        logits: (V, K).
        points: (V, P, 2) as fractions of the bird's-eye view.
        labels: (G,) int64.
        orders: (G, O, P, 2) likewise.
        class_weight: weight of `focal_cost`.
        point_weight: weight of the L1 distance summed over the points.

    Returns:
        The match, and the points of each matched element in the order nearest to its query (matched, P, 2).
    """
    distance = torch.cdist(points.flatten(1), orders.flatten(2).flatten(0, 1), p=1).view(len(points), *orders.shape[:2])
    nearest, order = distance.min(dim=2)
    queries, elements = match(class_weight * focal_cost(logits, labels) + point_weight * nearest)
    return (queries, elements), orders[elements, order[queries, elements]]


def map_losses(
    logits: Tensor,
    lines: Tensor,
    labels: list[Tensor],
    orders: list[Tensor],
    extent: Tensor,
    class_weight: float,
    point_weight: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Classes, points and directions of one decoder layer; the queries are matched first.

    Args:
        logits: (B, V, K).
        lines: (B, V, P, 2) metres.
        labels: (G,) of each sample.
        orders: (G, O, P, 2) metres, of each sample.
        extent: (2,) size of the bird's-eye view, metres.
        class_weight: weight in the matching.
        point_weight: weight in the matching.

    Returns:
        Focal loss, L1 loss of the points (fractions of the bird's-eye view), and 1 - cosine between the ways from point
        to point; all without their weights, divided by the number of matched elements.
    """
    class_loss, point_loss, direction_loss = (logits.new_zeros(()) for _ in range(3))
    matched = 0
    for b in range(len(logits)):
        (queries, elements), target = match_elements(
            logits[b], lines[b] / extent, labels[b], orders[b] / extent, class_weight, point_weight
        )
        matched += len(queries)
        targets = one_hot_targets(logits.shape[1:], queries, labels[b][elements])
        class_loss = class_loss + sigmoid_focal(logits[b], targets)
        point_loss = point_loss + F.l1_loss(lines[b, queries] / extent, target, reduction="sum")
        direction_loss = direction_loss + _direction_loss(lines[b, queries], target * extent)
    count = average_count(matched, logits.device)
    return class_loss / count, point_loss / count, direction_loss / count


def _direction_loss(lines: Tensor, target: Tensor) -> Tensor:
    """Sum of 1 - cosine between the ways from point to point of (G, P, 2) and (G, P, 2)."""
    ways, wanted = lines.diff(dim=1).flatten(0, 1), target.diff(dim=1).flatten(0, 1)
    return F.cosine_embedding_loss(ways, wanted, ways.new_ones(len(ways)), reduction="sum")
