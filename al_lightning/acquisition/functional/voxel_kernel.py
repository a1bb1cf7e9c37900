"""Class counts and surprisal of voxels as machine code: one pass over the memory of the logits.

Shape letters: K classes, V voxels, n voxels of a block.

The classes of a block of voxels are brought into the processor's first cache as float32 (K, n), whatever the layout of
the logits; from there on every loop runs along the voxels and becomes vector instructions. That needs an exponential
and a logarithm without branches or calls: those of the Cephes library in float32, at most 2e-7 off, relatively.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.acquisition.compiled import compiled

BITS = {torch.float32: (torch.int32, np.uint32), torch.bfloat16: (torch.int16, np.uint16)}
"""dtypes that the kernel reads, with integers of their size; a bfloat16 is the upper half of a float32."""

CHUNK = 2**14  # voxels whose sums are found together: fixed, so that sums do not depend on the number of threads
BLOCK = 256  # voxels: 18 classes of them and their exponentials fill 36 KiB

f32, i32 = np.float32, np.int32


def class_sums(logits: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Count the voxels of each class, and sum up the surprisal -p log p of each class.

    Args:
        logits: (K, V) float32 or bfloat16 on the CPU; contiguous or the transpose of a contiguous (V, K) to be fast.
        mask: (V,) bool, the voxels that count; None for all.

    Returns:
        counts (K,) int64 of the voxels whose most probable class it is, the lowest of equals; surprisal (K,) float64 in
        nats, NaN where a logit of a counted voxel is not finite or exceeds another by more than float32 can hold.
    """
    integer, unsigned = BITS[logits.dtype]
    class_last = not logits.is_contiguous()
    memory = logits.t() if class_last else logits
    bits = memory.view(integer).numpy().view(unsigned)
    bits = bits.T if class_last else bits
    K, V = logits.shape
    kept = np.ones(V, dtype=bool) if mask is None else mask.numpy()
    starts = range(0, V, CHUNK)
    counts, surprisal = np.zeros((len(starts), K), dtype=np.int64), np.zeros((len(starts), K))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(partial(_chunk, bits, 32 - 8 * bits.itemsize, kept), starts, counts, surprisal))
    return torch.from_numpy(counts.sum(0)), torch.from_numpy(surprisal.sum(0))


@compiled()
def _chunk(
    bits: NDArray[Any], shift: int, kept: NDArray[np.bool_], start: int, counts: NDArray[Any], surprisal: NDArray[Any]
) -> None:
    """Add to counts (K,) and surprisal (K,) what the voxels of a chunk hold."""
    K, V = bits.shape
    raw = np.empty((K, BLOCK), np.uint32)
    x, e = raw.view(np.float32), np.empty((K, BLOCK), np.float32)
    top, total, log_total = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    best, voxels = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.uint64)
    voxel, stop = start, min(start + CHUNK, V)
    while voxel < stop:
        n = 0
        while n < BLOCK and voxel < stop:
            voxels[n] = voxel
            n += kept[voxel]
            voxel += 1
        if n == 0:
            return
        _gather(bits, shift, voxels, n, raw)
        _largest(x, n, top, best)
        _exponentials(x, n, top, e, total)
        _logarithms(n, total, log_total)
        _add_surprisal(x, n, e, total, log_total, surprisal)
        for i in range(n):
            counts[best[i]] += 1


@compiled()
def _gather(bits: NDArray[Any], shift: int, voxels: NDArray[np.uint64], n: int, raw: NDArray[np.uint32]) -> None:
    """Logits of the voxels as float32 bits (K, n); of voxels side by side with vector instructions."""
    first = voxels[0]
    side_by_side = voxels[n - 1] - first == n - 1
    for c in range(bits.shape[0]):
        if side_by_side:
            for i in range(n):
                raw[c, i] = np.uint32(bits[c, first + np.uint64(i)]) << np.uint32(shift)
        else:
            for i in range(n):
                raw[c, i] = np.uint32(bits[c, voxels[i]]) << np.uint32(shift)


