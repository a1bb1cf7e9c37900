"""Rarity: 20 nearest neighbours by an index with measured recall, against the exhaustive search of the same library."""

from __future__ import annotations

import faiss
import numpy as np
import torch

from al_lightning.acquisition.functional import nearest_neighbors, rarity
from benchmarks.harness import Result, interleaved, peak_bytes, seconds

NEIGHBORS = 20
# The exhaustive search is timed on this many points.
TIMED = 2_000


def run(full: bool) -> list[Result]:
    """An index of 20,000 against exhaustive search; with ``full``, of 100,000 and 1,000,000."""
    results = []
    for size in (100_000, 1_000_000) if full else (20_000,):
        z = world(size)
        found = nearest_neighbors(z, NEIGHBORS, exact_up_to=0)
        reach = (z[exact(z)] - z[:TIMED, None]).double().norm(dim=-1).amax(1, keepdim=True)
        recall = float((found.distance[:TIMED] <= reach * (1 + 1e-6)).double().mean())
        assert recall >= 0.94, f"recall {recall:.3f}"
        if size < 1_000_000:
            ours, peer = interleaved(lambda z=z: rarity(z, NEIGHBORS, exact_up_to=0), lambda z=z: exact(z), rounds=3)
            note = f"recall {recall:.3f}"
        else:
            ours, peer = seconds(lambda z=z: rarity(z, NEIGHBORS)), seconds(lambda z=z: exact(z))
            note = f"recall {recall:.3f}, {peak_bytes(lambda z=z: rarity(z, NEIGHBORS)) / 2**30:.2f} GiB extra"
        name = f"rarity of {size:,} x 64, K = {NEIGHBORS}"
        results.append(Result(name, ours, peer * size / TIMED, f"faiss.knn, {TIMED:,} rows timed, scaled", note))
    return results


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
