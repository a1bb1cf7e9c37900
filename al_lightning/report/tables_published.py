"""The papers' own numbers, to stand beside those of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from al_lightning.report.tables_groups import Method

FILE = Path(__file__).with_name("published.yaml")
OWN = ("name", "criteria", "seed_size", "full", "cycle", "IoU")

TOLERANCE = 0.01
"""Relative difference of two numbers of labels that are the same protocol: on one GPU OccFormer takes 300 for 299."""


@dataclass(frozen=True)
class Published:
    """A row of the papers' tables, over all cycles.

    Attributes:
        source: paper.
        data: name of the dataset class that it stands beside.
        version: of that data; None: any.
        split: class of its split; None: it has no other.
        name: what the paper calls it.
        criteria: names of the criteria of such a method here.
        seed_size: units labeled first; all of them where ``full``.
        budget: units labeled in a cycle; None where ``full``.
        full: trained on all labels.
        values: cycle -> metric -> number as printed: IoU and collision in %, L2 in m.
    """

    source: str
    data: str
    version: str | None
    split: str | None
    name: str
    criteria: frozenset[str]
    seed_size: int
    budget: int | None
    full: bool
    values: Mapping[int, dict[str, float]] = field(default_factory=dict)

    def stands_beside(self, method: Method) -> bool:
        """Whether a method is the one that the row is about."""
        data, loop = method.config["data"], method.config["loop"]
        # data sets take the published version and the official split by default
        split = (data.get("splits") or {"_target_": "OfficialSplit"})["_target_"]
        same_data = (
            _class(data["_target_"]) == self.data
            and data.get("version", self.version) == self.version
            and self.split in (None, _class(split))
        )
        if not same_data or method.full != self.full or not _about(loop["seed_size"], self.seed_size):
            return False
        return self.full or (self.criteria == method.criteria and _about(loop["budget"], self.budget))


def _class(target: str) -> str:
    return target.rpartition(".")[2]


def _about(ours: int, theirs: int | None) -> bool:
    return theirs is not None and math.isclose(ours, theirs, rel_tol=TOLERANCE)


def beside(method: Method) -> list[Published]:
    """The published rows of a method."""
    return [row for row in published() if row.stands_beside(method)]


@cache
def published() -> Sequence[Published]:
    """All rows of the file; those of one name, data and method are one.

    Raises:
        ValueError: two entries say different things of the same number.
    """
    rows: dict[tuple[Any, ...], Published] = {}
    for paper in yaml.safe_load(FILE.read_text(encoding="utf-8")).values():
        for entry in paper["rows"]:
            full = entry.get("full", False)
            row = Published(
                paper["source"], paper["data"], paper.get("version"), paper.get("split"), entry["name"],
                frozenset(entry.get("criteria", ())), entry["seed_size"], None if full else paper["budget"], full, {},
            )  # fmt: skip
            row = rows.setdefault((row.data, row.name, row.criteria, row.seed_size, full), row)
            values = row.values.setdefault(entry["cycle"], {})  # type: ignore[attr-defined]
            for name, number in _numbers(entry, paper.get("classes", ())).items():
                if values.setdefault(name, number) != number:
                    raise ValueError(
                        f"{FILE}: {row.name}, cycle {entry['cycle']}: {name} is {values[name]} and {number}"
                    )
    return tuple(rows.values())


def _numbers(entry: Mapping[str, Any], classes: Sequence[str]) -> dict[str, float]:
    numbers = {name: float(value) for name, value in entry.items() if name not in OWN}
    if "IoU" in entry:
        numbers |= {f"IoU/{name}": float(value) for name, value in zip(classes, entry["IoU"], strict=True)}
    return numbers
