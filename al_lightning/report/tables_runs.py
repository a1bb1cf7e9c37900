"""Run directories as the tables need them.

Only ``config.yaml``, ``metrics.csv`` and ``pool.csv`` are read.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from al_lightning.data import LabelPool


class RunReadError(ValueError):
    """Run directories cannot be read or compared; the message names them."""


@dataclass(frozen=True)
class ReportedRun:
    """What a run has found.

    Attributes:
        path: its directory.
        config: the resolved configuration.
        metrics: one row a cycle that has been validated, by the number of the cycle.
        acquired: units labeled from a cycle on, by the number of the cycle; 0 is the seed set.
        units: ids of those that can be labeled.
    """

    path: Path
    config: Mapping[str, Any]
    metrics: Mapping[int, Mapping[str, float]]
    acquired: Mapping[int, frozenset[str]]
    units: tuple[str, ...]

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.config["seed"])

    @property
    def pool(self) -> int:
        """Number of units that can be labeled."""
        return len(self.units)


def read_run(path: Path) -> ReportedRun:
    """Read a run directory that has validated at least one cycle.

    Raises:
        RunReadError: a file is missing or damaged, or a metric is not a finite number.
    """
    try:
        config = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        metrics = _metrics(path / "metrics.csv")
        pool = LabelPool.from_csv((path / "pool.csv").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RunReadError(f"{path}: {error}") from error
    acquired = {
        cycle: frozenset(unit for unit, since in zip(pool.units, pool.acquired_at, strict=True) if since == cycle)
        for cycle in range(pool.cycle + 1)
    }
    return ReportedRun(path, config, metrics, acquired, tuple(pool.units))


def _metrics(path: Path) -> dict[int, dict[str, float]]:
    """Cycle -> metrics; a metric that a cycle does not have is an empty cell.

    Raises:
        OSError: there is no such file.
        ValueError: a cell is no finite number, or there is no cycle.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            {name: _number(text, f"{path.name}, line {line}, column {name}") for name, text in texts.items() if text}
            for line, texts in enumerate(csv.DictReader(file), start=2)
        ]
    if not rows or any("cycle" not in row for row in rows):
        raise ValueError(f"{path.name} needs rows with a cycle")
    return {int(row["cycle"]): row for row in rows}


def _number(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    if not math.isfinite(value):
        raise ValueError(f"{place}: {text} is no finite number")
    return value


def read_runs(folder: Path) -> list[ReportedRun]:
    """All runs in a folder and the folders in it that have validated a cycle, in the order of their paths.

    Links to folders are followed; a folder that several paths lead to counts once.

    Raises:
        RunReadError: there is no such folder, no run in it, or a file is damaged.
    """
    if not folder.is_dir():
        raise RunReadError(f"{folder} holds no run: there is no such folder")
    paths = sorted(path for path in _run_folders(folder) if not path.name.startswith("."))  # not yet in place
    if not paths:
        raise RunReadError(f"{folder} holds no run that has validated a cycle")
    return [read_run(path) for path in paths]


def _run_folders(folder: Path) -> Iterator[Path]:
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:  # a link to a folder around it, or to one seen before
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        if {"metrics.csv", "config.yaml"} <= set(files):
            yield Path(place)
