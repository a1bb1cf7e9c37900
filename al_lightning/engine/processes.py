"""Several processes, one run directory: one of them writes, and the others wait for it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch.distributed as dist
from pytorch_lightning import Trainer
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher
from pytorch_lightning.trainer.connectors.signal_connector import _SignalConnector
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import SIGTERMException


def barrier() -> None:
    """Wait until all processes of the run are here; nothing where there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def write_once(write: Callable[..., object], *arguments: Any) -> None:
    """Let one process write for all; the others go on when it has written."""
    rank_zero_only(write)(*arguments)
    barrier()


class _SigtermConnector(_SignalConnector):
    """Passes SIGTERM on and notes it. Lightning's own handler also waits, in a broadcast, for all other processes.

    Whoever is in another collective meanwhile never joins that, and all hang.
    """

    def _sigterm_notifier_fn(self, signum: int, _: object) -> None:
        launcher = self.trainer.strategy.launcher
        if not self.received_sigterm and launcher is not None:
            launcher.kill(signum)
        self.received_sigterm = True


class StartedProcesses:
    """The processes that the first Trainer of a run started: the Trainers of later cycles do not know of them."""

    PATIENCE = 5.0
    """Seconds that they have to end by themselves."""

    def __init__(self) -> None:
        self._first: _SubprocessScriptLauncher | None = None
        self._trainer: Trainer | None = None

    def share(self, trainer: Trainer) -> None:
        """Let a Trainer pass SIGTERM on to them; of the first Trainer, remember what it will start."""
        self._trainer = trainer
        trainer._signal_connector = _SigtermConnector(trainer)
        launcher = trainer.strategy.launcher
        if isinstance(launcher, _SubprocessScriptLauncher):
            self._first = self._first or launcher
            launcher.procs = self._first.procs

    @contextlib.contextmanager
    def end_with_this(self) -> Iterator[None]:
        """End them if this process fails or is told to end, also between the stages that Lightning knows of."""
        here = threading.current_thread() is threading.main_thread()  # others have no signals
        previous = signal.signal(signal.SIGTERM, self._end_between_stages) if here else None
        try:
            yield
        except BaseException:
            self._end()
            raise
        finally:
            if here:
                signal.signal(signal.SIGTERM, previous)

    def _end_between_stages(self, *_: object) -> None:
        if self._trainer is not None and self._trainer.received_sigterm:
            return  # a stage has noted it, and will end
        for process in self._first.procs if self._first else []:
            process.terminate()
        raise SIGTERMException

    def _end(self) -> None:
        watched = self._first.procs if self._first else []
        processes = list(watched)
        watched.clear()  # else Lightning's watch over them kills this process, too, as soon as one has ended
        for process in processes:
            try:
                process.wait(self.PATIENCE)
            except subprocess.TimeoutExpired:  # it waits for this one
                process.kill()


def end_if_any(trainer: Trainer, told: bool) -> None:
    """End all processes if one of them has been told to; all take part.

    Raises:
        SIGTERMException: one has.
    """
    if trainer.strategy.reduce_boolean_decision(told, all=False):
        raise SIGTERMException
