"""LightningModules: short, with network, loss and metric injected."""

from al_lightning.tasks.occupancy import OccupancyTask

__all__ = ["OccupancyTask"]
