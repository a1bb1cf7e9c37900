"""The math of acquisition as pure functions of tensors."""

from al_lightning.acquisition.functional.class_distribution import select_class_distribution
from al_lightning.acquisition.functional.core_set import NearestCenterDistance, k_center
from al_lightning.acquisition.functional.divergence import (
    NearestPickedDivergence,
    jensen_shannon,
    min_jensen_shannon,
)
from al_lightning.acquisition.functional.normalization import l2_norm, robust_min_max, weighted_sum
from al_lightning.acquisition.functional.voxels import (
    VoxelStatistics,
    class_histogram,
    frequency_weighted_entropy,
    mean_entropy,
    voxel_statistics,
)

__all__ = [
    "NearestCenterDistance",
    "NearestPickedDivergence",
    "VoxelStatistics",
    "class_histogram",
    "frequency_weighted_entropy",
    "jensen_shannon",
    "k_center",
    "l2_norm",
    "mean_entropy",
    "min_jensen_shannon",
    "robust_min_max",
    "select_class_distribution",
    "voxel_statistics",
    "weighted_sum",
]
