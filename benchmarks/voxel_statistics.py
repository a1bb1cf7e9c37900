"""Class histogram, entropy and U_fw of a prediction in one pass, beside the plain pipeline and beside a copy."""

from __future__ import annotations

import torch
from torch import Tensor

from al_lightning.acquisition.functional import VoxelStatistics, voxel_statistics
from benchmarks.harness import Result, interleaved, peak_bytes

CLASSES = 18
EPS = 1e-6


def plain_statistics(logits: Tensor) -> VoxelStatistics:
    """The usual way, for a batch of one (1, K, *grid): the probabilities of all voxels, then what follows from them.

    Of `max` and `argmax`, which find the same, the one is taken that is several times faster along this axis.
    """
    p = logits.float().flatten(2).softmax(1)
    counts = torch.bincount(p.max(1).indices[0], minlength=logits.shape[1])
    histogram = (counts / counts.sum())[None]
    weights = 1 / (histogram + EPS)
    weights = weights / weights.sum(1, keepdim=True)
    terms = -p * (p + 1e-12).log()
    return VoxelStatistics(histogram, terms.sum(1).mean(1), (weights[..., None] * terms).sum(1).mean(1))


def run(full: bool) -> list[Result]:
    """One sample of each dtype and memory layout."""
    grid = (200, 200, 16) if full else (50, 50, 16)
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        class_first = (3 * torch.randn(1, CLASSES, *grid, generator=torch.Generator().manual_seed(0))).to(dtype)
        class_last = class_first.movedim(1, -1).contiguous().movedim(-1, 1)
        for layout, logits in (("(B, K, X, Y, Z)", class_first), ("(B, X, Y, Z, K)", class_last)):
            results += _compare(f"{str(dtype)[6:]} {layout} of {' x '.join(map(str, grid))} x {CLASSES}", logits)
    return results


def _compare(name: str, logits: Tensor) -> list[Result]:
    torch.testing.assert_close(tuple(voxel_statistics(logits)), tuple(plain_statistics(logits)), rtol=1e-5, atol=1e-6)
    peak = peak_bytes(lambda: voxel_statistics(logits)) / (logits.numel() * logits.element_size())
    ours, plain = interleaved(lambda: voxel_statistics(logits), lambda: plain_statistics(logits))
    target = torch.empty_like(logits)
    beside, copy = interleaved(lambda: voxel_statistics(logits), lambda: target.copy_(logits), rounds=25)
    return [
        Result(name, ours, plain, "softmax, log, bincount", f"peak memory {peak:.1%} of the logits"),
        Result(name, beside, copy, "a copy of the logits"),
    ]
