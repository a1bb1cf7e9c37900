"""Nearest neighbours in embedding space, as rarity needs them: an index beside exhaustive search."""

from __future__ import annotations

import faiss
import numpy as np
import torch

from al_lightning.acquisition.functional import nearest_neighbors
from benchmarks.harness import Result, peak_bytes, seconds

NEIGHBORS = 20
# The exhaustive search is timed on this many points.
TIMED = 2_000


def run(full: bool) -> list[Result]:
    """20,000 points; with ``full``, 100,000 and 1,000,000: each once, which takes minutes."""
    return [measured(size) for size in ((100_000, 1_000_000) if full else (20_000,))]


def measured(size: int) -> Result:
    """All neighbours by the index, and those of some points by exhaustive search."""
    z = world(size)
    rows, times = torch.empty(0), []

    def search() -> None:
        nonlocal rows
        rows = nearest_neighbors(z, NEIGHBORS, exact_up_to=0).rows[:TIMED].clone()

    memory = peak_bytes(lambda: times.append(seconds(search)))
    peer = seconds(lambda: exact(z)) * size / TIMED
    note = f"recall {recall(z, rows):.3f}, {memory / 2**30:.2f} GiB extra"
    name = f"{NEIGHBORS} neighbours of {size:,} x 64"
    return Result(name, times[0], peer, f"faiss.knn, {TIMED:,} rows timed, scaled", note)


def recall(z: torch.Tensor, rows: torch.Tensor) -> float:
    """Share of the nearest others of the first points that are among those found, (TIMED, K); at least 0.94."""
    nearest, distance = ((z[some] - z[:TIMED, None]).double().norm(dim=-1) for some in (exact(z), rows))
    share = float((distance <= nearest.amax(1, keepdim=True) * (1 + 1e-6)).double().mean())
    assert share >= 0.94, f"recall {share:.3f}"
    return share


def world(size: int) -> torch.Tensor:
    """Embeddings (N, 64) float32, 40 to a cluster."""
    generator = np.random.default_rng(0)
    centers = generator.standard_normal((size // 40 + 1, 64), dtype=np.float32)
    x = centers[np.arange(size) // 40] + 0.5 * generator.standard_normal((size, 64), dtype=np.float32)
    return torch.from_numpy(generator.permutation(x))


def exact(z: torch.Tensor) -> torch.Tensor:
    """Rows (TIMED, K) of the nearest others of the first points, by exhaustive search in float32."""
    rows = faiss.knn(z[:TIMED].numpy(), z.numpy(), NEIGHBORS + 1)[1]
    return torch.from_numpy(rows[:, 1:])  # the nearest is the point itself
