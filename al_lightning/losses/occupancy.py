"""Cross entropy over voxels as FlashOcc trains with it.

Shape letters: B samples, K classes, X Y Z voxels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from al_lightning.losses.class_counts import OCC3D_NUSCENES_VOXELS, SEMANTICKITTI_VOXELS
from al_lightning.types import IGNORE, OccupancyAnnotations, OccupancyPrediction

_PUBLISHED = {"occ3d_nuscenes": OCC3D_NUSCENES_VOXELS, "semantickitti": SEMANTICKITTI_VOXELS}
_EPS = torch.finfo(torch.float32).eps


def sqrt_frequency_weights(class_frequency: Sequence[float]) -> Tensor:
    """Class weights (K,) 1 / sqrt(f), scaled to weight 1 for the most frequent class; strong against imbalance.

    Args:
        class_frequency: f, voxels of each class in the training set.

    Raises:
        ValueError: a class has no voxel.
    """
    frequency = torch.tensor(class_frequency, dtype=torch.float64)
    if not len(frequency) or not bool((frequency > 0).all() & frequency.isfinite().all()):
        raise ValueError("class_frequency needs a count above 0 for every class")
    return (frequency.max() / frequency).sqrt().float()


def log_frequency_weights(class_frequency: Sequence[float]) -> Tensor:
    """Class weights (K,) 1 / ln(f + 0.001), mild against imbalance: 1.8 between the extremes of Occ3D.

    Args:
        class_frequency: f, voxels of each class in the training set.

    Raises:
        ValueError: a class has one voxel or less, where the weight would be negative or without bound.
    """
    rare = [index for index, frequency in enumerate(class_frequency) if not 1 < frequency < math.inf]
    if rare or not class_frequency:
        raise ValueError(f"class_frequency needs a count above 1 for every class; not so for classes {rare}")
    return 1 / torch.log(torch.tensor(class_frequency, dtype=torch.float64) + 0.001).float()


def voxel_counts(class_frequency: Sequence[float] | str) -> Sequence[float]:
    """Voxels of each class, where a name takes the published ones.

    Raises:
        ValueError: an unknown name.
    """
    if not isinstance(class_frequency, str):
        return class_frequency
    if class_frequency not in _PUBLISHED:
        raise ValueError(f"class_frequency '{class_frequency}' is none of {', '.join(_PUBLISHED)}")
    return _PUBLISHED[class_frequency]


_BALANCES = {"log": log_frequency_weights, "sqrt": sqrt_frequency_weights}


def occupancy_cross_entropy(
    logits: Tensor, semantics: Tensor, mask: Tensor | None = None, class_weight: Tensor | None = None
) -> Tensor:
    """Cross entropy of the voxels that count, divided by their number.

    sum_i m_i w_{y_i} ce_i / (sum_i m_i w_{y_i} + eps) over the whole local batch (official `BEVOCCHead2D.loss_single`);
    w is 1 without ``class_weight``. A batch without any such voxel has loss 0.

    TRAP: a counted voxel labeled `IGNORE` adds nothing to the sum, but without ``class_weight`` it does add 1 to the
    denominator, as in the official code. Under DDP every process divides by its own count.

    Args:
        logits: (B, K, X, Y, Z).
        semantics: (B, X, Y, Z) integer class, or `IGNORE`; any value where ``mask`` is false.
        mask: (B, X, Y, Z) bool, the voxels that count; None for all.
        class_weight: (K,) weight w of each class.

    Returns:
        The loss, a float32 scalar.

    Raises:
        ValueError: shapes differ, or a counted voxel has a label that is no class.
    """
    B, K, *grid = logits.shape
    for name, tensor in (("semantics", semantics), ("mask", mask)):
        if tensor is not None and tensor.shape != (B, *grid):
            raise ValueError(f"{name} must be {(B, *grid)} to match the logits, got {tuple(tensor.shape)}")
    if class_weight is not None and class_weight.shape != (K,):
        raise ValueError(f"class_weight must hold {K} weights, got {tuple(class_weight.shape)}")
    target = semantics.long() if mask is None else semantics.long().masked_fill(~mask.bool(), IGNORE)
    if bool(((target < 0) | ((target >= K) & (target != IGNORE))).any()):
        raise ValueError(f"a voxel that counts has a label outside 0..{K - 1} that is not {IGNORE}")
    # The network's logits are a view of (B, X, Y, Z, K): this order of axes costs no copy.
    rows = logits.movedim(1, -1).reshape(-1, K)
    counted = (target != IGNORE).flatten().nonzero()[:, 0]  # most voxels are not: the rest costs nothing
    labeled = target.flatten()[counted]
    total = F.cross_entropy(rows.index_select(0, counted).float(), labeled, class_weight, reduction="sum")
    if class_weight is not None:
        return total / ((torch.bincount(labeled, minlength=K) * class_weight).sum() + _EPS)
    count = target.numel() if mask is None else mask.sum()
    return total / (count + _EPS)


class OccupancyCrossEntropy(nn.Module):
    """`occupancy_cross_entropy` on annotations; the defaults are the official FlashOcc training.

    Args:
        class_frequency: voxels of each class, for balancing (`log_frequency_weights`); a name takes the published
            counts; None for equal weights.
        use_mask: count only the voxels inside the annotations' mask. Without it every voxel counts, so the labels must
            mean something everywhere.
        balance: weights from the counts: "log" 1 / ln(f + 0.001), as FlashOcc does, or "sqrt" 1 / sqrt(f), for small
            training sets in which rare classes would otherwise never be predicted.

    Raises:
        ValueError: an unknown name, or a count of 1 or less.
    """

    class_weight: Tensor | None

    def __init__(
        self,
        class_frequency: Sequence[float] | Literal["occ3d_nuscenes", "semantickitti"] | None = None,
        use_mask: bool = True,
        balance: Literal["log", "sqrt"] = "log",
    ) -> None:
        super().__init__()
        if balance not in _BALANCES:
            raise ValueError(f"balance must be one of {', '.join(_BALANCES)}, got {balance!r}")
        weight = None if class_frequency is None else _BALANCES[balance](voxel_counts(class_frequency))
        # A buffer moves with the module; not persistent, since official checkpoints do not hold it.
        self.register_buffer("class_weight", weight, persistent=False)
        self.use_mask = use_mask

    def forward(self, prediction: OccupancyPrediction, annotations: OccupancyAnnotations) -> dict[str, Tensor]:
        """The prediction of a batch and its annotations to ``cross_entropy``, a scalar."""
        mask = annotations.mask if self.use_mask else None
        loss = occupancy_cross_entropy(prediction.logits, annotations.semantics, mask, self.class_weight)
        return {"cross_entropy": loss}