@compiled()
def _largest(x: NDArray[np.float32], n: int, top: NDArray[np.float32], best: NDArray[np.int32]) -> None:
    """The largest logit of each voxel, and the first class that has it."""
    top[:n], best[:n] = x[0, :n], 0
    for c in range(1, x.shape[0]):
        for i in range(n):
            larger = x[c, i] > top[i]
            top[i] = x[c, i] if larger else top[i]
            best[i] = i32(c) if larger else best[i]


@compiled()
def _exponentials(
    x: NDArray[np.float32], n: int, top: NDArray[np.float32], e: NDArray[np.float32], total: NDArray[np.float32]
) -> None:
    """Subtract the largest logit from x; e = exp(x), and its total over the classes."""
    total[:n] = 0
    for c in range(x.shape[0]):
        for i in range(n):
            x[c, i] -= top[i]
            e[c, i] = _exp(x[c, i])
            total[i] += e[c, i]


@compiled()
def _logarithms(n: int, total: NDArray[np.float32], log_total: NDArray[np.float32]) -> None:
    for i in range(n):
        log_total[i] = _log(total[i])


@compiled("contract", "nsz", "reassoc")
def _add_surprisal(
    x: NDArray[np.float32],
    n: int,
    e: NDArray[np.float32],
    total: NDArray[np.float32],
    log_total: NDArray[np.float32],
    surprisal: NDArray[np.float64],
) -> None:
    """-p log p = e / total * (log total - x), for every class; ``total`` is inverted in place."""
    total[:n] = 1 / total[:n]
    for c in range(x.shape[0]):
        block = f32(0)
        for i in range(n):
            block += e[c, i] * total[i] * (log_total[i] - x[c, i])
        surprisal[c] += block


@compiled("contract", "nsz")
def _exp(x: np.float32) -> np.float32:
    """exp(x) for x <= 0; 0 below -87, where float32 comes to its end.

    2^n exp(r) with |r| <= log(2) / 2; log(2) is subtracted in two parts, the first of which has few digits.
    """
    n = i32(x * f32(1.44269504) - f32(0.5))
    r = (x - f32(n) * f32(0.693359375)) + f32(n) * f32(2.12194440e-4)
    y = f32(1.9875691500e-4)
    y = y * r + f32(1.3981999507e-3)
    y = y * r + f32(8.3334519073e-3)
    y = y * r + f32(4.1665795894e-2)
    y = y * r + f32(1.6666665459e-1)
    y = y * r + f32(5.0000001201e-1)
    y = y * (r * r) + r + f32(1)
    power = i32((n + i32(127)) << i32(23)).view(np.float32)
    return y * power if x >= f32(-87) else f32(0)


@compiled("contract", "nsz")
def _log(x: np.float32) -> np.float32:
    """log(x) for normal x > 0: n log(2) + log(1 + f) with 1 + f between the roots of 1/2 and of 2."""
    bits = f32(x).view(np.int32)
    n = i32((bits - i32(0x3F3504F3)) >> i32(23))  # the bits of the root of 1/2
    f = i32(bits - (n << i32(23))).view(np.float32) - f32(1)
    y = f32(7.0376836292e-2)
    y = y * f - f32(1.1514610310e-1)
    y = y * f + f32(1.1676998740e-1)
    y = y * f - f32(1.2420140846e-1)
    y = y * f + f32(1.4249322787e-1)
    y = y * f - f32(1.6668057665e-1)
    y = y * f + f32(2.0000714765e-1)
    y = y * f - f32(2.4999993993e-1)
    y = y * f + f32(3.3333331174e-1)
    y = y * f * (f * f) - f32(n) * f32(2.12194440e-4) - f32(0.5) * (f * f)
    return f + y + f32(n) * f32(0.693359375)
