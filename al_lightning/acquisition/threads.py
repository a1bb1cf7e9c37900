"""Run short operations on one thread of the processor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch from sharing operations among threads.

    For functions made of thousands of operations of microseconds: each shared operation waits for the slowest thread.
    Beside another busy process, the workers of a data loader for one, that is a time slice of the scheduler an
    operation: seconds a sample instead of milliseconds.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
