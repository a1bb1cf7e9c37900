"""Files that a command writes at the end of its work."""

from __future__ import annotations

from pathlib import Path

from al_lightning.types import DataFileError


def check_new(out: Path) -> None:
    """Refuse, before the work, a file that cannot be written at its end or would replace another one.

    Raises:
        DataFileError: it exists, or its folder does not.
    """
    if out.exists():
        raise DataFileError(f"{out} exists; remove it or choose another --out")
    if not out.resolve().parent.is_dir():
        raise DataFileError(f"there is no folder {out.parent} for --out {out.name}; make it first")
