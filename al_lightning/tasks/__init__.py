"""LightningModules: short, with network, loss and metric injected."""

from al_lightning.tasks.compilation import compile_network, network_to_compile
from al_lightning.tasks.detection import DetectionTask
from al_lightning.tasks.occupancy import OccupancyTask
from al_lightning.tasks.planning import PlanningTask

__all__ = ["DetectionTask", "OccupancyTask", "PlanningTask", "compile_network", "network_to_compile"]
