"""Compilation of loops, with their types kept for the type checker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(*fastmath: str, inline: bool = False) -> Callable[[F], F]:
    """The function as machine code, kept on disk from one process to the next; it runs beside other threads.

    Numba compiles a function anew when its own file changes, but not when a function of another file that it calls
    does: functions that call each other stand in one file.

    Args:
        fastmath: what the compiler may do that changes the last bits, in Numba's words; without any, a function gives
            the same bits on every processor.
        inline: make it a part of the functions that call it. With ``reassoc`` a function of its own gives other last
            bits in the process that compiles it than in those that find it on disk.
    """
    options = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": set(fastmath), "forceinline": inline}
    return cast("Callable[[F], F]", njit(**options))
