"""The loop, its callback, run directories, oracles and tracking."""

from al_lightning.engine.callback import ActiveLearningCallback
from al_lightning.engine.checkpoint import AtomicCheckpointIO
from al_lightning.engine.devices import Devices, cluster_environment
from al_lightning.engine.gallery import Gallery
from al_lightning.engine.loop import ActiveLearningLoop
from al_lightning.engine.majority import VoxelMajority
from al_lightning.engine.oracle import DatasetOracle, ExternalOracle, LabelsRequested, MissingLabelsError
from al_lightning.engine.rehearsal import RehearsalError, rehearse
from al_lightning.engine.run_directory import RunDirectory, RunDirectoryError
from al_lightning.engine.seeding import BatchSeed, derive_seed
from al_lightning.engine.subsets import SubsetMetrics
from al_lightning.engine.tracking import Tracker

__all__ = [
    "ActiveLearningCallback",
    "ActiveLearningLoop",
    "AtomicCheckpointIO",
    "BatchSeed",
    "DatasetOracle",
    "Devices",
    "ExternalOracle",
    "Gallery",
    "LabelsRequested",
    "MissingLabelsError",
    "RehearsalError",
    "RunDirectory",
    "RunDirectoryError",
    "SubsetMetrics",
    "Tracker",
    "VoxelMajority",
    "cluster_environment",
    "derive_seed",
    "rehearse",
]
