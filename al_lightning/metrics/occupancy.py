"""Occupancy metrics for a training loop; the counting and the formulas are in `functional`.

Shape letters: B samples, K classes, O ray origins, X Y Z voxels.

All take ``update(prediction, semantics, mask)``, so that one task can use any, and compute a flat dictionary of floats,
ready to be logged: fractions in [0, 1] and ``classes_present``. A number that the data seen do not define (the IoU of a
class that occurs neither in truth nor in prediction, where the benchmark skips such classes) is left out of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from al_lightning.metrics.functional.occupancy import (
    MeanOver,
    occ3d_miou,
    semantic_scene_completion,
    voxel_confusion,
)
from al_lightning.metrics.functional.rays import (
    THRESHOLDS,
    RayCounts,
    cast_rays,
    lidar_directions,
    ray_counts,
    ray_iou,
)
from al_lightning.types import VoxelGrid

NUSCENES_LIDAR = (0.9858, 0.0, 1.8402)
"""Where the roof LiDAR of nuScenes sits in the ego frame (metres)."""


def _distinct(class_names: Sequence[str]) -> tuple[str, ...]:
    """Names that can serve as keys."""
    names = tuple(class_names)
    if isinstance(class_names, str) or len(names) < 2 or len(set(names)) != len(names):
        raise ValueError(f"class_names needs at least two different names, got {class_names!r}")
    return names


def _defined(scores: dict[str, Tensor]) -> dict[str, Tensor]:
    """The scores that are numbers, as floats: Lightning warns of logged integers."""
    return {name: score.double() for name, score in scores.items() if not bool(score.isnan())}


class _VoxelMetric(Metric):
    """A metric that is a function of the confusion matrix of all voxels seen."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    confusion: Tensor

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__()
        self.class_names = _distinct(class_names)
        size = len(self.class_names)
        # Integers: float32 sums stop counting at 2^24, which is 40 volumes of nuScenes.
        self.add_state("confusion", torch.zeros(size, size, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, semantics: Tensor, mask: Tensor | None = None) -> None:
        """Count a batch.

        Args:
            prediction: (B, X, Y, Z) class ids.
            semantics: (B, X, Y, Z) true class ids; ids outside 0..K-1 are not counted.
            mask: (B, X, Y, Z) bool, the voxels that count; None for all.

        Raises:
            ValueError: shapes differ, or a predicted id lies outside 0..K-1.
        """
        self.confusion += voxel_confusion(prediction, semantics, len(self.class_names), mask)


class Occ3DMeanIoU(_VoxelMetric):
    """mIoU of Occ3D-nuScenes; the last class is free space (`functional.occ3d_miou`).

    Give it the camera mask: the official numbers count only the voxels that a camera sees.

    Args:
        class_names: K names, the free class last.
        groups: name -> classes to report the mean of on their own, such as the rare ones.
        mean_over: classes "occurring" in truth or prediction, as the official evaluation has it, or those "in_truth"
            alone, for validation data that lack some (`functional.occ3d_miou`).

    Raises:
        ValueError: a group is empty or names a class that the mean does not hold, or ``mean_over`` is unknown.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        groups: Mapping[str, Sequence[str]] | None = None,
        mean_over: MeanOver = "occurring",
    ) -> None:
        super().__init__(class_names)
        occ3d_miou(self.confusion, mean_over=mean_over)  # refuses an unknown reading
        self.mean_over: MeanOver = mean_over
        self.groups = {name: tuple(members) for name, members in (groups or {}).items()}
        for name, members in self.groups.items():
            if not members or set(members) - set(self.class_names[:-1]):
                raise ValueError(f"groups.{name} must name some of {self.class_names[:-1]}, got {members}")

    def compute(self) -> dict[str, Tensor]:
        """``mIoU``, ``<group>/mIoU``, ``classes_present`` and ``IoU/<class>`` of the classes in the mean."""
        scores = occ3d_miou(self.confusion, mean_over=self.mean_over)
        iou = {name: scores.iou[c] for c, name in enumerate(self.class_names[:-1])}
        groups = {
            f"{group}/mIoU": torch.stack([iou[name] for name in members]).nanmean()
            for group, members in self.groups.items()
        }
        per_class = {f"IoU/{name}": value for name, value in iou.items()}
        return _defined({"mIoU": scores.miou, "classes_present": scores.classes_present, **groups, **per_class})


class SemanticSceneCompletion(_VoxelMetric):
    """Scores of SemanticKITTI's semantic scene completion; class 0 is empty (`functional.semantic_scene_completion`).

    Args:
        class_names: K names, the empty class first.
    """

    def compute(self) -> dict[str, Tensor]:
        """``mIoU``, ``classes_present``, ``IoU``, ``precision``, ``recall`` (completion) and ``IoU/<class>``."""
        scores = semantic_scene_completion(self.confusion)
        per_class = {f"IoU/{name}": scores.iou[c] for c, name in enumerate(self.class_names) if c > 0}
        completion = {"IoU": scores.completion_iou, "precision": scores.precision, "recall": scores.recall}
        summary = {"mIoU": scores.miou, "classes_present": scores.classes_present}
        return _defined({**summary, **completion, **per_class})


class RayIoU(Metric):
    """RayIoU of SparseOcc at 1, 2 and 4 m; the last class is free space (`functional.ray_iou`).

    The official number casts rays from up to 8 places of the LiDAR along the scene (`functional.select_ray_origins`),
    which `update` takes as ``origins``. Without them, as in `OccupancyTask`, all rays start at one place in the ego
    frame: a number to compare runs with, not with published ones.

    Args:
        class_names: K names, the free class last.
        grid: place and shape of the volumes; cubic voxels.
        origins: ray origins (x, y, z) in the ego frame, metres, for samples that come without their own.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    matched: Tensor
    predicted: Tensor
    true: Tensor
    origins: Tensor
    directions: Tensor

    def __init__(
        self,
        class_names: Sequence[str],
        grid: VoxelGrid,
        origins: Sequence[tuple[float, float, float]] = (NUSCENES_LIDAR,),
    ) -> None:
        super().__init__()
        self.class_names, self.grid = _distinct(class_names), grid
        if not origins or any(len(origin) != 3 for origin in origins):
            raise ValueError(f"origins needs one or more points (x, y, z), got {origins!r}")
        self.register_buffer("origins", torch.tensor(origins, dtype=torch.float32), persistent=False)
        self.register_buffer("directions", lidar_directions(), persistent=False)
        size = len(self.class_names)
        self.add_state("matched", torch.zeros(len(THRESHOLDS), size, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("predicted", torch.zeros(size, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("true", torch.zeros(size, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self, prediction: Tensor, semantics: Tensor, mask: Tensor | None = None, origins: Tensor | None = None
    ) -> None:
        """Cast the rays of a batch and count them.

        Args:
            prediction: (B, X, Y, Z) class ids.
            semantics: (B, X, Y, Z) true class ids, all in 0..K-1.
            mask: accepted for the common signature and not used: RayIoU has no visibility mask, rays see to that.
            origins: (B, O, 3) ray origins of each sample (see `functional.select_ray_origins`).

        Raises:
            ValueError: a volume has not the shape of the grid, or a class that a ray meets lies outside 0..K-1.
        """
        del mask
        free = len(self.class_names) - 1
        default = self.origins.expand(len(prediction), -1, -1)
        for volume, truth, start in zip(prediction, semantics, default if origins is None else origins, strict=True):
            hits, true_hits = (cast_rays(v, start, self.directions, self.grid, free) for v in (volume, truth))
            counts = ray_counts(hits, true_hits, len(self.class_names), free)
            self.matched += counts.matched
            self.predicted += counts.predicted
            self.true += counts.true

    def compute(self) -> dict[str, Tensor]:
        """``RayIoU``, ``RayIoU@1`` (2, 4), ``classes_present`` and ``RayIoU/<class>``, the mean over thresholds."""
        scores = ray_iou(RayCounts(self.matched, self.predicted, self.true))
        at = {f"RayIoU@{threshold:g}": value for threshold, value in zip(THRESHOLDS, scores.at, strict=True)}
        per_class = {f"RayIoU/{name}": scores.iou[:, c].mean() for c, name in enumerate(self.class_names[:-1])}
        return _defined({"RayIoU": scores.ray_iou, "classes_present": scores.classes_present, **at, **per_class})
