"""What benchmarks are made of: results, interleaved timing, peak memory, and the table."""

from __future__ import annotations

import ctypes
import importlib
import pkgutil
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch

MACHINERY = ("__main__", "harness", "rig")


@dataclass(frozen=True)
class Result:
    """One comparison.

    Attributes:
        name: what was done, with its size.
        ours: seconds.
        peer: seconds of the other way.
        peer_name: what the other way is.
        note: what else was measured.
    """

    name: str
    ours: float
    peer: float
    peer_name: str
    note: str = ""

    @property
    def ratio(self) -> float:
        """How many times faster than the peer; below 1 where slower."""
        return self.peer / self.ours

    def __str__(self) -> str:
        line = f"{self.name}: {duration(self.ours)}; {self.peer_name}: {duration(self.peer)}; {self.ratio:.2f} times"
        return f"{line}; {self.note}" if self.note else line


def interleaved(ours: Callable[[], object], peer: Callable[[], object], rounds: int = 5) -> tuple[float, float]:
    """Median seconds of both, called in turn after one call each, so that a disturbance of the machine meets both."""
    calls = (ours, peer)
    for call in calls:
        call()
    times = [[seconds(call) for call in calls] for _ in range(rounds)]
    ours_times, peer_times = zip(*times, strict=True)
    return statistics.median(ours_times), statistics.median(peer_times)


def seconds(call: Callable[[], object]) -> float:
    """Wall clock of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_bytes(call: Callable[[], object]) -> int:
    """Most memory of the process during one call, less the memory before it (Linux)."""
    ctypes.CDLL(None).malloc_trim(0)  # freed memory that the process still holds would hide new allocations
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status_bytes("VmRSS")
    call()
    return max(0, _status_bytes("VmHWM") - before)


def _status_bytes(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


def duration(value: float) -> str:
    """Seconds in the unit that reads best."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e6:.3g} us"


def benchmarks() -> dict[str, ModuleType]:
    """All benchmarks of the package, by name."""
    package = importlib.import_module("benchmarks")
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return {name: importlib.import_module(f"benchmarks.{name}") for name in names if name not in MACHINERY}


def table(results: Iterable[Result]) -> str:
    """Markdown."""
    rows = [("what", "ours", "peer", "seconds of the peer", "times faster", "notes"), ("---",) * 6]
    rows += [(r.name, duration(r.ours), r.peer_name, duration(r.peer), f"{r.ratio:.2f}", r.note) for r in results]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def machine() -> str:
    """Processor, threads and versions, in one line."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    processor = model[1] if model else platform.processor()
    return (
        f"{processor}, {torch.get_num_threads()} threads, Python {platform.python_version()}, torch {torch.__version__}"
    )
