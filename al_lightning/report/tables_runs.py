"""Run directories as the tables need them: read, and grouped into experiments and methods.

Only ``config.yaml``, ``metrics.csv`` and ``pool.csv`` are read.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from al_lightning.data import LabelPool

FULL = "full supervision"
SILENT = ("run_dir", "description", "tracking", "trainer.progress_bar", "loader.num_workers", "gallery", "seed")
"""Keys in which the runs of a method may differ: they do not touch results, or make repetitions."""

COMPARED = ("acquisition", "loop.cycles", "loop.seed_size", "loop.budget")
"""Keys in which the methods of an experiment may differ."""


T = TypeVar("T")
Settings = dict[str, Any]
"""Leaves of a configuration by their dotted keys."""


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
        pool: number of units that can be labeled.
    """

    path: Path
    config: Mapping[str, Any]
    metrics: Mapping[int, Mapping[str, float]]
    acquired: Mapping[int, frozenset[str]]
    pool: int

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.config["seed"])


def read_run(path: Path) -> ReportedRun:
    """Read a run directory that has validated at least one cycle.

    Raises:
        RunReadError: a file is missing or damaged.
    """
    try:
        config = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        with (path / "metrics.csv").open(encoding="utf-8", newline="") as file:
            rows = [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]
        pool = LabelPool.from_csv((path / "pool.csv").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RunReadError(f"{path}: {error}") from error
    acquired = {
        cycle: frozenset(unit for unit, since in zip(pool.units, pool.acquired_at, strict=True) if since == cycle)
        for cycle in range(pool.cycle + 1)
    }
    return ReportedRun(path, config, {int(row["cycle"]): row for row in rows}, acquired, len(pool.units))


def read_runs(folder: Path) -> list[ReportedRun]:
    """All runs in a folder and the folders in it that have validated a cycle, in the order of their paths.

    Raises:
        RunReadError: there is none, or a file is damaged.
    """
    found = {path.parent for path in folder.rglob("metrics.csv") if (path.parent / "config.yaml").exists()}
    paths = sorted(path for path in found if not path.name.startswith("."))  # not yet in place
    if not paths:
        raise RunReadError(f"{folder} holds no run that has validated a cycle")
    return [read_run(path) for path in paths]


@dataclass(frozen=True)
class Method:
    """A way to acquire, repeated with several seeds.

    Attributes:
        name: the criteria that count, and what else tells it from the other methods.
        criteria: names of the criteria with a weight above 0.
        full: everything is labeled from the start.
        runs: seed -> run.
    """

    name: str
    criteria: frozenset[str]
    full: bool
    runs: Mapping[int, ReportedRun]

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration of one of its runs."""
        return next(iter(self.runs.values())).config

    def values(self, metric: str, cycle: int) -> dict[int, float]:
        """Seed -> metric of a cycle, of the seeds that have it."""
        return {
            seed: run.metrics[cycle][metric]
            for seed, run in self.runs.items()
            if cycle in run.metrics and metric in run.metrics[cycle]
        }

    def labeled(self, cycle: int) -> int | None:
        """Number of labeled units in a cycle; None before any run is there."""
        counts = self.values("labeled", cycle).values()
        return int(max(counts)) if counts else None

    @property
    def last(self) -> int:
        """Number of the last cycle that any of its runs has validated."""
        return max(max(run.metrics) for run in self.runs.values())


@dataclass(frozen=True)
class Experiment:
    """Methods that differ in what acquires and in nothing else.

    Attributes:
        name: of the experiment's configuration.
        methods: in the order of their rows: fewest criteria first, full supervision last.
    """

    name: str
    methods: tuple[Method, ...]

    @property
    def last(self) -> int:
        """Number of the last cycle of any method."""
        return max(method.last for method in self.methods)

    def metric_names(self) -> list[str]:
        """All metrics, in the order of the runs' files."""
        rows = (row for method in self.methods for run in method.runs.values() for row in run.metrics.values())
        return [name for name in dict.fromkeys(n for row in rows for n in row) if name not in ("cycle", "labeled")]


def group(runs: Iterable[ReportedRun]) -> list[Experiment]:
    """Put runs together that differ in their seed only, and methods that differ in what acquires only.

    Raises:
        RunReadError: two runs have one configuration and seed, but found different things.
    """
    experiments: list[tuple[Settings, list[tuple[Settings, list[ReportedRun]]]]] = []
    for run in runs:
        settings = _settings(run.config)
        compared = {key: value for key, value in settings.items() if _below(key, COMPARED)}
        common = {key: value for key, value in settings.items() if key not in compared}
        _of(_of(experiments, common), compared).append(run)
    named: list[Experiment] = []
    for _, methods in experiments:
        groups = [alike for _, alike in methods]
        name = _free(str(groups[0][0].config["experiment"]), [experiment.name for experiment in named])
        named.append(Experiment(name, tuple(sorted(_methods(groups), key=_order))))
    return named


def _of(entries: list[tuple[Settings, list[T]]], settings: Settings) -> list[T]:
    """The list of equal settings (1 is 1.0), a new one where there is none."""
    for known, members in entries:
        if known == settings:
            return members
    entries.append((settings, []))
    return entries[-1][1]


def _free(name: str, taken: Iterable[str]) -> str:
    others = sum(other == name or other.startswith(f"{name} (") for other in taken)
    return f"{name} ({others + 1})" if others else name


def _methods(groups: list[list[ReportedRun]]) -> Iterator[Method]:
    names = _names([runs[0] for runs in groups])
    for name, runs in zip(names, groups, strict=True):
        yield Method(name, _criteria(runs[0].config), _is_full(runs[0]), _by_seed(runs))


def _by_seed(runs: list[ReportedRun]) -> dict[int, ReportedRun]:
    found: dict[int, ReportedRun] = {}
    for run in sorted(runs, key=lambda run: (run.seed, -len(run.metrics))):
        first = found.setdefault(run.seed, run)  # the one that is further
        if any(run.metrics[cycle] != first.metrics[cycle] for cycle in run.metrics):
            raise RunReadError(f"{first.path} and {run.path} are the same run, but found different things")
    return found


def _names(runs: list[ReportedRun]) -> list[str]:
    """Their criteria; where these are the same, what else differs is added."""
    names = [FULL if _is_full(run) else " + ".join(sorted(_criteria(run.config))) for run in runs]
    settings = [_settings(run.config) for run in runs]
    full: list[str] = []
    for name, ours in zip(names, settings, strict=True):
        alike = [theirs for other, theirs in zip(names, settings, strict=True) if other == name]
        keys = sorted({key for theirs in alike for key in theirs if any(one.get(key) != theirs[key] for one in alike)})
        differing = ", ".join(f"{key}={ours.get(key)}" for key in keys)
        full.append(f"{name} ({differing})" if differing else name)
    return full


def _criteria(config: Mapping[str, Any]) -> frozenset[str]:
    acquisition = config["acquisition"]
    weights = acquisition.get("weights") or {}
    return frozenset(name for name in acquisition["criteria"] if weights.get(name, 1.0) > 0)


def _is_full(run: ReportedRun) -> bool:
    return run.metrics.get(0, {}).get("share") == 1.0


def _order(method: Method) -> tuple[bool, int, str]:
    return method.full, len(method.criteria), method.name


def _settings(config: Mapping[str, Any]) -> Settings:
    """What makes a method; a component's copy of the seed is no part of it."""
    seed = config["seed"]
    return {
        key: value
        for key, value in _leaves(config, "")
        if not _below(key, SILENT) and not (key.endswith(".seed") and value == seed)
    }


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def _below(key: str, names: Iterable[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)
