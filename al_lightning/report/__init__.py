"""Figures and tables from what run directories hold."""

from al_lightning.report.curves import learning_curve

__all__ = ["learning_curve"]
