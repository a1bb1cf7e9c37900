"""Metrics: functions in `functional`, torchmetrics around them."""

from al_lightning.metrics.detection import NuScenesDetection
from al_lightning.metrics.occupancy import Occ3DMeanIoU, RayIoU, SemanticSceneCompletion
from al_lightning.metrics.planning import OpenLoopPlanning

__all__ = ["NuScenesDetection", "Occ3DMeanIoU", "OpenLoopPlanning", "RayIoU", "SemanticSceneCompletion"]
