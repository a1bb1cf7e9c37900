"""Losses: a function first, a module with its constants around it."""

from al_lightning.losses.class_counts import OCC3D_NUSCENES_VOXELS, SEMANTICKITTI_VOXELS
from al_lightning.losses.occupancy import (
    OccupancyCrossEntropy,
    log_frequency_weights,
    occupancy_cross_entropy,
    sqrt_frequency_weights,
)

__all__ = [
    "OCC3D_NUSCENES_VOXELS",
    "SEMANTICKITTI_VOXELS",
    "OccupancyCrossEntropy",
    "log_frequency_weights",
    "occupancy_cross_entropy",
    "sqrt_frequency_weights",
]
