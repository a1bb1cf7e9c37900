"""Metrics: functions in `functional`, torchmetrics around them."""

from al_lightning.metrics.occupancy import Occ3DMeanIoU, RayIoU, SemanticSceneCompletion

__all__ = ["Occ3DMeanIoU", "RayIoU", "SemanticSceneCompletion"]
