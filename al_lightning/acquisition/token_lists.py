"""Lists of tokens in text files."""

from __future__ import annotations

import csv
from pathlib import Path

from al_lightning.types import DataFileError

COLUMNS = ("token", "unit")


def read_tokens(path: Path) -> list[str]:
    """Tokens of a ``.csv`` with a column ``token`` or ``unit``, or of another text file, one a line.

    Raises:
        DataFileError: the file cannot be read, is empty, names a token twice or has no such column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # with or without a byte-order mark
    except (OSError, UnicodeDecodeError) as error:
        raise DataFileError(f"cannot read the tokens of {path}: {error}") from error
    if path.suffix == ".csv":
        rows = list(csv.reader(text.splitlines()))
        column = next((name for name in COLUMNS if rows and name in rows[0]), None)
        if column is None:
            raise DataFileError(f"{path} has no column {' or '.join(COLUMNS)}")
        place = rows[0].index(column)
        tokens = [row[place] for row in rows[1:] if row]
    else:
        tokens = [line.strip() for line in text.splitlines() if line.strip()]
    if not tokens:
        raise DataFileError(f"{path} holds no token")
    check_unique(tokens, path)
    return tokens


def check_unique(tokens: list[str], source: object) -> None:
    """Refuse tokens that repeat.

    Raises:
        DataFileError: one does; the message names it and where they come from.
    """
    if len(set(tokens)) < len(tokens):
        seen: set[str] = set()
        twice = next(token for token in tokens if token in seen or seen.add(token))  # type: ignore[func-returns-value]
        raise DataFileError(f"{source} names {len(tokens) - len(set(tokens)):,} tokens twice; the first: {twice}")
