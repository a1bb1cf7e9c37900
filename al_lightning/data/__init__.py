"""Datasets, the label pool and the DataModule."""

from al_lightning.data.images import ImageJitter
from al_lightning.data.module import ActiveLearningDataModule
from al_lightning.data.pool import LabelPool
from al_lightning.data.semantickitti import SemanticKITTI

__all__ = ["ActiveLearningDataModule", "ImageJitter", "LabelPool", "SemanticKITTI"]
