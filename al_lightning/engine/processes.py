"""Several processes, one run directory: one of them writes, and the others wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from pytorch_lightning.utilities import rank_zero_only


def barrier() -> None:
    """Wait until all processes of the run are here; nothing where there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def write_once(write: Callable[..., object], *arguments: Any) -> None:
    """Let one process write for all; the others go on when it has written."""
    rank_zero_only(write)(*arguments)
    barrier()
