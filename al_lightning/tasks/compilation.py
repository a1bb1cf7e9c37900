"""The networks of tasks as kernels of `torch.compile`."""

from __future__ import annotations

from pytorch_lightning import LightningModule
from torch import nn


def compile_network(task: LightningModule) -> None:
    """Have `torch.compile` make kernels of a task's network, in place, when it is first called.

    Names in checkpoints stay the same, and random numbers, such as those of dropout. A network of the same classes and
    sizes, such as that of the next cycle, finds its kernels there. Calls of single parts run as they are: in validation
    and prediction of `PlanningTask`, which keep the image features between them, and in training of `DetectionTask`,
    whose networks find their losses themselves.

    Raises:
        TypeError: see `network_to_compile`.
    """
    network_to_compile(task).compile(options={"fallback_random": True})


def network_to_compile(task: LightningModule) -> nn.Module:
    """The network of a task.

    Raises:
        TypeError: it has no ``network``.
    """
    network = getattr(task, "network", None)
    if not isinstance(network, nn.Module):
        raise TypeError(f"{type(task).__name__} has no network to compile")
    return network
