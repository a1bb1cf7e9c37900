"""Class histogram, entropy and U_fw of a prediction in one pass, beside the plain pipeline and beside a copy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

import torch
from torch import Tensor

from al_lightning.acquisition.functional import VoxelStatistics, voxel_statistics
from benchmarks.harness import Result, interleaved, peak_bytes

CLASSES = 18
EPS = 1e-6
SAMPLES = 5  # more than a cache holds; odd, so that both ways take each of them


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
    """One sample of each dtype and memory layout, on the GPU where there is one."""
    grid = (200, 200, 16) if full else (50, 50, 16)
    device, where = ("cuda", f", {torch.cuda.get_device_name()}") if torch.cuda.is_available() else ("cpu", "")
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        class_first = (3 * torch.randn(1, CLASSES, *grid, generator=torch.Generator().manual_seed(0))).to(device, dtype)
        class_last = class_first.movedim(1, -1).contiguous().movedim(-1, 1)
        for layout, logits in (("(B, K, X, Y, Z)", class_first), ("(B, X, Y, Z, K)", class_last)):
            results += _compare(f"{str(dtype)[6:]} {layout} of {' x '.join(map(str, grid))} x {CLASSES}{where}", logits)
    return results


def _compare(name: str, logits: Tensor) -> list[Result]:
    torch.testing.assert_close(tuple(voxel_statistics(logits)), tuple(plain_statistics(logits)), rtol=1e-5, atol=1e-6)
    peak = _peak_bytes(lambda: voxel_statistics(logits), logits) / (logits.numel() * logits.element_size())
    ours, plain = _interleaved(lambda: voxel_statistics(logits), lambda: plain_statistics(logits), logits, rounds=5)
    # A GPU copies a sample in less time than it takes to ask for it. On a CPU each call takes another sample, and each
    # copy another target: one alone would stay in a cache and not be read from memory.
    batches = [torch.cat([logits] * 8)] if logits.is_cuda else [logits.clone() for _ in range(SAMPLES)]
    sources, targets = cycle(batches), cycle([torch.empty_like(batch) for batch in batches])
    beside, copy = _interleaved(
        lambda: voxel_statistics(next(sources)), lambda: next(targets).copy_(next(sources)), logits, rounds=25
    )
    count = len(batches[0])
    return [
        Result(name, ours, plain, "softmax, log, bincount", f"peak memory {peak:.1%} of the logits"),
        Result(name, beside, copy, "a copy from memory to memory", f"{count} samples" if count > 1 else ""),
    ]


def _interleaved(
    ours: Callable[[], object], peer: Callable[[], object], logits: Tensor, rounds: int
) -> tuple[float, float]:
    """Median seconds of both until the device of the logits is done."""
    if not logits.is_cuda:
        return interleaved(ours, peer, rounds)
    return interleaved(lambda: (ours(), torch.cuda.synchronize()), lambda: (peer(), torch.cuda.synchronize()), rounds)


def _peak_bytes(call: Callable[[], object], logits: Tensor) -> int:
    """Most memory during one call, of the process or of the GPU that holds the logits."""
    if not logits.is_cuda:
        return peak_bytes(call)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return torch.cuda.max_memory_allocated() - before
