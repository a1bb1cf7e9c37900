"""Masks and their classes, matched to the classes that are there, on voxels drawn at random (Mask2Former, OccFormer).

A truth is a class and the voxels of that class; voxels without a label belong to none and are never drawn.

Shape letters: B samples, Q queries, K classes, G truths of a sample, P points, V labeled voxels of a sample, X Y Z
voxels of a mask.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from al_lightning.losses.matching import Match, average_total, match
from al_lightning.types import IGNORE

OVERSAMPLING = 3
UNCERTAIN_SHARE = 0.75


class MaskWeights(NamedTuple):
    """Weights of the three terms, in the matching and in the loss.

    Attributes:
        label: of the classes.
        mask: of the binary cross entropies.
        dice: of the dice losses.
    """

    label: float = 2.0
    mask: float = 5.0
    dice: float = 5.0


class Truth(NamedTuple):
    """The labels of a sample.

    Attributes:
        shape: voxels along x, y and z.
        voxels: (V,) int64 numbers of the labeled voxels, z fastest.
        semantics: (V,) int64, their classes.
        labels: (G,) int64, the classes that are there.
    """

    shape: tuple[int, int, int]
    voxels: Tensor
    semantics: Tensor
    labels: Tensor

    @staticmethod
    def of(semantics: Tensor, mask: Tensor) -> Truth:
        """From classes, or `IGNORE`, and the voxels that count, both (X, Y, Z)."""
        voxels = (mask & (semantics != IGNORE)).flatten().nonzero().squeeze(1)
        classes = semantics.flatten()[voxels].long()
        x, y, z = semantics.shape
        return Truth((x, y, z), voxels, classes, torch.unique(classes))


def draw_points(truth: Truth, class_weight: Tensor, count: int, rows: int = 1) -> Tensor:
    """Labeled voxels drawn with weights by their class (K,): places (R, P) in the truth, different ones in each row.

    All of them, in an order by chance, if there are fewer than ``count``.
    """
    weight = class_weight[truth.semantics].expand(rows, -1)
    return torch.multinomial(weight, min(count, len(truth.voxels)))


def read_masks(masks: Tensor, points: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Mask logits at voxels of the labels: trilinear, the corners of both grids aligned.

    Args:
        masks: (R, C, X, Y, Z), C masks to be read at the same points.
        points: (R, P) numbers of voxels, z fastest.
        shape: voxels of the labels along x, y and z.

    Returns:
        (R, C, P).
    """
    if masks.shape[2:] == shape:
        return masks.flatten(2).gather(2, points[:, None].expand(-1, masks.shape[1], -1))
    coordinates = torch.stack(torch.unravel_index(points, shape)[::-1], dim=-1)
    extent = torch.tensor(shape[::-1], device=points.device)
    grid = 2 * coordinates / (extent - 1).clamp(min=1) - 1
    return F.grid_sample(masks, grid[:, :, None, None], align_corners=True).flatten(2)


def dice(probabilities: Tensor, targets: Tensor) -> Tensor:
    """1 - (2 sum p t + 1) / (sum p + sum t + 1) over the last axis of (..., P) and (..., P)."""
    overlap = (probabilities * targets).sum(dim=-1)
    return 1 - (2 * overlap + 1) / (probabilities.sum(dim=-1) + targets.sum(dim=-1) + 1)


def mask_cost(class_logits: Tensor, values: Tensor, labels: Tensor, targets: Tensor, weights: MaskWeights) -> Tensor:
    """What it costs to give each query each truth.

    Args:
        class_logits: (Q, K + 1).
        values: (Q, P) mask logits at the points.
        labels: (G,) classes of the truths.
        targets: (G, P) 0 or 1.
        weights: of class probability, mean binary cross entropy and dice.

    Returns:
        (Q, G).
    """
    p = values.sigmoid()
    cross_entropy = F.softplus(values).mean(dim=1, keepdim=True) - values @ targets.T / targets.shape[1]
    sums = p.sum(dim=1, keepdim=True) + targets.sum(dim=1)
    distance = 1 - (2 * p @ targets.T + 1) / (sums + 1)
    likelihood = class_logits.softmax(dim=1)[:, labels]
    return weights.mask * cross_entropy + weights.dice * distance - weights.label * likelihood


