"""Compilation of loops, with their types kept for the type checker."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import config, njit

F = TypeVar("F", bound=Callable[..., Any])


def _sources_digest() -> str:
    folder = Path(__file__).parent
    sources = [folder / "world.py", folder / "visibility.py", *sorted(folder.glob("sensors/*.py"))]
    sources += sorted(folder.glob("traffic/*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]


_CACHE = Path(config.CACHE_DIR or Path(__file__).parent / "__pycache__") / f"compiled-{_sources_digest()}"


def compiled(function: F) -> F:
    """The function as machine code, kept on disk from one process to the next.

    Numba compiles a function anew when its own file changes, but not when a function that it calls does; so what is
    kept goes by the sources of all that is compiled.
    """
    before = config.CACHE_DIR
    config.CACHE_DIR = str(_CACHE)
    try:
        return cast(F, njit(cache=True)(function))
    finally:
        config.CACHE_DIR = before
