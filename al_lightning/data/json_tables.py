"""Tables of a nuScenes-format set: JSON lists of records, read one after the other, of which only columns stay.

nuscenes-devkit keeps the whole database for good, sensor readings between the keyframes included: 7 GiB of nuScenes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from al_lightning.types import DataFileError

Record = dict[str, Any]
T = TypeVar("T")


def read_tables(folder: Path, names: Sequence[str], read: Callable[[Path], T]) -> T:
    """What a function makes of tables; called once a process, as long as the tables stay as they are.

    Args:
        folder: holds the tables, such as "nuscenes/v1.0-trainval".
        names: the tables that the function reads.
        read: takes the folder.

    Raises:
        DataFileError: a table is missing or damaged, or the function finds the tables to contradict each other.
    """
    paths = [folder / f"{name}.json" for name in names]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataFileError(f"{len(missing)} of {len(names)} tables are missing; the first: {missing[0]}")
    made: T = _read_unchanged(folder, read, tuple(path.stat().st_mtime_ns for path in paths))
    return made


@lru_cache(maxsize=2)
def _read_unchanged(folder: Path, read: Callable[[Path], Any], changed_at: tuple[int, ...]) -> Any:
    del changed_at  # only a part of the cache's key
    try:
        return read(folder)
    except KeyError as error:
        raise DataFileError(f"the tables in {folder} lack the key or the record {error}") from error
    except (IndexError, OSError, TypeError, ValueError) as error:
        raise DataFileError(f"cannot read the tables in {folder}: {error}") from error


def read_records(folder: Path, name: str, wanted: Callable[[Record], bool] | None = None) -> list[Record]:
    """Records of a table.

    Args:
        folder: holds the table.
        name: of the table, such as "sample".
        wanted: which records to keep; the others are dropped while the file is read. None for all.

    Raises:
        DataFileError: the file is not a JSON list.
    """
    path = folder / f"{name}.json"

    def kept(record: Record) -> Record | None:
        return record if wanted is None or wanted(record) else None

    try:
        records = json.loads(path.read_bytes(), object_hook=kept)
    except ValueError as error:
        raise DataFileError(f"cannot read the table {path}: {error}") from error
    if not isinstance(records, list):
        raise DataFileError(f"cannot read the table {path}: it must be a list of records")
    return [record for record in records if record is not None]


def by_token(records: Sequence[Record]) -> dict[str, Record]:
    """Token -> record."""
    return {record["token"]: record for record in records}
