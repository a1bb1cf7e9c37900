"""Loops as machine code, on all threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import torch
from numba import njit

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


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


def in_parallel(work: Callable[[T], object], items: Iterable[T]) -> None:
    """Work on items with as many threads as torch has; this thread works, too, since a new one takes time to start."""
    shared = iter(list(items))

    def take() -> None:
        for item in shared:
            work(item)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        others = [pool.submit(take) for _ in range(torch.get_num_threads() - 1)]
        take()
    for other in others:
        other.result()
