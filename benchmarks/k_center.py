"""Greedy k-center: lazily blocked, exact, against a NumPy loop of matrix-vector products."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from al_lightning.acquisition import Acquisition, Identity, KCenter, WeightedSum
from al_lightning.types import Summary
from benchmarks.harness import Result, interleaved, peak_bytes, seconds

# The loop is timed on this share of the picks.
SHARE = 20
# Picks in which the loop, with all labeled, must agree.
PREFIX = 20


def run(full: bool) -> list[Result]:
    """Independent and clustered embeddings; with ``full``, a million too."""
    size, budget = (100_000, 2_000) if full else (30_000, 400)
    results = []
    for kind in ("independent", "clustered"):
        pool, labeled = world(size, kind)
        check(select(pool, labeled, budget), pool, labeled)
        ours, peer = interleaved(
            functools.partial(select, pool, labeled, budget),
            functools.partial(loop, pool.numpy(), labeled[: 100 // SHARE].numpy(), budget // SHARE),
            rounds=3,
        )
        name = f"k-center, {budget:,} of {size:,} x 128, {kind}"
        results.append(Result(name, ours, peer * SHARE, f"NumPy float32, 1/{SHARE} timed, times {SHARE}"))
    results += [against(name, PEERS[name]) for name in PEERS if installed(name)]
    return results + ([million(kind) for kind in ("independent", "clustered")] if full else [])


def select(pool: torch.Tensor, labeled: torch.Tensor, budget: int) -> list[int]:
    """Ours, as `acquisition=coreset` does it, with the scores of all candidates."""
    acquisition = Acquisition({"coreset": KCenter()}, normalizer=Identity(), combiner=WeightedSum())
    candidates, known = (Summary(torch.arange(len(z)), {"embedding": z}) for z in (pool, labeled))
    return acquisition.select(candidates, known, budget, torch.Generator()).units.tolist()


def check(picks: list[int], pool: torch.Tensor, labeled: torch.Tensor) -> None:
    """Hold the first picks equal to those of the loop."""
    assert picks[:PREFIX] == loop(pool.numpy(), labeled.numpy(), PREFIX), "the loop picks others"


def installed(library: str) -> bool:
    """Whether a library to compare with can be imported; said where it cannot."""
    if importlib.util.find_spec(library) is None:
        print(f"k_center: {library} is not installed, no comparison with it")
        return False
    return True


def against(library: str, other: Callable[[torch.Tensor, torch.Tensor, int], list[int]]) -> Result:
    """The greedy k-center of a library, on as many candidates and picks as it does in seconds."""
    (pool, labeled), budget = world(20_000, "independent"), 200
    assert select(pool, labeled, budget) == other(pool, labeled, budget), f"{library} picks others"
    ours, peer = interleaved(lambda: select(pool, labeled, budget), lambda: other(pool, labeled, budget), rounds=3)
    return Result(f"k-center, {budget} of {len(pool):,} x 128, independent", ours, peer, library)


def scikit_activeml(pool: torch.Tensor, labeled: torch.Tensor, budget: int) -> list[int]:
    """`skactiveml.pool.CoreSet`."""
    from skactiveml.pool import CoreSet

    X = torch.cat([labeled, pool]).double().numpy()
    y = np.full(len(X), np.nan)
    y[: len(labeled)] = 0
    picks = CoreSet(random_state=0).query(X, y, batch_size=budget)
    return [int(pick) - len(labeled) for pick in picks]


def bmdal(pool: torch.Tensor, labeled: torch.Tensor, budget: int) -> list[int]:
    """`MaxDistSelectionMethod` of bmdal_reg, in float32 as ours."""
    from bmdal_reg.bmdal.feature_data import TensorFeatureData
    from bmdal_reg.bmdal.feature_maps import IdentityFeatureMap
    from bmdal_reg.bmdal.features import Features
    from bmdal_reg.bmdal.selection import MaxDistSelectionMethod

    features = [Features(IdentityFeatureMap(x.shape[1]), TensorFeatureData(x)) for x in (pool, labeled)]
    return [int(pick) for pick in MaxDistSelectionMethod(*features, verbosity=0).select(budget)]


PEERS = {"skactiveml": scikit_activeml, "bmdal_reg": bmdal}


def million(kind: str) -> Result:
    """2,000 of 1,000,000; the loop on 1/100 of centers and picks."""
    pool, labeled = world(1_000_000, kind)
    found: list[list[int]] = []
    memory = peak_bytes(lambda: found.append(select(pool, labeled, 2_000)))
    check(found[0], pool, labeled)
    peer = seconds(lambda: loop(pool.numpy(), labeled[:1].numpy(), 20))
    name, note = f"k-center, 2,000 of 1,000,000 x 128, {kind}", f"{memory / 2**30:.2f} GiB extra"
    return Result(
        name, seconds(lambda: select(pool, labeled, 2_000)), 100 * peer, "NumPy float32, 1/100 timed, times 100", note
    )


def world(size: int, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Candidates and 100 labeled, (N, 128) float32: normal, or 40 to a cluster."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((size + 100, 128), dtype=np.float32)
    if kind == "clustered":
        centers = generator.standard_normal((len(x) // 40 + 1, 128), dtype=np.float32)
        x = generator.permutation(centers[np.arange(len(x)) // 40] + 0.3 * x)
    return torch.from_numpy(x[:size]), torch.from_numpy(x[size:])


def loop(pool: NDArray[np.float32], labeled: NDArray[np.float32], budget: int) -> list[int]:
    """|a|^2 + |b|^2 - 2 a.b in float32 to one center after the other, and the farthest."""
    square = np.einsum("nd,nd->n", pool, pool)
    nearest = np.full(len(pool), np.inf, np.float32)
    for center in labeled:
        nearest = np.minimum(nearest, square + center @ center - 2 * (pool @ center))
    picks: list[int] = []
    while len(picks) < budget:
        picks.append(int(nearest.argmax()))
        center = pool[picks[-1]]
        nearest = np.minimum(nearest, square + center @ center - 2 * (pool @ center))
        nearest[picks[-1]] = -np.inf
    return picks
