"""Counts and scores of semantic occupancy, as plain functions.

Shape letters: K classes. Scores are fractions in [0, 1], float64: they are quotients of exact int64 counts.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

MeanOver = Literal["occurring", "in_truth"]


def voxel_confusion(prediction: Tensor, target: Tensor, num_classes: int, mask: Tensor | None = None) -> Tensor:
    """Count the voxels by true and predicted class.

    Args:
        prediction: class ids, any shape, any integer type.
        target: true class ids, same shape; voxels outside 0..K-1 (such as 255, unknown) are not counted.
        num_classes: K.
        mask: same shape; voxels where it is false are not counted. None counts all.

    Returns:
        (K, K) int64, rows truth, columns prediction. Confusions of several batches add up.

    Raises:
        ValueError: shapes differ, class ids are not integers, or a predicted id lies outside 0..K-1 (anywhere, masked
            or not: such an id would land in another class's bin).
    """
    shapes = [tuple(values.shape) for values in (prediction, target, mask) if values is not None]
    if len(set(shapes)) != 1:
        raise ValueError(f"prediction, target and mask need one shape, got {shapes}")
    if any(values.is_floating_point() or values.dtype == torch.bool for values in (prediction, target)):
        raise ValueError(f"class ids must be integers, got prediction {prediction.dtype} and target {target.dtype}")
    if prediction.numel() and not 0 <= int(prediction.min()) <= int(prediction.max()) < num_classes:
        low, high = int(prediction.min()), int(prediction.max())
        raise ValueError(f"predicted classes must lie in 0..{num_classes - 1}, got {low}..{high}")

    counted = (target >= 0) & (target < num_classes)
    if mask is not None:
        counted &= mask.bool()
    # Widened first: in uint8, K * target wraps around at 256.
    bins = num_classes * target[counted].long() + prediction[counted].long()
    return torch.bincount(bins, minlength=num_classes**2).reshape(num_classes, num_classes)


class Occ3DScores(NamedTuple):
    """Scores of `occ3d_miou`.

    Attributes:
        miou: scalar; NaN where no semantic class occurs.
        classes_present: number of classes in the mean.
        iou: (K,), the free class included; NaN for a class that the mean leaves out as absent.
    """

    miou: Tensor
    classes_present: Tensor
    iou: Tensor


def occ3d_miou(confusion: Tensor, free: int = -1, mean_over: MeanOver = "occurring") -> Occ3DScores:
    """Mean IoU of Occ3D-nuScenes, as its official evaluation computes it.

    The mean runs over the classes that occur in truth or prediction, the free class excepted. A class that is
    predicted but never true scores 0 and counts: where data lack a class, one stray voxel of it lowers the mean by a
    whole share, and two networks are compared over different classes. ``mean_over="in_truth"`` takes the classes that
    occur in truth, which the data fix; with every class in the data, as in Occ3D's validation split, both are one.
    Free voxels stay in the unions, so predicting an object in free space lowers that object's IoU. Skipping absent
    classes inflates the mean on small subsets: report ``classes_present`` with it. The confusion is that of the whole
    dataset; a mean over samples is another number.

    Args:
        confusion: (K, K) counts, rows truth.
        free: index of the free class; the last one by default.
        mean_over: "occurring", as the official evaluation does, or "in_truth".

    Raises:
        ValueError: ``mean_over`` is unknown.
    """
    if mean_over not in get_args(MeanOver):
        raise ValueError(f"mean_over must be one of {', '.join(get_args(MeanOver))}, got {mean_over!r}")
    hits = confusion.diagonal().double()
    iou = hits / (confusion.sum(0) + confusion.sum(1) - hits)  # 0 / 0 = NaN: the class is absent
    if mean_over == "in_truth":
        iou[confusion.sum(1) == 0] = torch.nan
    semantic = torch.ones_like(iou, dtype=torch.bool)
    semantic[free] = False
    return Occ3DScores(iou[semantic].nanmean(), (semantic & ~iou.isnan()).sum(), iou)


class CompletionScores(NamedTuple):
    """Scores of `semantic_scene_completion`.

    Attributes:
        miou: scalar, SSC mIoU over classes 1..K-1.
        classes_present: number of classes 1..K-1 that occur in truth or prediction; the others pull the mean to 0.
        completion_iou: scalar, IoU of occupied against empty.
        precision: scalar, of occupied.
        recall: scalar, of occupied.
        iou: (K,), class 0 (empty) included.
    """

    miou: Tensor
    classes_present: Tensor
    completion_iou: Tensor
    precision: Tensor
    recall: Tensor
    iou: Tensor


def semantic_scene_completion(confusion: Tensor) -> CompletionScores:
    """Scores of SemanticKITTI's semantic scene completion, as OccFormer and MonoScene compute them.

    Class 0 is empty. ``IoU_c = TP / (TP + FP + FN + 1e-5)``, and the mean over 1..K-1 is plain: a class that occurs
    nowhere counts as 0, unlike in Occ3D. Completion scores are 0 where no occupied voxel was found. Counts are
    integers here; the official single-GPU path adds them up in float32 and loses units above 2^24.

    Args:
        confusion: (K, K) counts, rows truth.
    """
    hits = confusion.diagonal().double()
    union = confusion.sum(0) + confusion.sum(1) - hits
    iou = hits / (union + 1e-5)
    found = confusion[1:, 1:].sum().double()
    predicted, true = confusion[:, 1:].sum(), confusion[1:].sum()
    # found = 0 wherever a denominator is 0, so the clamp only turns 0 / 0 into 0.
    return CompletionScores(
        miou=iou[1:].mean(),
        classes_present=(union[1:] > 0).sum(),
        completion_iou=found / (predicted + true - found).clamp(min=1),
        precision=found / predicted.clamp(min=1),
        recall=found / true.clamp(min=1),
        iou=iou,
    )
