"""Whose folder it is: ``simulation.json`` tells what a data set was generated from, and is locked meanwhile."""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from al_lightning.simulation.presets import Preset

log = logging.getLogger(__name__)

GENERATOR_VERSION = 1
"""Raised whenever the same preset and seed give other data."""

Identity = Mapping[str, Any]


class GenerationError(Exception):
    """The data set cannot be generated there; the message says why and what to do."""


def describe(preset: Preset, seed: int) -> Identity:
    """All that the data depend on: the content of ``simulation.json``."""
    options = json.loads(json.dumps(asdict(preset)))
    return {"version": GENERATOR_VERSION, "preset": options.pop("name"), "seed": seed, "options": options}


def recorded(root: Path) -> Identity | None:
    """What a folder says of itself, None where it says nothing.

    Raises:
        GenerationError: the file is damaged.
    """
    path = root / "simulation.json"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    try:
        identity: Identity | None = json.loads(text) if text else None
    except json.JSONDecodeError as error:
        raise GenerationError(f"{path} is damaged: {error}") from error
    return identity


@contextmanager
def claimed(root: Path, identity: Identity) -> Iterator[None]:
    """Make a folder ours while we write to it, after any other process that does so.

    The lock ends with the process, however it ends.

    Args:
        root: the folder, created if need be.
        identity: what will be generated.

    Raises:
        GenerationError: the folder holds something else.
    """
    path = root / "simulation.json"
    strange = GenerationError(f"{root} holds something that the simulation did not write; choose an empty folder")
    if not path.exists() and root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise strange
    root.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("another process generates in %s: waiting for it to end", root)
            fcntl.flock(file, fcntl.LOCK_EX)
        there = recorded(root)
        if there is None:
            if any(entry != path for entry in root.iterdir()):
                raise strange
            file.write(json.dumps(identity, indent=2) + "\n")
            file.flush()
        elif there != identity:
            raise GenerationError(
                f"{root} holds another data set: there is {_summary(there)}, asked for is {_summary(identity)}; "
                "choose another folder, or delete it"
            )
        yield


def _summary(identity: Identity) -> str:
    first = ", ".join(f"{key} {identity.get(key)}" for key in ("preset", "seed", "version"))
    return f"{first} ({', '.join(f'{key} {value}' for key, value in identity.get('options', {}).items())})"
