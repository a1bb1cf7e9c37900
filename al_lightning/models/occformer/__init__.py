"""OccFormer, which classifies voxels by masks."""

from al_lightning.models.occformer.efficientnet import EfficientNet, Run
from al_lightning.models.occformer.head import log_distribution, voxel_scores
from al_lightning.models.occformer.network import OccFormer, OccFormerSize, occformer_kitti, occformer_nano

__all__ = [
    "EfficientNet",
    "OccFormer",
    "OccFormerSize",
    "Run",
    "log_distribution",
    "occformer_kitti",
    "occformer_nano",
    "voxel_scores",
]
