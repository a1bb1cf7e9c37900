"""The journal of a sweep: which runs it consists of and how far they are; the state that a restart needs."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from al_lightning.engine.run_directory import RunDirectory, write_atomically


class State(StrEnum):
    """How far a run is, in W&B's words."""

    pending = "pending"
    running = "running"
    finished = "finished"
    failed = "failed"


class JournalError(RuntimeError):
    """The folder of the runs cannot be used; the message says why."""


@dataclass
class Run:
    """A run of a sweep.

    Attributes:
        sweep: name of its sweep.
        name: of its directory, ``<sweep>/<varied values>``.
        parameters: what the sweep gives it, as W&B writes it.
        state: how far it is.
        minutes: what it has taken so far, all attempts together.
    """

    sweep: str
    name: str
    parameters: dict[str, dict[str, Any]]
    state: State = State.pending
    minutes: float = 0.0


@dataclass
class Journal:
    """All runs of a folder, in the order in which they were planned.

    Attributes:
        folder: where the runs go.
        runs: all of them.
    """

    folder: Path
    runs: list[Run] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """The journal of a folder, empty if there is none yet.

        Raises:
            JournalError: the file is damaged.
        """
        path = folder / "sweep.json"
        if not path.exists():
            return cls(folder)
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
            return cls(folder, [Run(**{**entry, "state": State(entry["state"])}) for entry in entries])
        except (ValueError, TypeError, KeyError) as error:
            raise JournalError(f"{path} is damaged: {error}") from error

    def write(self) -> None:
        """Save it, all or nothing."""
        text = json.dumps([asdict(run) for run in self.runs], indent=1)
        write_atomically(self.folder / "sweep.json", lambda file: file.write(text.encode()))

    def of(self, sweep: str) -> list[Run]:
        """The runs of a sweep."""
        return [run for run in self.runs if run.sweep == sweep]

    def add(self, sweep: str, name: str, parameters: dict[str, dict[str, Any]]) -> Run:
        """Plan a run; a name that is taken gets a number."""
        taken, wanted = {run.name for run in self.runs}, f"{sweep}/{name}"
        free = next(
            candidate
            for number in range(1, len(taken) + 2)
            if (candidate := wanted if number == 1 else f"{wanted}_{number}") not in taken
        )
        run = Run(sweep, free, parameters)
        self.runs.append(run)
        return run

    def directory(self, run: Run) -> Path:
        """Where a run is."""
        return self.folder / run.name

    def config(self, run: Run) -> dict[str, Any] | None:
        """The configuration that a run has begun with; None before."""
        return RunDirectory(self.directory(run)).read_config()

    def log(self, run: Run) -> Path:
        """What a run has printed."""
        return self.folder / f"{run.name}.log"


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold a folder; gives the lock's file descriptor.

    A process that inherits the descriptor holds the folder, too: until the runs of a killed sweep have ended, no other
    sweep starts them a second time.

    Raises:
        JournalError: it is held.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalError(f"another sweep, or a run of one that was killed, is busy in {folder}") from error
        yield file.fileno()
