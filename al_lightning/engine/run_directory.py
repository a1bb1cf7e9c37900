"""The run directory: everything a run has earned, and the only state that a restart needs.

config.yaml                 the resolved configuration
devices.json                number and kind of the devices that the run was begun on
pool.csv                    unit, acquired_at; its replacement is the commit of a cycle
rows.csv                    unit, rows: how many rows of the data set each unit has
metrics.csv                 one row a cycle
curve.svg                   the headline metric over the labeled units
cycles/K/checkpoint.ckpt    network, optimizer and progress
cycles/K/metrics.json       what validation found
cycles/K/summaries.npz      what the pool pass kept of every unit
cycles/K/scores.parquet     raw and normalized scores of every candidate
cycles/K/representation.csv where the criteria's space is learned: the loss of every epoch
cycles/K/representation.json what that space is worth, measured on the labeled set
cycles/K/selection.csv      the selected units in pick order
cycles/K/embeddings.npz     where it is learned: pool and labeled units in that space
cycles/K/gallery.npz        what a person wants to see of a few selected and rejected units
cycles/0/origin.txt         the run that trained the first cycle, where it was taken over
requests/cycle_K.csv        labels asked of an external oracle (seed.csv for the seed set)
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.data import LabelPool
from al_lightning.engine.devices import Devices
from al_lightning.types import Summary


class RunDirectoryError(RuntimeError):
    """The run directory cannot be used; the message says why."""


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that a crash leaves either the old content or the new one, never a part.

    Raises:
        RunDirectoryError: it cannot be written: the disk may be full.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch.save makes a RuntimeError of a full disk
        raise RunDirectoryError(f"{path} cannot be written: {error}") from error
    finally:
        with contextlib.suppress(OSError):  # then the error above says more
            partial.unlink(missing_ok=True)


def _write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda file: file.write(text.encode()))


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV with the union of all columns, in the order of their first appearance."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class RunDirectory:
    """Reads and writes the files of a run.

    Args:
        root: the directory; made when first written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextlib.contextmanager
    def lock(self, patience: float = 5.0) -> Iterator[None]:
        """Hold the directory for this process; the system frees it when the process ends, however it ends.

        Args:
            patience: seconds to wait for it. The reader processes of a killed run hold it until they notice.

        Raises:
            RunDirectoryError: another process holds it, or there can be no such directory.
        """
        deadline = time.monotonic() + patience
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            opened = (self.root / ".lock").open("a+")
        except OSError as error:
            raise RunDirectoryError(f"{self.root} cannot be a run directory: {error}") from error
        with opened as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > deadline:
                        raise RunDirectoryError(
                            f"another process is running on {self.root}; choose another run_dir"
                        ) from error
                    time.sleep(0.1)
            yield

    @property
    def earned(self) -> bool:
        """Whether there is anything that a new start would lose: a checkpoint or a request for labels."""
        return any(self.root.glob("cycles/*/checkpoint.ckpt")) or any(self.root.glob("requests/*.csv"))

    def forget(self) -> None:
        """Start anew where nothing is earned yet: the seed set may be another one."""
        (self.root / "pool.csv").unlink(missing_ok=True)

    # --- configuration -----------------------------------------------------------------------------------------------

    def read_config(self) -> dict[str, Any] | None:
        """The saved configuration, or None in a new directory.

        Raises:
            RunDirectoryError: the directory holds other files but no configuration, or it cannot be read.
        """
        path = self.root / "config.yaml"
        if path.exists():
            try:
                config = yaml.safe_load(path.read_text())
            except (yaml.YAMLError, UnicodeDecodeError) as error:
                raise RunDirectoryError(f"cannot read {path}: {error}") from error
            if not isinstance(config, dict):
                raise RunDirectoryError(f"{path} holds no configuration")
            return config
        strangers = (
            [entry.name for entry in self.root.iterdir() if not entry.name.startswith(".")]
            if self.root.exists()
            else []
        )
        if strangers:
            raise RunDirectoryError(f"{self.root} is not empty and no run: it holds {', '.join(sorted(strangers)[:5])}")
        return None

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Save the resolved configuration."""
        _write_text(self.root / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False))

    def read_devices(self) -> Devices | None:
        """The devices that the run was begun on, or None."""
        path = self.root / "devices.json"
        return Devices(**json.loads(path.read_text())) if path.exists() else None

    def write_devices(self, devices: Devices) -> None:
        """Save the devices that the run is begun on."""
        _write_text(self.root / "devices.json", json.dumps(asdict(devices)))

    # --- pool --------------------------------------------------------------------------------------------------------

    def read_pool(self, units: Sequence[str]) -> LabelPool | None:
        """The committed pool, or None before the seed set.

        Raises:
            RunDirectoryError: the pool stands for other units than the dataset's.
        """
        path = self.root / "pool.csv"
        if not path.exists():
            return None
        pool = LabelPool.from_csv(path.read_text())
        if pool.units != tuple(units):
            lost = sorted(set(pool.units) - set(units))[:3] or sorted(set(units) - set(pool.units))[:3]
            raise RunDirectoryError(
                f"{path} was written for another dataset: {len(pool.units)} units, now {len(units)}"
                + (f"; for example {', '.join(lost)}" if lost else ", in another order")
            )
        return pool

    def write_pool(self, pool: LabelPool) -> None:
        """Commit the pool: the one atomic step that ends a cycle."""
        _write_text(self.root / "pool.csv", pool.to_csv())

    def write_rows(self, rows: Mapping[str, int]) -> None:
        """Save how many rows of the data set each unit has."""
        _write_text(self.root / "rows.csv", _table([{"unit": unit, "rows": count} for unit, count in rows.items()]))

    # --- cycles ------------------------------------------------------------------------------------------------------

    def cycle(self, cycle: int, name: str = "") -> Path:
        """Path of a file of a cycle."""
        return self.root / "cycles" / str(cycle) / name

    def checkpoint(self, cycle: int) -> Path:
        """Path of the network of a cycle, which need not be there yet.

        Raises:
            RunDirectoryError: it is there, but no whole file.
        """
        path = self.cycle(cycle, "checkpoint.ckpt")
        if path.is_file() and not zipfile.is_zipfile(path):
            raise RunDirectoryError(
                f"{path} is broken: restore it, or delete it, if its cycle is the last one that began, which is then "
                "trained anew"
            )
        return path

    def read_metrics(self, cycle: int) -> dict[str, float] | None:
        """What validation found in a cycle, or None."""
        return self._read_json(cycle, "metrics.json")

    def _read_json(self, cycle: int, name: str) -> dict[str, float] | None:
        path = self.cycle(cycle, name)
        values: dict[str, float] | None = json.loads(path.read_text()) if path.exists() else None
        return values

    def write_metrics(self, cycle: int, metrics: Mapping[str, float]) -> None:
        """Save a cycle's metrics and write `metrics.csv` anew from those of all cycles so far."""
        _write_text(self.cycle(cycle, "metrics.json"), json.dumps(dict(metrics), indent=1))
        self.write_metrics_table(cycle)

    def write_metrics_table(self, last: int) -> None:
        """Write `metrics.csv` from the metrics of the cycles up to the last one."""
        _write_text(self.root / "metrics.csv", _table(self.read_metrics_table(last)))

    def read_metrics_table(self, last: int) -> list[dict[str, float]]:
        """One row a cycle up to the last one: what validation found, and what the learned representation is worth."""
        found = ((self.read_metrics(k), self._read_json(k, "representation.json")) for k in range(last + 1))
        return [metrics | (representation or {}) for metrics, representation in found if metrics is not None]

    def write_curve(self, svg: str) -> None:
        """Save the learning curve."""
        _write_text(self.root / "curve.svg", svg)

    def read_summaries(self, cycle: int) -> Summary | None:
        """What the pool pass kept, or None."""
        path = self.cycle(cycle, "summaries.npz")
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as file:
            fields = {name: torch.from_numpy(file[name]) for name in file.files}
        return Summary(fields.pop("units"), fields)

    def write_summaries(self, cycle: int, summary: Summary) -> None:
        """Save what the pool pass kept."""
        arrays = {"units": summary.units.numpy()} | {name: values.numpy() for name, values in summary.fields.items()}
        write_atomically(self.cycle(cycle, "summaries.npz"), lambda file: np.savez(file, **arrays))

    def write_embeddings(self, cycle: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Save where units lie in a learned space."""
        write_atomically(self.cycle(cycle, "embeddings.npz"), lambda file: np.savez(file, **arrays))

    def write_gallery(self, cycle: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Save what a person wants to see."""
        write_atomically(self.cycle(cycle, "gallery.npz"), lambda file: np.savez_compressed(file, **arrays))

    def write_scores(self, cycle: int, columns: Mapping[str, Any]) -> None:
        """Save the scores of every candidate."""
        table = pa.table(dict(columns))
        write_atomically(self.cycle(cycle, "scores.parquet"), lambda file: pq.write_table(table, file))

    def write_representation(self, cycle: int, curves: Mapping[str, Tensor], metrics: Mapping[str, float]) -> None:
        """Save how the representation was learned: curves (epochs,), and metrics, which `metrics.csv` shows, too."""
        epochs = zip(*(values.tolist() for values in curves.values()), strict=True)
        rows = [{"epoch": epoch} | dict(zip(curves, values, strict=True)) for epoch, values in enumerate(epochs)]
        _write_text(self.cycle(cycle, "representation.csv"), _table(rows))
        _write_text(self.cycle(cycle, "representation.json"), json.dumps(dict(metrics), indent=1))
        self.write_metrics_table(cycle)

    def write_selection(self, cycle: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Save the selected units in pick order."""
        _write_text(self.cycle(cycle, "selection.csv"), _table(rows))

    def request(self, name: str) -> Path:
        """Path of a request for labels."""
        return self.root / "requests" / f"{name}.csv"

    def write_request(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Ask for labels."""
        _write_text(self.request(name), _table(rows))

    def read_request(self, name: str) -> list[str] | None:
        """Ids of the units whose labels were asked for, in pick order, or None.

        Raises:
            RunDirectoryError: there is no column ``unit``.
        """
        if not self.request(name).exists():
            return None
        rows = list(csv.DictReader(self.request(name).read_text("utf-8-sig").splitlines()))
        if not all("unit" in row for row in rows):
            raise RunDirectoryError(f"{self.request(name)} has no column 'unit' (between commas) any more")
        return [row["unit"] for row in rows]
