"""Loops as machine code, on all threads."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import get_ident
from typing import Any, TypeVar, cast

import torch
from numba import njit

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_MEMBER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _team() -> Callable[..., object] | None:
    """What compilers call for a parallel region of OpenMP: (function, its argument, threads, flags); None if absent."""
    team = getattr(ctypes.CDLL(None), "GOMP_parallel", None) if sys.platform == "linux" else None
    if team is not None:
        team.argtypes = (_MEMBER, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        os.register_at_fork(after_in_child=_forget_team)
    return team


def _forget_team() -> None:
    """A process forked from another does not have its threads, but OpenMP would wait for them."""
    global _TEAM
    _TEAM = None


_TEAM = _team()


def compiled(*fastmath: str, inline: bool = False) -> Callable[[F], F]:
    """The function as machine code, kept on disk from one process to the next; it runs beside other threads.

    Numba compiles a function anew when its own file changes, but not when a function of another file that it calls
    does: functions that call each other stand in one file.

    Args:
        fastmath: what the compiler may do that changes the last bits, in Numba's words; without any, a function that
            calls no other with some gives the same bits on every processor.
        inline: make it a part of the functions that call it. With ``reassoc`` a function of its own gives other last
            bits in the process that compiles it than in those that find it on disk.
    """
    options = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": set(fastmath), "forceinline": inline}
    return cast("Callable[[F], F]", njit(**options))


def in_parallel(work: Callable[[T], object], items: Iterable[T]) -> None:
    """Work on items with as many threads as torch has; this thread works, too.

    Where torch has OpenMP's threads, by those: after an operation they wait for the next one without sleeping, for
    milliseconds, and would take the processor from threads of our own. `work` should spend its time without the GIL.
    """
    shared, threads = iter(list(items)), torch.get_num_threads()
    errors, ended = list[BaseException](), list[int]()

    def take(_: object = None) -> None:
        try:
            for item in shared:
                work(item)
        except BaseException as error:  # through C nothing can be raised
            errors.append(error)
        ended.append(get_ident())

    if threads == 1:
        take()
    elif _TEAM is not None:
        _TEAM(_MEMBER(take), None, threads, 0)
        if get_ident() not in ended:  # interrupted where C calls Python, which drops the error
            raise KeyboardInterrupt
    else:
        with ThreadPoolExecutor(threads) as pool:
            for _ in range(threads - 1):
                pool.submit(take)
            take()
    if errors:
        raise errors[0]
