"""Runs the loop in forked processes, kills them by SIGKILL at chosen moments, and starts them again.

Everything is imported once; each attempt is a fork, so that many attempts take seconds. Run as
``python kill_driver.py FOLDER occupancy`` (or ``planning``, ``occformer``); prints one JSON line that says where the
attempts were killed, and how many of those at random moments were.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fake_occupancy import write_experiment, write_frames
from fake_planning import write_drives, write_planning_experiment
from fake_semantickitti import write_semantickitti
from pytorch_lightning import Trainer

from al_lightning import cli
from al_lightning.engine import checkpoint, run_directory
from al_lightning.tasks import OccupancyTask, PlanningTask

RANDOM_KILLS = {"occupancy": 8, "planning": 8, "occformer": 3}  # fewer where a run takes seconds
OPTIONS = (  # the last checkpoint is not that of a whole interval, epochs go round, weights are carried over
    "trainer.checkpoint_every_n_epochs=2", "loader.samples_per_epoch=7", "loop.weights=previous",
    "trainer.accumulate_grad_batches=2", "task.schedule=cosine",
)  # fmt: skip

OCCFORMER = (
    "experiment=occformer_kitti_mini", "data.image_size=[64,96]", "data.grid.shape=[32,32,4]",
    "task.network={_target_: fake_occformer.occformer_tiny, grid: '${data.grid}', num_classes: 20}",
    "task.loss.points=32", "task.warmup_steps=2", "loop.cycles=3", "loop.seed_size=3", "loop.budget=3",
    "loader.batch_size=4", "loader.samples_per_epoch=7", "loader.num_workers=0", "trainer.max_epochs=2",
    "trainer.checkpoint_every_n_epochs=1", "trainer.accelerator=cpu", "trainer.progress_bar=false",
    "tracking.mode=disabled",
)  # fmt: skip


class Events:
    """Counts what happens in a run and kills the process at one moment of it."""

    def __init__(self, stop: Callable[[str, int], bool], log: Path) -> None:
        self.stop, self.log, self.count = stop, log, 0

    def happen(self, name: str) -> None:
        self.count += 1
        with self.log.open("a") as file:
            file.write(name + "\n")
        if self.stop(name, self.count):
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, attribute: str, name: Callable[..., str]) -> None:
        original = getattr(owner, attribute)

        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            label = name(*arguments)
            self.happen(f"before {label}")
            result = original(*arguments, **keywords)
            self.happen(f"after {label}")
            return result

        setattr(owner, attribute, wrapped)


def watch(events: Events) -> None:
    """Report every training, validation and prediction step, every checkpoint and every file of the run."""
    for step in ("training_step", "validation_step", "predict_step"):
        for task in (OccupancyTask, PlanningTask):
            events.around(task, step, lambda *_, step=step: step)
    events.around(Trainer, "save_checkpoint", lambda *_: "checkpoint")
    original = run_directory.write_atomically

    def write(path: Path, write_content: Callable[[Any], object]) -> None:
        def with_event(file: Any) -> None:
            events.happen(f"start of {path.name}")
            write_content(file)
            file.flush()
            events.happen(f"end of {path.name}")  # written in part, not yet in place

        original(path, with_event)
        events.happen(f"after {path.name}")

    run_directory.write_atomically = checkpoint.write_atomically = write


def fork(
    root: Path,
    run: str,
    stop: Callable[[str, int], bool],
    *,
    experiment: tuple[Path, tuple[str, ...]],
    kill_after: float | None = None,
    words: tuple[str, ...] = (),
) -> bool:
    """One process; True if it ended by itself."""
    configs, given = experiment
    log = root / "events.log"
    log.write_text("")
    child = os.fork()
    if child == 0:
        status = 70
        try:
            torch.set_num_threads(1)
            with (root / "output.log").open("a") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                watch(Events(stop, log))
                own = [f"data.root={root / 'data'}", f"run_dir={root / run}"]
                status = cli.main([*given, *own, *words], configs)
        finally:
            os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    assert os.WIFEXITED(status), status
    assert os.WEXITSTATUS(status) == 0, (root / "output.log").read_text()[-4000:]
    return True


def write(root: Path, kind: str) -> tuple[Path, tuple[str, ...]]:
    """Data of a kind of experiment; returns the folder of configurations and the words that choose it."""
    if kind == "occformer":
        write_semantickitti(root / "data", {"00": 9, "08": 1})
        return Path(__file__).resolve().parents[1] / "configs", OCCFORMER
    if kind == "planning":
        write_drives(root / "data")
        write_planning_experiment(root / "configs")
    else:
        write_frames(root / "data")
        write_experiment(root / "configs")
    return root / "configs", ("experiment=fake",)


def main(root: Path, kind: str) -> None:
    attempt, kills = partial(fork, root, experiment=write(root, kind)), RANDOM_KILLS[kind]
    start = time.perf_counter()
    assert attempt("undisturbed", lambda name, count: False)
    durations = [time.perf_counter() - start]
    events = (root / "events.log").read_text().split("\n")[:-1]
    kinds = list(dict.fromkeys(events))
    killed = []
    for kind in kinds:  # one run directory a handful of kinds, so that every cycle meets its kills
        run = f"stages_{kinds.index(kind) // 8}"
        if not attempt(run, lambda name, count, kind=kind: name == kind):
            killed.append(kind)
    for group in range((len(kinds) + 7) // 8):
        assert attempt(f"stages_{group}", lambda name, count: False)
    chance = random.Random(0)
    counts = dict.fromkeys(("random", "options", "timed"), 0)
    for _ in range(kills):
        number = chance.randrange(2, len(events) // 2)
        counts["random"] += not attempt("random", lambda name, count, number=number: count == number)
    assert attempt("random", lambda name, count: False)
    start = time.perf_counter()
    assert attempt("options_undisturbed", lambda name, count: False, words=OPTIONS)
    durations.append(time.perf_counter() - start)
    for _ in range(kills):
        number = chance.randrange(2, len(events) // 2)
        counts["options"] += not attempt("options", lambda name, count, number=number: count == number, words=OPTIONS)
    assert attempt("options", lambda name, count: False, words=OPTIONS)
    for _ in range(kills // 2):
        after = chance.uniform(0.1, 0.8) * min(durations)
        counts["timed"] += not attempt("timed", lambda name, count: False, kill_after=after)
    assert attempt("timed", lambda name, count: False)
    print(json.dumps({"killed": killed, "counts": counts}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
