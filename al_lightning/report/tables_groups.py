"""Runs in groups: seeds of a method, methods of an experiment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from al_lightning.config import differing_keys
from al_lightning.report.tables_runs import ReportedRun
from al_lightning.settings import SILENT, is_below, settings_without

FULL = "full supervision"

REPEATED = (*SILENT, "seed", "data.root", "prepare.root")
"""Keys in which the runs of a method may differ: they touch no result, make repetitions, or say where data lie."""

COMPARED = ("acquisition", "loop.cycles", "loop.seed_size", "loop.budget")
"""Keys in which the methods of an experiment may differ."""

NAMED = 6
"""Differences between two experiments that are named."""

T = TypeVar("T")
Settings = dict[str, Any]
"""Leaves of a configuration by their dotted keys."""


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
        remarks: what is to be known of its runs: what sets it apart from another experiment of its name, and runs that
            are left out.
    """

    name: str
    methods: tuple[Method, ...]
    remarks: tuple[str, ...] = ()

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

    Two runs with one configuration and seed count once: the one with more cycles, the first by its path among equals.
    """
    experiments: list[tuple[Settings, list[tuple[Settings, list[ReportedRun]]]]] = []
    for run in sorted(runs, key=lambda run: run.path):
        settings = _settings(run.config)
        compared = {key: value for key, value in settings.items() if is_below(key, COMPARED)}
        common = {key: value for key, value in settings.items() if key not in compared} | {"pool": _pool(run)}
        _of(_of(experiments, common), compared).append(run)
    named: list[Experiment] = []
    firsts: dict[str, Settings] = {}
    for common, methods in experiments:
        groups = [alike for _, alike in methods]
        own = str(groups[0][0].config["experiment"])
        first = firsts.setdefault(own, common)
        name = _free(own, [experiment.name for experiment in named])
        apart = [] if first is common else [_apart(name, own, differing_keys(first, common))]
        chosen = [_by_seed(alike) for alike in groups]
        remarks = (*apart, *(remark for _, left_out in chosen for remark in left_out))
        named.append(Experiment(name, _methods([runs for runs, _ in chosen]), remarks))
    return named


def _pool(run: ReportedRun) -> str:
    """What tells one data set from another, wherever they lie: the units."""
    return f"{run.pool} units {hashlib.sha256(chr(10).join(run.units).encode()).hexdigest()[:8]}"


def _apart(name: str, other: str, differences: Sequence[str]) -> str:
    more = f"; and {len(differences) - NAMED} more" if len(differences) > NAMED else ""
    return f"{name} is not compared with {other}, from which it differs in {'; '.join(differences[:NAMED])}{more}."


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


def _methods(groups: Sequence[Mapping[int, ReportedRun]]) -> tuple[Method, ...]:
    """In their order: fewest criteria first, then by the numbers in which they differ; full supervision last."""
    some = [next(iter(runs.values())) for runs in groups]
    places = []
    for run, (criteria, differing), runs in zip(some, _names(some), groups, strict=True):
        words = ", ".join(f"{key}={value}" for key, value in differing.items())
        method = Method(f"{criteria} ({words})" if words else criteria, _criteria(run.config), _is_full(run), runs)
        values = [_rank(value) for value in differing.values()]
        places.append(((method.full, len(method.criteria), criteria, values), method))
    return tuple(method for _, method in sorted(places, key=lambda place: place[0]))


def _rank(value: Any) -> tuple[bool, float, str]:
    """Numbers by their size, before all else by its text."""
    return (False, value, "") if isinstance(value, int | float) else (True, 0.0, str(value))


def _by_seed(runs: Sequence[ReportedRun]) -> tuple[dict[int, ReportedRun], list[str]]:
    """One run a seed, and remarks on those left out that found something else, as on another machine."""
    found: dict[int, ReportedRun] = {}
    remarks = []
    for run in sorted(runs, key=lambda run: (run.seed, -len(run.metrics))):
        first = found.setdefault(run.seed, run)  # the one that is further
        cycle = next((k for k in run.metrics if run.metrics[k] != first.metrics.get(k)), None)
        if cycle is not None:
            remarks.append(
                f"{run.path} is left out: {first.path} is the same run, but their metrics differ from cycle {cycle} on."
            )
    return found, remarks


def _names(runs: Sequence[ReportedRun]) -> list[tuple[str, Settings]]:
    """Their criteria; and where these are the same, what else differs."""
    names = [method_name(run) for run in runs]
    settings = [_settings(run.config) for run in runs]
    full = []
    for name, ours in zip(names, settings, strict=True):
        alike = [theirs for other, theirs in zip(names, settings, strict=True) if other == name]
        keys = sorted({key for theirs in alike for key in theirs if any(one.get(key) != theirs[key] for one in alike)})
        full.append((name, {key: ours.get(key) for key in keys}))
    return full


def method_name(run: ReportedRun) -> str:
    """The criteria that count, or that everything is labeled from the start."""
    return FULL if _is_full(run) else " + ".join(sorted(_criteria(run.config)))


def _criteria(config: Mapping[str, Any]) -> frozenset[str]:
    acquisition = config["acquisition"]
    weights = acquisition.get("weights") or {}
    return frozenset(name for name in acquisition["criteria"] if weights.get(name, 1.0) > 0)


def _is_full(run: ReportedRun) -> bool:
    return run.metrics.get(0, {}).get("share") == 1.0


def _settings(config: Mapping[str, Any]) -> Settings:
    """What makes a method: a component's copy of the seed is no part of it, and of a file only the name is."""
    seed = config["seed"]
    return {
        key: value.rstrip("/").rpartition("/")[2] if isinstance(value, str) else value
        for key, value in settings_without(config, REPEATED).items()
        if not (key.endswith(".seed") and value == seed)
    }
