"""The papers' own numbers, to stand beside those of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from al_lightning.report.tables_runs import Method

FILE = Path(__file__).with_name("published.yaml")
OWN = ("name", "criteria", "seed_budgets", "full", "cycle", "IoU")


@dataclass(frozen=True)
class Published:
    """A row of the papers' tables, over all cycles.

    Attributes:
        source: paper.
        data: name of the dataset class that it stands beside.
        version: of that data; None: any.
        name: what the paper calls it.
        criteria: names of the criteria of such a method here.
        seed_budgets: size of the seed set over the budget; None: any.
        full: trained on all labels.
        values: cycle -> metric -> number as printed: IoU and collision in %, L2 in m.
    """

    source: str
    data: str
    version: str | None
    name: str
    criteria: frozenset[str]
    seed_budgets: float | None
    full: bool
    values: Mapping[int, dict[str, float]] = field(default_factory=dict)

    def stands_beside(self, method: Method) -> bool:
        """Whether a method is the one that the row is about."""
        data, loop = method.config["data"], method.config["loop"]
        if data["_target_"].rpartition(".")[2] != self.data or method.full != self.full:
            return False
        if data.get("version", self.version) != self.version:  # data sets take the published version by default
            return False
        sizes = self.seed_budgets in (None, loop["seed_size"] / loop["budget"])
        return self.full or (self.criteria == method.criteria and sizes)


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
            row = Published(
                paper["source"], paper["data"], paper.get("version"), entry["name"],
                frozenset(entry.get("criteria", ())), entry.get("seed_budgets"), entry.get("full", False), {},
            )  # fmt: skip
            row = rows.setdefault((row.data, row.name, row.criteria, row.seed_budgets, row.full), row)
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
