"""Runs the runs of a sweep: several at a time, the work that they share once, and resumable at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from al_lightning.engine.reuse import first_cycle_settings, has_first_cycle, reuse_first_cycle
from al_lightning.engine.run_directory import RunDirectory
from al_lightning.sweep.files import Sweep, words_of
from al_lightning.sweep.journal import Journal, Run, State

POLL = 0.2
"""Seconds between two looks at the running processes."""

PATIENCE = 15.0
"""Seconds that an interrupted run has to end before it is killed."""

STOPS = (signal.SIGINT, signal.SIGTERM)

BOOKKEEPING = ("cycle", "labeled", "share")

Compose = Callable[[Sequence[str]], Mapping[str, Any]]


@dataclass
class Process:
    """A run that is running.

    Attributes:
        run: which.
        popen: its process.
        slot: the environment variables that only it has.
        started: clock at its start.
    """

    run: Run
    popen: subprocess.Popen[bytes]
    slot: Mapping[str, str]
    started: float


class Scheduler:
    """Walks sweeps.

    Runs whose configurations agree in all that shapes cycle 0 train it once: the first of them trains it, the others
    wait for it and take it over (`al_lightning.engine.reuse`).

    Args:
        journal: of the folder of the runs; saved after every change.
        sweeps: what to walk, in this order.
        words: added to every run's ``name=value`` words.
        compose: words -> resolved configuration of a run.
        slots: one a worker: environment variables of its runs.
        lock: file descriptor that the runs inherit, see `journal.locked`.
        cap: largest number of runs of each sweep, over what the files say.
        say: takes the lines of progress.
    """

    def __init__(
        self,
        journal: Journal,
        sweeps: Sequence[Sweep],
        words: Sequence[str],
        compose: Compose,
        slots: Sequence[Mapping[str, str]],
        lock: int,
        cap: int | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.journal, self.sweeps, self.words, self.compose = journal, list(sweeps), tuple(words), compose
        self.free, self.lock, self.say = list(slots), lock, say
        self.caps = {sweep.name: sweep.cap if cap is None else cap for sweep in sweeps}
        self.active: list[Process] = []
        self._configs: dict[str, Mapping[str, Any]] = {}

    def walk(self) -> None:
        """Run all that is not finished and has not failed.

        Raises:
            KeyboardInterrupt: runs that were running go on at the next start.
        """
        if self._done() < self._total():
            self.say(f"{self._total()} runs, {self._done()} done, {len(self.free)} at a time")
        try:
            while self._start_some() or self.active:
                time.sleep(POLL)
                for process in [process for process in self.active if process.popen.poll() is not None]:
                    self._end(process)
        finally:
            self._stop()

    # --- which -----------------------------------------------------------------------------------------------------

    def _start_some(self) -> bool:
        """Start runs on the free workers; whether any was."""
        started = False
        while self.free and (run := self._next()) is not None:
            self._start(run)
            started = True
        return started

    def _next(self) -> Run | None:
        """The next run that need not wait for another one's first cycle."""
        for run in self._unfinished():
            if self.journal.directory(run).exists() or self._take_over(run):
                return run
            if not any(self._same_first_cycle(run, process.run) for process in self.active):
                return run
        return None

    def _unfinished(self) -> Iterator[Run]:
        """Runs that nobody runs, in order; of a search, at last a new one."""
        active = [process.run.name for process in self.active]
        for sweep in self.sweeps:
            runs = self.journal.of(sweep.name)
            waiting = [run for run in runs if run.state in (State.pending, State.running) and run.name not in active]
            yield from waiting
            if not sweep.is_grid and not waiting and len(runs) < self._size(sweep):
                parameters = sweep.suggest([(run.parameters, run.state.value, self._last_metrics(run)) for run in runs])
                yield self.journal.add(sweep.name, sweep.run_name(parameters), parameters)

    def _size(self, sweep: Sweep) -> int:
        """Number of runs that a sweep consists of in the end."""
        cap = self.caps[sweep.name]
        return len(self.journal.of(sweep.name)) if sweep.is_grid or cap is None else cap

    def _total(self) -> int:
        return sum(map(self._size, self.sweeps))

    def _take_over(self, run: Run) -> bool:
        """Take the first cycle from another run that has it, if there is one."""
        config = self._config(run)
        for other in self.journal.runs:
            donor = RunDirectory(self.journal.directory(other))
            if has_first_cycle(donor, summaries=config["loop"]["cycles"] > 1) and self._same_first_cycle(run, other):
                reuse_first_cycle(donor.root, config, self.journal.directory(run))
                self.say(f"{run.name}: cycle 0 is that of {other.name}")
                return True
        return False

    def _same_first_cycle(self, run: Run, other: Run) -> bool:
        return first_cycle_settings(self._config(run)) == first_cycle_settings(self._config(other))

    def _config(self, run: Run) -> Mapping[str, Any]:
        """The configuration of a run: the saved one of a run that has begun, else as composed now."""
        if run.name not in self._configs:
            self._configs[run.name] = self.journal.config(run) or self.compose(self.run_words(run))
        return self._configs[run.name]

    # --- one run ---------------------------------------------------------------------------------------------------

    def run_words(self, run: Run) -> list[str]:
        """The ``name=value`` words of a run."""
        return [*words_of(run.parameters), *self.words, f"run_dir={self.journal.directory(run)}"]

    def _start(self, run: Run) -> None:
        sweep = next(sweep for sweep in self.sweeps if sweep.name == run.sweep)
        log, slot = self.journal.log(run), self.free.pop()
        log.parent.mkdir(parents=True, exist_ok=True)
        words = sweep.command(self.run_words(run))
        with log.open("ab") as output, _undisturbed():  # a process that nobody knows of would never be ended
            popen = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **slot},
                pass_fds=[self.lock],
                start_new_session=True,
            )
            self.active.append(Process(run, popen, slot, time.monotonic()))
            run.state = State.running
        self.journal.write()

    def _end(self, process: Process) -> None:
        run, status = process.run, process.popen.returncode
        self._release(process)
        metrics = self._last_metrics(run) if status == 0 else {}
        run.state = State.finished if metrics else State.failed
        self.journal.write()
        outcome = f"finished: {_headline(metrics)}" if metrics else f"FAILED, see {self.journal.log(run)}"
        self.say(f"[{self._done()}/{self._total()}] {run.name} {outcome} ({run.minutes:.1f} min)")

    def _done(self) -> int:
        runs = [run for sweep in self.sweeps for run in self.journal.of(sweep.name)]
        return sum(run.state in (State.finished, State.failed) for run in runs)

    def _last_metrics(self, run: Run) -> dict[str, float]:
        """The metrics of a run's last cycle; empty where it has not got there."""
        config = self.journal.config(run)
        directory = RunDirectory(self.journal.directory(run))
        return (directory.read_metrics(config["loop"]["cycles"] - 1) or {}) if config else {}

    def _release(self, process: Process) -> None:
        self.active.remove(process)
        self.free.append(process.slot)
        process.run.minutes += (time.monotonic() - process.started) / 60

    def _stop(self) -> None:
        """End what is running; a run loses at most the epochs since its last checkpoint.

        A second signal ends at once the run that is waited for.
        """
        for process in self.active:
            if process.popen.poll() is None:
                os.killpg(process.popen.pid, signal.SIGTERM)
        for process in list(self.active):
            try:
                process.popen.wait(PATIENCE)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                with _undisturbed():  # until it is gone it holds the folder
                    os.killpg(process.popen.pid, signal.SIGKILL)
                    process.popen.wait()
            self._release(process)
        self.journal.write()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back until the end of the block."""
    held: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: held.append(number)) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for came in held:
        signal.raise_signal(came)


def _headline(metrics: Mapping[str, float]) -> str:
    name = next(name for name in metrics if name not in BOOKKEEPING)
    return f"{name} {metrics[name]:.4f} with {metrics['labeled']} labeled"
