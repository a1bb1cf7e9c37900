"""The devices of a run: how it may be spread over them, and which ones it was begun on."""

from __future__ import annotations

from dataclasses import dataclass

from pytorch_lightning import Trainer
from pytorch_lightning.plugins.environments import (  # type: ignore[attr-defined]
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher


@dataclass(frozen=True)
class Devices:
    """What a run is spread over; part of its result, since every process takes its share of each batch.

    Attributes:
        processes: number of processes, one a device.
        kind: torch's name for the devices, such as ``cpu`` or ``cuda``.
    """

    processes: int
    kind: str

    @classmethod
    def of(cls, trainer: Trainer) -> Devices:
        """The devices of a Trainer.

        Raises:
            ValueError: its strategy does not suit a loop of many Trainers whose processes share a run directory.
        """
        strategy = trainer.strategy
        if type(strategy) not in (SingleDeviceStrategy, DDPStrategy):
            raise ValueError(
                f"{type(strategy).__name__} does not work: the loop reads and writes whole checkpoints of one process. "
                "Leave trainer.strategy at 'auto', or take 'ddp'"
            )
        if isinstance(strategy.launcher, _MultiProcessingLauncher):
            raise ValueError(
                "processes that are spawned or forked end with each stage of a cycle. Take trainer.strategy=ddp, whose "
                "processes live as long as the run; in a notebook, trainer.devices=1"
            )
        return cls(trainer.world_size, strategy.root_device.type)

    def __str__(self) -> str:
        return f"{self.processes} process{'es' if self.processes > 1 else ''} on {self.kind}"


def cluster_environment() -> SLURMEnvironment | None:
    """SLURM's environment without Lightning's own way to requeue a job; None elsewhere.

    On SIGUSR1, that saves a checkpoint beside the loop's and loads it in every later stage of every later cycle.
    """
    if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        return SLURMEnvironment(auto_requeue=False)
    return None
