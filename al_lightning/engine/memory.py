"""What the C library does with memory that a process has freed."""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # options of glibc's mallopt


def keep_freed_memory() -> bool:
    """Have freed memory stay with the process, for the next tensors to lie in.

    As a rule blocks of megabytes go back to the system at once, and every step asks for them anew: pages to be found,
    cleared and mapped, a quarter to a half of a training step on the CPU. Kept, the process stays as large as it
    was at its largest.

    Returns:
        Whether the C library, glibc, can do so.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and all((mallopt(TRIM_THRESHOLD, 2**31 - 1), mallopt(MMAP_MAX, 0)))
