"""Walks W&B sweep files without a server: ``python -m al_lightning.sweep sweeps/NAME.yaml --runs DIR``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from al_lightning.config import ConfigError, compose
from al_lightning.engine.run_directory import RunDirectoryError
from al_lightning.sweep.files import Sweep, SweepFileError
from al_lightning.sweep.journal import Journal, JournalError, State, locked
from al_lightning.sweep.planning import plan
from al_lightning.sweep.scheduler import STOPS, Scheduler

LOCAL = ("tracking.mode=offline", "trainer.progress_bar=false")
"""Said to every run: there is no server and no terminal. Words of the command line come after it."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m al_lightning.sweep",
        description="Run W&B sweep files on this machine, without a server.",
        epilog="The same command goes on where a stopped sweep was. Runs that differ only in what acquires train "
        "cycle 0 once. Tables of the results: python -m al_lightning.report DIR",
    )
    parser.add_argument("files", nargs="+", metavar="FILE|key=value", help="sweep files; words added to every run")
    parser.add_argument("--runs", type=Path, required=True, metavar="DIR", help="folder of the runs and of sweep.json")
    several = parser.add_mutually_exclusive_group()
    several.add_argument("--workers", type=int, default=1, metavar="N", help="runs at a time (default: 1)")
    several.add_argument("--gpus", metavar="LIST", help="such as 0,1,2,3: one run at a time on each of these GPUs")
    parser.add_argument("--count", type=int, metavar="N", help="runs of a random or Bayesian search (default: run_cap)")
    parser.add_argument("--retry", action="store_true", help="run failed runs again")
    parser.add_argument("--dry-run", action="store_true", help="check and list all runs, start none")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 all finished, 1 some failed, 2 wrong use, 130 interrupted."""
    for number in STOPS:  # a shell starts background jobs with SIGINT ignored
        signal.signal(number, _interrupt)
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    words = [word for word in options.files if "=" in word]
    try:
        sweeps = [Sweep.read(Path(word)) for word in options.files if "=" not in word]
        _check(options, sweeps, parser)
        with locked(options.runs) as lock:
            return _walk(options, sweeps, [*LOCAL, *words], lock)
    except (SweepFileError, JournalError, ConfigError, RunDirectoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _check(options: argparse.Namespace, sweeps: Sequence[Sweep], parser: argparse.ArgumentParser) -> None:
    if options.workers < 1 or (options.count is not None and options.count < 1):
        parser.error("--workers and --count must be at least 1")
    if not sweeps or len({sweep.name for sweep in sweeps}) < len(sweeps):
        parser.error("give sweep files with different names")
    for sweep in sweeps:
        if sweep.is_grid and options.count is not None:
            parser.error(f"{sweep.path} is a grid: --count is for random and Bayesian searches")
        if not sweep.is_grid and options.count is None and sweep.cap is None:
            parser.error(f"{sweep.path} has no end: say --count N, or run_cap in the file")


def _walk(options: argparse.Namespace, sweeps: Sequence[Sweep], words: Sequence[str], lock: int) -> int:
    program = sweeps[0].program
    if not program.exists():
        raise SweepFileError(f"there is no {program} here: start sweeps in its folder")
    configs = program.parent / "configs"

    def resolve(words: Sequence[str]) -> Mapping[str, Any]:
        return compose(configs, words)[1]

    journal = Journal.read(options.runs)
    scheduler = Scheduler(journal, sweeps, words, resolve, _slots(options), lock, options.count, _say)
    plan(journal, sweeps, words, resolve, _say)
    runs = [run for sweep in sweeps for run in journal.of(sweep.name)]
    if options.dry_run:
        for run in runs:
            _say(f"{run.state.value:9}{run.name}")
        return 0
    for run in runs:
        if options.retry and run.state is State.failed:
            run.state = State.pending
    scheduler.walk()
    failed = [run for sweep in sweeps for run in journal.of(sweep.name) if run.state is State.failed]
    if failed:
        _say(f"{len(failed)} failed (--retry runs them again):")
        for run in failed:
            _say(f"  {run.name}: {journal.log(run)}")
    return int(bool(failed))


def _slots(options: argparse.Namespace) -> list[dict[str, str]]:
    """Environment variables of each worker: its GPU, and its share of the processors."""
    if options.gpus:
        return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in options.gpus.split(",")]
    if "OMP_NUM_THREADS" in os.environ:
        return [{}] * options.workers
    return [{"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // options.workers))}] * options.workers


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
