"""Datasets, the label pool and the DataModule."""

from al_lightning.data.driving_nuscenes import NuScenesDriving
from al_lightning.data.driving_past import DrawnPast
from al_lightning.data.images import ImageJitter
from al_lightning.data.module import ActiveLearningDataModule
from al_lightning.data.nuscenes import Occ3DNuScenes
from al_lightning.data.photometric import PhotometricDistortion
from al_lightning.data.pool import UNLABELED, LabelPool
from al_lightning.data.semantickitti import SemanticKITTI
from al_lightning.data.splits import GeographicSplit, OfficialSplit, RandomSceneSplit, RegionSplit
from al_lightning.data.vad_infos import VADInfos

__all__ = [
    "UNLABELED",
    "ActiveLearningDataModule",
    "DrawnPast",
    "GeographicSplit",
    "ImageJitter",
    "LabelPool",
    "NuScenesDriving",
    "Occ3DNuScenes",
    "OfficialSplit",
    "PhotometricDistortion",
    "RandomSceneSplit",
    "RegionSplit",
    "SemanticKITTI",
    "VADInfos",
]
