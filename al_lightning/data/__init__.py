"""Datasets, the label pool and the DataModule."""

from al_lightning.data.images import ImageJitter
from al_lightning.data.module import ActiveLearningDataModule
from al_lightning.data.nuscenes import Occ3DNuScenes
from al_lightning.data.pool import LabelPool
from al_lightning.data.semantickitti import SemanticKITTI
from al_lightning.data.splits import GeographicSplit, OfficialSplit, RandomSceneSplit, RegionSplit

__all__ = [
    "ActiveLearningDataModule",
    "GeographicSplit",
    "ImageJitter",
    "LabelPool",
    "Occ3DNuScenes",
    "OfficialSplit",
    "RandomSceneSplit",
    "RegionSplit",
    "SemanticKITTI",
]
