"""Class-distribution guided selection: divergences pruned by Hellinger bounds against a NumPy transcription."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from al_lightning.acquisition import (
    Acquisition,
    Criterion,
    FrequencyWeightedUncertainty,
    InterSampleDiversity,
    IntraSetDiversity,
    L2Norm,
    RobustMinMax,
    Selection,
)
from al_lightning.acquisition.functional import (
    ApproximatePickedDivergence,
    PickedDivergence,
    approximate_nearest_divergence,
    nearest_divergence,
)
from al_lightning.types import Summary
from benchmarks.harness import Result, interleaved, peak_bytes, seconds

Doubles: TypeAlias = NDArray[np.float64]
Floats: TypeAlias = NDArray[np.float32] | Doubles

# The transcription is timed on this share of the labeled set and of the picks.
SHARE = 20
# Candidates whose D_inter, and picks in which the transcription must agree.
CHECKED, PREFIX = 1_000, 20
# Pairs of each histogram that the index retrieves.
RETRIEVED = 32


def run(full: bool) -> list[Result]:
    """The published cycle against the transcription; with ``full``, a pool of a million too."""
    size, labeled, budget = (24_000, 2_000, 2_000) if full else (6_000, 400, 400)
    pool, known, uncertainty = world(size, labeled)
    check(select(pool, known, uncertainty, budget), pool, known, uncertainty)
    ours, peer = interleaved(
        lambda: select(pool, known, uncertainty, budget),
        lambda: transcription(pool, known[: labeled // SHARE], uncertainty, budget // SHARE),
        rounds=3,
    )
    name = f"CAS, {budget:,} of {size:,} x 18, {labeled:,} labeled"
    results = [Result(name, ours, peer * SHARE, f"NumPy float64, 1/{SHARE} timed, times {SHARE}")]
    results.append(approximation(pool, known, budget // SHARE))
    if full:
        results.append(million())
    return results


def approximation(pool: Doubles, known: Doubles, picks: int) -> Result:
    """The paper's way, 32 pairs retrieved by an index, beside ours: seconds, and the share of right values."""
    p, q = torch.from_numpy(pool), torch.from_numpy(known)
    exact, found = nearest_divergence(p, q), approximate_nearest_divergence(p, q, RETRIEVED)
    assert bool((found >= exact).all()), "the index finds nearer ones"
    ours, peer = interleaved(
        lambda: nearest_divergence(p, q), lambda: approximate_nearest_divergence(p, q, RETRIEVED), rounds=3
    )
    pruned, retrieved = PickedDivergence(p), ApproximatePickedDivergence(p, RETRIEVED)
    for position in range(picks):
        intra, approximate = pruned.add(position), retrieved.add(position)
    recall = (float((one == other).double().mean()) for one, other in ((exact, found), (intra, approximate)))
    return Result(
        f"D_inter of {len(p):,} to {len(q):,}, all exact",
        ours,
        peer,
        f"index, {RETRIEVED} retrieved",
        f"right with the index: D_inter {next(recall):.3f}, D_intra after {picks} picks {next(recall):.3f}",
    )


def million() -> Result:
    """2,000 of 1,000,000 with 10,000 labeled; the transcription on 1/20 of the pool, 1/1000 of centers and picks."""
    pool, known, uncertainty = world(1_000_000, 10_000)
    found: list[Selection] = []
    memory = peak_bytes(lambda: found.append(select(pool, known, uncertainty, 2_000)))
    check(found.pop(), pool, known, uncertainty)
    rows = len(pool) // SHARE
    peer = seconds(lambda: transcription(pool[:rows], known[:10], uncertainty[:rows], 2))
    return Result(
        "CAS, 2,000 of 1,000,000 x 18, 10,000 labeled",
        seconds(lambda: select(pool, known, uncertainty, 2_000)),
        peer * SHARE * 1000,
        "NumPy float64, 1/20 of the pool and 1/1000 of labeled and picks timed, scaled",
        f"{memory / 2**30:.2f} GiB extra",
    )


