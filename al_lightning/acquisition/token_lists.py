"""Lists of tokens in text files and tables."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from al_lightning.types import DataFileError

COLUMNS = ("token", "unit")


def read_tokens(path: Path) -> list[str]:
    """Tokens of a ``.csv`` or ``.parquet`` with a column ``token`` or ``unit``, or of another text file, one a line.

    Raises:
        DataFileError: the file cannot be read, is empty, names a token twice, has no such column or a row without one.
    """
    if path.suffix == ".parquet":
        tokens = _of_parquet(path)
    else:
        try:
            text = path.read_text(encoding="utf-8-sig")  # with or without a byte-order mark
        except (OSError, UnicodeDecodeError) as error:
            raise DataFileError(f"cannot read the tokens of {path}: {error}") from error
        lines = text.splitlines()
        tokens = _of_csv(lines, path) if path.suffix == ".csv" else [line.strip() for line in lines if line.strip()]
    if not tokens:
        raise DataFileError(f"{path} holds no token")
    check_unique(tokens, path)
    return tokens


def _of_csv(lines: list[str], path: Path) -> list[str]:
    rows = csv.DictReader(lines)
    column = _column(rows.fieldnames or (), path)
    tokens = []
    for row in rows:
        tokens.append((row[column] or "").strip())
        if not tokens[-1]:
            raise DataFileError(f"line {rows.line_num} of {path} has no {column}")
    return tokens


def _of_parquet(path: Path) -> list[str]:
    import pyarrow.parquet as pq  # slow to import

    try:
        file = pq.ParquetFile(path)
        column = _column(file.schema_arrow.names, path)
        tokens = [str("" if value is None else value).strip() for value in file.read([column])[column].to_pylist()]
    except (OSError, ValueError) as error:
        raise DataFileError(f"cannot read the tokens of {path}: {error}") from error
    if "" in tokens:
        raise DataFileError(f"row {tokens.index('') + 1} of {path} has no {column}")
    return tokens


def _column(names: Collection[str], path: Path) -> str:
    column = next((name for name in COLUMNS if name in names), None)
    if column is None:
        raise DataFileError(f"{path} has no column {' or '.join(COLUMNS)}")
    return column


def check_unique(tokens: list[str], source: object) -> None:
    """Refuse tokens that repeat.

    Raises:
        DataFileError: one does; the message names it and where they come from.
    """
    if len(set(tokens)) < len(tokens):
        seen: set[str] = set()
        twice = next(token for token in tokens if token in seen or seen.add(token))  # type: ignore[func-returns-value]
        raise DataFileError(f"{source} names {len(tokens) - len(set(tokens)):,} tokens twice; the first: {twice}")
