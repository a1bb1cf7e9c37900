"""Work done once: the first cycle of a run, given to another run that differs only in what comes after it.

Runs that differ in what acquires train, validate and predict cycle 0 alike, bit for bit: the seed set, the weights and
every batch are functions of the seed and of the cycle alone. The first cycle's files in another run directory are all
that such a run needs to go on with its own selection.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from al_lightning.data import UNLABELED, LabelPool
from al_lightning.engine.run_directory import RunDirectory, RunDirectoryError
from al_lightning.settings import SILENT, settings_without

LATER = (
    "acquisition",
    "loop.cycles",
    "loop.budget",
    "loop.weights",
    "trainer.later_epochs",
)
"""What only comes into play after cycle 0's pool pass: what acquires, how often, how much, and how cycles go on."""

FIRST = ("checkpoint.ckpt", "metrics.json", "summaries.npz")
ORIGIN = "origin.txt"
"""Beside the files of a cycle that another run trained: that run's directory."""


def first_cycle_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """All leaves of a resolved configuration that shape cycle 0, by their dotted keys.

    Everything counts that is not known to come later (`LATER`) or not to touch results (`SILENT`).
    """
    return settings_without(config, LATER + SILENT)


def result_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """All leaves that shape any cycle: two runs with the same ones are the same run."""
    return settings_without(config, SILENT)


def has_first_cycle(run: RunDirectory, *, summaries: bool) -> bool:
    """Whether a run has left all that another one needs.

    Args:
        run: the run that would give.
        summaries: whether the other run goes on after cycle 0, and so needs the pool pass.
    """
    needed = FIRST if summaries else FIRST[:2]
    return all(run.cycle(0, name).exists() for name in needed) and (run.root / "pool.csv").exists()


def reuse_first_cycle(donor: Path, config: Mapping[str, Any], target: Path) -> None:
    """Make a run directory that starts after cycle 0 of another run, in one atomic step.

    The files of the cycle are shared (hard links, where the file system has them; the engine replaces files and never
    writes into them), the pool is set back to the seed set, and ``cycles/0/origin.txt`` names the donor.

    Args:
        donor: a run directory, of a run that may be going on.
        config: the new run's resolved configuration.
        target: the new run's directory, which must not be there yet.

    Raises:
        RunDirectoryError: the configurations differ in what shapes cycle 0, the donor lacks a file, or the target is
            there already.
    """
    run = RunDirectory(donor)
    given = run.read_config()
    if given is None:
        raise RunDirectoryError(f"{donor} holds no run")
    theirs, ours = first_cycle_settings(given), first_cycle_settings(config)
    differing = sorted(
        key for key in theirs.keys() | ours.keys() if theirs.get(key, "(absent)") != ours.get(key, "(absent)")
    )
    if differing:
        raise RunDirectoryError(f"the first cycle of {donor} is another one; these keys differ: {', '.join(differing)}")
    more = config["loop"]["cycles"] > 1
    if not has_first_cycle(run, summaries=more):
        raise RunDirectoryError(f"{donor} has not finished its first cycle")
    if target.exists():
        raise RunDirectoryError(f"{target} is there already")
    _lay_out(run, config, target)


def _lay_out(donor: RunDirectory, config: Mapping[str, Any], target: Path) -> None:
    partial = target.with_name(f".{target.name}.partial")
    if partial.exists():  # of an attempt that was killed
        shutil.rmtree(partial)
    new = RunDirectory(partial)
    new.cycle(0).mkdir(parents=True)
    for name in ("checkpoint.ckpt", "summaries.npz"):
        if donor.cycle(0, name).exists():
            _share(donor.cycle(0, name), new.cycle(0, name))
    new.cycle(0, ORIGIN).write_text(f"{donor.root}\n")
    metrics = donor.read_metrics(0)
    assert metrics is not None
    new.write_metrics(0, metrics)
    pool = LabelPool.from_csv((donor.root / "pool.csv").read_text())
    pool.acquired_at[pool.acquired_at > 0] = UNLABELED
    new.write_pool(pool)
    if (devices := donor.read_devices()) is not None:
        new.write_devices(devices)
    new.write_config(config)
    partial.rename(target)


def _share(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