def world(size: int, labeled: int) -> tuple[Doubles, Doubles, Doubles]:
    """Histograms of drives: 40 keyframes a scene, which resemble each other; most classes rare."""
    generator = np.random.default_rng(0)
    scenes = generator.dirichlet(np.full(18, 0.2), (size + labeled) // 40 + 1)
    frames = generator.gamma(np.repeat(50 * scenes, 40, axis=0) + 1e-3) + 1e-12
    frames = generator.permutation(frames / frames.sum(1, keepdims=True))[: size + labeled]
    return frames[:size], frames[size:], generator.gamma(2.0, size=size)


def select(pool: Floats, labeled: Floats, uncertainty: Doubles, budget: int) -> Selection:
    """Ours, from NumPy arrays, as `acquisition=cas` does it, with the scores of all candidates."""
    criteria: dict[str, Criterion] = {
        "inter": InterSampleDiversity(), "intra": IntraSetDiversity(), "uncertainty": FrequencyWeightedUncertainty()
    }  # fmt: skip
    acquisition = Acquisition(criteria, normalizer=RobustMinMax(), combiner=L2Norm())
    fields = {"class_histogram": pool, "frequency_weighted_entropy": uncertainty}
    candidates, known = (
        Summary(torch.arange(len(pool)), {name: torch.from_numpy(values) for name, values in fields.items()}),
        Summary(torch.arange(len(labeled)), {"class_histogram": torch.from_numpy(labeled)}),
    )
    return acquisition.select(candidates, known, budget, torch.Generator())


def check(selection: Selection, pool: Doubles, labeled: Doubles, uncertainty: Doubles) -> None:
    """Hold D_inter of some candidates, and with it the first picks, equal to those of the transcription."""
    found = selection.scores["inter"].numpy()
    np.testing.assert_allclose(found[:CHECKED], nearest(pool[:CHECKED], labeled), rtol=1e-9, atol=1e-12)
    expected = greedy(pool, found, uncertainty, PREFIX)
    assert selection.units[:PREFIX].tolist() == expected, "the transcription picks others"


def transcription(pool: Doubles, labeled: Doubles, uncertainty: Doubles, budget: int) -> list[int]:
    """Eq. 2, 3, 7 and 8 in vectorized NumPy, one vector operation over the pool after the other."""
    return greedy(pool, nearest(pool, labeled), uncertainty, budget)


def nearest(pool: Doubles, labeled: Doubles) -> Doubles:
    """D_inter (N,)."""
    own = entropy(pool)
    inter = np.full(len(pool), np.inf)
    for other in labeled:
        inter = np.minimum(inter, divergence(pool, own, other))
    return inter


def greedy(pool: Doubles, inter: Doubles, uncertainty: Doubles, budget: int) -> list[int]:
    """Picks by CAS, D_inter and U_fw (N,) given."""
    own = entropy(pool)
    static = min_max(inter) ** 2 + min_max(uncertainty) ** 2
    intra, picks = np.full(len(pool), np.inf), [int(np.argmax(static))]
    remaining = np.ones(len(pool), dtype=bool)
    while len(picks) < budget:
        remaining[picks[-1]] = False
        intra = np.minimum(intra, divergence(pool, own, pool[picks[-1]]))
        low, high = intra[remaining].min(), intra[remaining].max()
        score = np.sqrt(static + ((intra - low) / (high - low)) ** 2)
        picks.append(int(np.argmax(np.where(remaining, score, -1.0))))
    return picks


def divergence(p: Doubles, p_entropy: Doubles, q: Doubles) -> Doubles:
    """Jensen-Shannon divergence in bits of (N, K) and (K,)."""
    return np.maximum(entropy((p + q) / 2) - (p_entropy + entropy(q)) / 2, 0)


def entropy(p: Doubles) -> Doubles:
    """Bits, (..., K) -> (...); no class is empty."""
    return -(p * np.log2(p)).sum(-1)


def min_max(scores: Doubles) -> Doubles:
    """To [0, 1]."""
    return (scores - scores.min()) / (scores.max() - scores.min())
