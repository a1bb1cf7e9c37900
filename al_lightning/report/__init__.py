"""Figures from what a run directory holds."""

from al_lightning.report.curves import learning_curve

__all__ = ["learning_curve"]
