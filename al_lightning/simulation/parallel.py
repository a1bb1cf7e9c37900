"""Calls in other processes that never outlive the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.connection import Connection, wait
from typing import Any

import cv2


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
        for future in as_completed([pool.submit(function, *job) for job in jobs]):
            future.result()
            done()
    except BaseException:
        lifeline.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        lifeline.close()


def _start_worker(receiver: Connection) -> None:
    cv2.setNumThreads(1)  # the processes share the processors already
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_lifeline, args=(receiver,), daemon=True).start()


def _end_with_lifeline(receiver: Connection) -> None:
    """Nothing is ever sent: the connection wakes up when its other end is closed, by whatever cause."""
    wait([receiver])
    os._exit(1)
