"""The math of acquisition as pure functions of tensors."""

from al_lightning.acquisition.functional.approximate_divergence import (
    ApproximatePickedDivergence,
    approximate_nearest_divergence,
)
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
from al_lightning.acquisition.functional.normalization import (
    divide_by_deviation,
    l2_norm,
    min_max_affine,
    robust_min_max,
    weighted_sum,
)
from al_lightning.acquisition.functional.rarity import neighborhood_correlation, rarity
from al_lightning.acquisition.functional.safety import (
    footprint_distance,
    hazardous_scenes,
    safety_criticality,
    safety_descriptor,
    segment_distance,
    soft_collision,
)
from al_lightning.acquisition.functional.voxel_shares import UncertaintyShares, uncertainty_shares
from al_lightning.acquisition.functional.voxels import VoxelStatistics, voxel_statistics

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
    "dispersion",
    "divide_by_deviation",
    "footprint_distance",
    "hazardous_scenes",
    "jensen_shannon",
    "l2_norm",
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
    "soft_collision",
    "uncertainty_shares",
    "voxel_statistics",
    "weighted_sum",
]
