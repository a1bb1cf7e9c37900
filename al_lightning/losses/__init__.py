"""Losses: a function first, a module with its constants around it."""

from al_lightning.losses.class_counts import OCC3D_NUSCENES_VOXELS, SEMANTICKITTI_VOXELS
from al_lightning.losses.imitation import Imitation
from al_lightning.losses.occformer import OccFormerLoss
from al_lightning.losses.occupancy import (
    OccupancyCrossEntropy,
    log_frequency_weights,
    occupancy_cross_entropy,
    sqrt_frequency_weights,
)
from al_lightning.losses.safety_contrastive import SafetyContrastive, safety_contrastive
from al_lightning.losses.vad import VADLoss

__all__ = [
    "OCC3D_NUSCENES_VOXELS",
    "SEMANTICKITTI_VOXELS",
    "Imitation",
    "OccFormerLoss",
    "OccupancyCrossEntropy",
    "SafetyContrastive",
    "VADLoss",
    "log_frequency_weights",
    "occupancy_cross_entropy",
    "safety_contrastive",
    "sqrt_frequency_weights",
]