@torch.no_grad()
def match_masks(
    class_logits: Tensor, masks: Tensor, truth: Truth, sampling: Tensor, points: int, weights: MaskWeights
) -> Match:
    """Match the queries of a sample to its truths.

    Args:
        class_logits: (Q, K + 1).
        masks: (Q, X, Y, Z) logits.
        truth: of the sample.
        sampling: (K,) weights of the classes in the draw of the points, the same ones for all queries.
        points: P.
        weights: as of `mask_cost`.
    """
    drawn = draw_points(truth, sampling, points)
    values = read_masks(masks[None], truth.voxels[drawn], truth.shape)[0]
    targets = (truth.semantics[drawn] == truth.labels[:, None]).to(values.dtype)
    return match(mask_cost(class_logits, values, truth.labels, targets, weights))


@torch.no_grad()
def uncertain_points(masks: Tensor, truth: Truth, sampling: Tensor, points: int) -> Tensor:
    """Labeled voxels for the loss of masks (M, X, Y, Z), for each its own: places (M, P) in the truth.

    Of three times as many, drawn with the weights ``sampling`` (K,), three quarters are taken where the mask is least
    certain; the last quarter is drawn from all labeled voxels alike.
    """
    drawn = draw_points(truth, sampling, OVERSAMPLING * points, len(masks))
    values = read_masks(masks[:, None], truth.voxels[drawn], truth.shape)[:, 0]
    wanted = int(UNCERTAIN_SHARE * points)
    least = values.abs().topk(min(wanted, drawn.shape[1]), largest=False).indices
    others = draw_points(truth, torch.ones_like(sampling), points - wanted, len(masks))
    return torch.cat((drawn.gather(1, least), others), dim=1)


def stage_losses(
    class_logits: Tensor,
    masks: Tensor,
    truths: list[Truth],
    class_weight: Tensor,
    sampling: Tensor,
    points: int,
    weights: MaskWeights,
) -> tuple[Tensor, Tensor, Tensor]:
    """Classes, binary cross entropy and dice of one stage; the queries are matched first.

    Args:
        class_logits: (B, Q, K + 1).
        masks: (B, Q, X, Y, Z) logits.
        truths: of each sample.
        class_weight: (K + 1,) in all three terms.
        sampling: (K,) weights of the classes in the draw of the points.
        points: P.
        weights: in the matching.

    Returns:
        Three scalars without their weights. The last two are divided by the class weights of all matched masks.
    """
    targets = torch.full(class_logits.shape[:2], len(sampling), device=masks.device)  # no object
    cross_entropy = overlap = 0 * masks.sum()  # in the graph even where no voxel of the batch is labeled
    total = masks.new_zeros(())
    for b, truth in enumerate(truths):
        if not len(truth.labels):
            continue
        queries, found = match_masks(class_logits[b], masks[b], truth, sampling, points, weights)
        targets[b, queries] = truth.labels[found]
        chosen, labels = masks[b, queries], truth.labels[found]
        drawn = uncertain_points(chosen, truth, sampling, points)
        values = read_masks(chosen[:, None], truth.voxels[drawn], truth.shape)[:, 0]
        wanted = (truth.semantics[drawn] == labels[:, None]).to(values.dtype)
        share = class_weight[labels]
        entropies = F.binary_cross_entropy_with_logits(values, wanted, reduction="none").mean(dim=1)
        cross_entropy = cross_entropy + (share * entropies).sum()
        overlap = overlap + (share * dice(values.sigmoid(), wanted)).sum()
        total = total + share.sum()
    total = average_total(total)
    total = total.where(total > 0, 1.0)
    label_loss = F.cross_entropy(class_logits.flatten(0, 1), targets.flatten(), class_weight)
    return label_loss, cross_entropy / total, overlap / total
