"""The command that selects from files, a process of its own, against the same selection from arrays in memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import cas
from benchmarks import k_center as centers
from benchmarks.harness import Result, seconds

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "acquisition"

Arrays = dict[str, NDArray[Any]]


def run(full: bool) -> list[Result]:
    """CAS from histograms of 18 classes, and k-center from embeddings of 128 numbers; with ``full``, of a million."""
    size, labeled, budget = (1_000_000, 10_000, 2_000) if full else (10_000, 200, 100)
    pool, known, uncertainty = cas.world(size, labeled)
    histograms = {"class_histogram": pool.astype(np.float32), "frequency_weighted_entropy": uncertainty}
    near = {"class_histogram": known.astype(np.float32)}
    results = [
        compared("cas", histograms, near, budget, lambda p, q: cas.select(
            p["class_histogram"], q["class_histogram"], p["frequency_weighted_entropy"], budget
        ).units.tolist())
    ]  # fmt: skip
    del pool, known, histograms, near
    embeddings, others = (values.numpy() for values in centers.world(size, "clustered"))
    return [
        *results,
        compared("coreset", {"embedding": embeddings}, {"embedding": others}, budget, lambda p, q: centers.select(
            torch.from_numpy(p["embedding"]), torch.from_numpy(q["embedding"]), budget
        )),
    ]  # fmt: skip


def compared(
    name: str, pool: Arrays, labeled: Arrays, budget: int, in_memory: Callable[[Arrays, Arrays], list[int]]
) -> Result:
    """The command with the configuration of this name, beside a function of the same arrays."""
    size = len(next(iter(pool.values())))
    found: list[list[int]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / file for file in ("pool.npz", "labeled.npz", "picks.txt")]
        for file, arrays in zip(files, (pool, labeled), strict=False):
            np.savez(file, token=tokens(file.stem, len(next(iter(arrays.values())))), **arrays)
        ours, memory = command(name, files, budget)
        picks = files[-1].read_text().split()
    peer = seconds(lambda: found.append(in_memory(pool, labeled)))
    assert [int(pick[-32:], 16) for pick in picks] == found[0], "in memory, others are picked"
    shape = " x ".join(map(str, next(iter(pool.values())).shape[1:]))
    return Result(
        f"select, {name}, {budget:,} of {size:,} x {shape}, {len(next(iter(labeled.values()))):,} labeled",
        ours,
        peer,
        "from arrays in memory",
        f"{memory / 2**30:.2f} GiB in all",
    )


def tokens(prefix: str, count: int) -> NDArray[np.str_]:
    """Names as long as nuScenes' tokens, after what keeps those of two files apart."""
    return np.array([f"{prefix}-{number:032x}" for number in range(count)])


def command(name: str, files: list[Path], budget: int) -> tuple[float, int]:
    """Seconds of the command and the most memory (bytes) that it held."""
    summaries, labeled, picks = map(str, files)
    words = ["--summaries", summaries, "--labeled", labeled, "--config", str(CONFIGS / f"{name}.yaml")]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "al_lightning.select", *words, "--budget", str(budget), "--out", picks],
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the command ended with {process.returncode}")
    return time.perf_counter() - start, 1024 * usage.ru_maxrss
