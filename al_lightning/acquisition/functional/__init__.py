"""The math of acquisition as pure functions of tensors."""

from al_lightning.acquisition.functional.approximate_divergence import (
    ApproximatePickedDivergence,
    approximate_nearest_divergence,
)
from al_lightning.acquisition.functional.class_distribution import select_class_distribution
from al_lightning.acquisition.functional.core_set import k_center
from al_lightning.acquisition.functional.dispersion import dispersion
from al_lightning.acquisition.functional.divergence import (
    NearestPickedDivergence,
    jensen_shannon,
    min_jensen_shannon,
)
from al_lightning.acquisition.functional.error_patterns import RepresentativeError, representative_error
from al_lightning.acquisition.functional.nearest_center import LazyCenterDistance, NearestCenterDistance
from al_lightning.acquisition.functional.nearest_divergence import PickedDivergence, nearest_divergence
from al_lightning.acquisition.functional.neighbors import Neighbors, nearest_neighbors
from al_lightning.acquisition.functional.normalization import l2_norm, min_max_affine, robust_min_max, weighted_sum
from al_lightning.acquisition.functional.rarity import neighborhood_correlation, rarity
from al_lightning.acquisition.functional.safety import (
    footprint_distance,
    hazardous_scenes,
    safety_criticality,
    safety_descriptor,
    segment_distance,
    soft_collision,
)
from al_lightning.acquisition.functional.value_score import divide_by_deviation, value_score
from al_lightning.acquisition.functional.voxel_shares import UncertaintyShares, uncertainty_shares
from al_lightning.acquisition.functional.voxels import (
    VoxelStatistics,
    class_histogram,
    frequency_weighted_entropy,
    mean_entropy,
    voxel_statistics,
)

__all__ = [
    "ApproximatePickedDivergence",
    "LazyCenterDistance",
    "NearestCenterDistance",
    "NearestPickedDivergence",
    "Neighbors",
    "PickedDivergence",
    "RepresentativeError",
    "UncertaintyShares",
    "VoxelStatistics",
    "approximate_nearest_divergence",
    "class_histogram",
    "dispersion",
    "divide_by_deviation",
    "footprint_distance",
    "frequency_weighted_entropy",
    "hazardous_scenes",
    "jensen_shannon",
    "k_center",
    "l2_norm",
    "mean_entropy",
    "min_jensen_shannon",
    "min_max_affine",
    "nearest_divergence",
    "nearest_neighbors",
    "neighborhood_correlation",
    "rarity",
    "representative_error",
    "robust_min_max",
    "safety_criticality",
    "safety_descriptor",
    "segment_distance",
    "select_class_distribution",
    "soft_collision",
    "uncertainty_shares",
    "value_score",
    "voxel_statistics",
    "weighted_sum",
]
