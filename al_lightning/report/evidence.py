"""What a run directory tells of its selections: summaries, scores, learned spaces, galleries.

Only files are read, no training state; what an older run has not kept is None.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from al_lightning.data import LabelPool
from al_lightning.report.tables_runs import ReportedRun, RunReadError, read_run

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Exhibit:
    """A unit of a gallery.

    Attributes:
        unit: its number in the pool.
        name: its id.
        kind: "selected", "runner-up" or "lowest".
        keyframe: which of its keyframes is shown, from 0.
        keyframes: how many it has.
        cameras: names of the pictures in ``montage``.
        arrays: what was kept of it.
    """

    unit: int
    name: str
    kind: str
    keyframe: int
    keyframes: int
    cameras: Sequence[str]
    arrays: Arrays


@dataclass(frozen=True)
class Gallery:
    """What was kept of a few units.

    Attributes:
        exhibits: in the order to show them.
        class_names: of the data set; None if it has none.
        free_class: the class of empty voxels; None if there is none.
    """

    exhibits: Sequence[Exhibit]
    class_names: Sequence[str] | None
    free_class: int | None


@dataclass(frozen=True)
class Cycle:
    """A cycle that has selected.

    Attributes:
        number: of the cycle.
        candidates: (N,) numbers of the units that could be selected, ascending.
        labeled: (M,) numbers of the labeled units.
        picks: numbers of the selected units in pick order.
        scores: name -> (N,); ``score``, criteria, and these normalized.
        fields: name -> (U, ...) summaries, by the number of the unit.
        embedding: number of a unit -> vector, where a space was learned; None otherwise.
        safety: (M, H) safety states of the labeled units; None where there are none.
        gallery: None where none was kept.
    """

    number: int
    candidates: NDArray[np.int64]
    labeled: NDArray[np.int64]
    picks: Sequence[int]
    scores: Arrays
    fields: Arrays
    embedding: NDArray[np.float64] | None
    safety: NDArray[np.float64] | None
    gallery: Gallery | None

    @cached_property
    def position(self) -> dict[int, int]:
        """Number of a unit -> its position among the candidates."""
        return {unit: position for position, unit in enumerate(self.candidates.tolist())}

    @property
    def criteria(self) -> list[str]:
        """Names of the criteria."""
        return [name for name in self.scores if f"{name}_normalized" in self.scores]


def selection_name(cycle: int) -> str:
    """What a page calls the selection of a cycle: its units are labeled from the next one on."""
    return f"for cycle {cycle + 1}"


@dataclass(frozen=True)
class RunEvidence:
    """A run with its selections.

    Attributes:
        run: configuration, metrics and pool.
        units: ids of the units.
        cycles: that have selected.
    """

    run: ReportedRun
    units: Sequence[str]
    cycles: Sequence[Cycle]


def read_evidence(path: Path) -> RunEvidence:
    """Read a run directory.

    Raises:
        RunReadError: a file is missing or damaged.
    """
    run = read_run(path)
    pool = LabelPool.from_csv((path / "pool.csv").read_text(encoding="utf-8"))
    number = {name: unit for unit, name in enumerate(pool.units)}
    cycles = []
    for folder in sorted((path / "cycles").glob("*"), key=lambda folder: int(folder.name)):
        if all((folder / name).exists() for name in ("selection.csv", "scores.parquet", "summaries.npz")):
            try:
                cycles.append(_read_cycle(folder, pool, number))
            except (OSError, ValueError, KeyError) as error:
                raise RunReadError(f"{folder}: {error}") from error
    return RunEvidence(run, pool.units, cycles)


def _read_cycle(folder: Path, pool: LabelPool, number: Mapping[str, int]) -> Cycle:
    table = pq.read_table(folder / "scores.parquet")
    columns = {name: table[name].to_numpy() for name in table.column_names if name not in ("unit", "pick")}
    candidates = np.array([number[unit] for unit in table["unit"].to_pylist()], dtype=np.int64)
    with (folder / "selection.csv").open(encoding="utf-8", newline="") as file:
        picks = [number[row["unit"]] for row in csv.DictReader(file)]
    fields = dict(_arrays(folder / "summaries.npz") or {})
    order = np.argsort(fields.pop("units"))
    labeled = np.setdiff1d(np.arange(len(pool.units)), candidates)
    learned = _arrays(folder / "embeddings.npz") or {}
    return Cycle(
        number=int(folder.name),
        candidates=candidates,
        labeled=labeled,
        picks=picks,
        scores=columns,
        fields={name: values[order] for name, values in fields.items()},
        embedding=_embedding(learned, len(pool.units)),
        safety=_safety(learned, labeled),
        gallery=_gallery(folder / "gallery.npz", number),
    )


def _arrays(path: Path) -> dict[str, NDArray[Any]] | None:
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _embedding(learned: Arrays, count: int) -> NDArray[np.float64] | None:
    """(U, D): the learned vectors by the number of the unit."""
    if "pool_embedding" not in learned:
        return None
    vectors = np.zeros((count, learned["pool_embedding"].shape[1]))
    for part in ("pool", "labeled"):
        vectors[learned[f"{part}_units"]] = learned[f"{part}_embedding"]
    return vectors


def _safety(learned: Arrays, labeled: NDArray[np.int64]) -> NDArray[np.float64] | None:
    if "labeled_safety" not in learned:
        return None
    order = np.argsort(learned["labeled_units"])
    assert np.array_equal(learned["labeled_units"][order], labeled)
    safety: NDArray[np.float64] = learned["labeled_safety"][order]
    return safety


def _gallery(path: Path, number: Mapping[str, int]) -> Gallery | None:
    arrays = _arrays(path)
    if arrays is None:
        return None
    index = json.loads(str(arrays.pop("index")))
    exhibits = []
    for place, entry in enumerate(index["units"]):
        own = {name.partition("/")[2]: values for name, values in arrays.items() if name.startswith(f"{place}/")}
        shown = {key: entry[key] for key in ("kind", "keyframe", "keyframes", "cameras")}
        exhibits.append(Exhibit(unit=number[entry["unit"]], name=entry["unit"], arrays=own, **shown))
    return Gallery(exhibits, index["class_names"], index["free_class"])
