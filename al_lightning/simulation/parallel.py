"""Calls in other processes that never outlive the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

import cv2

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def call_in_parallel(
    function: Callable[..., None], jobs: Sequence[tuple[Any, ...]], workers: int, done: Callable[[], None]
) -> None:
    """Call a function with each tuple of arguments, in fresh processes.

    All processes end at once when a call fails, and when this process is interrupted or killed.

    Args:
        function: at the top level of a module.
        jobs: its arguments.
        workers: number of processes.
        done: called here after each call.

    Raises:
        BrokenProcessPool: a process was killed.
        Exception: whatever the function raises.
    """
    context = multiprocessing.get_context("spawn")
    receiver, lifeline = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(receiver,))
    try:
        with _one_thread_each():
            futures = [pool.submit(function, *job) for job in jobs]  # starts the processes
        for future in as_completed(futures):
            future.result()
            done()
    except BaseException:
        lifeline.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        lifeline.close()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started meanwhile do linear algebra in one thread: they share the processors already."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker(receiver: Connection) -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_lifeline, args=(receiver,), daemon=True).start()


def _end_with_lifeline(receiver: Connection) -> None:
    """Nothing is ever sent: the connection wakes up when its other end is closed, by whatever cause."""
    wait([receiver])
    os._exit(1)
