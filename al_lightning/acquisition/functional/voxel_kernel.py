"""Class counts and surprisal of voxels as machine code: one pass over the memory of the logits.

Shape letters: K classes, V voxels, n voxels of a block.

The classes of a block of voxels are brought into the processor's first cache as float32 (K, n), whatever the layout of
the logits; from there on every loop runs along the voxels and becomes vector instructions. The compiler knows how many:
the last voxel fills up a block that has fewer. Exponential and logarithm have neither branches nor calls and are at
most 2e-7 off, relatively; the logarithm is that of the Cephes library.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.acquisition.functional.register_kernel import TILE, prefetch, transpose_tile
from al_lightning.compiled import compiled, in_parallel

BITS = {torch.float32: (torch.int32, np.uint32), torch.bfloat16: (torch.int16, np.uint16)}
"""dtypes that the kernel reads, with integers of their size; a bfloat16 is the upper half of a float32."""

CHUNK = 2**15  # voxels whose sums are found together: fixed, so that sums do not depend on the number of threads
BLOCK = 256  # voxels: 18 classes of them and their exponentials fill 36 KiB
LINE = 64  # bytes of a line of the cache
LANES = 4  # separate counts, so that a voxel need not wait for the count of the one before

f32, i32, u32, u64 = np.float32, np.int32, np.uint32, np.uint64


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
    memory = (logits.t() if class_last else logits).contiguous()
    bits = memory.view(integer).numpy().view(unsigned).reshape(-1)
    K, V = logits.shape
    kept = np.ones(V, dtype=bool) if mask is None else mask.numpy()
    starts = range(0, V, CHUNK)
    counts, surprisal = np.zeros((len(starts), K), dtype=np.int64), np.zeros((len(starts), K))
    chunks = zip(starts, counts, surprisal, strict=True)
    in_parallel(lambda chunk: _chunk(bits, class_last, kept, *chunk), chunks)
    return torch.from_numpy(counts.sum(0)), torch.from_numpy(surprisal.sum(0))


@compiled()
def _chunk(
    bits: NDArray[Any],
    class_last: bool,
    kept: NDArray[np.bool_],
    start: int,
    counts: NDArray[np.int64],
    surprisal: NDArray[np.float64],
) -> None:
    """Add to counts (K,) and surprisal (K,) what the voxels of a chunk hold."""
    K = len(counts)
    x, e, rest = _rows(K), _rows(K), _rows(4)
    top, total, log_total, best = rest[0], rest[1], rest[2], rest[3].view(np.int32)
    voxels = np.empty(BLOCK, np.uint64)
    lanes = np.zeros((LANES, K), np.int64)
    voxel, stop = start, min(start + CHUNK, len(kept))
    while voxel < stop:
        n, voxel = _next_voxels(kept, voxel, stop, voxels)
        if n == 0:
            break
        _gather(bits, class_last, voxels, n, len(kept), x.view(np.uint32))
        after, apart = (voxel * K, BLOCK) if class_last else (voxel, len(kept))  # in the next block
        _largest(x, top)
        _exponentials(x, top, e, total, best, bits, after, apart)
        _logarithms(n, total, log_total)
        _add_surprisal(x, top, e, total, log_total, surprisal)
        for i in range(n):
            lanes[u64(i) % u64(LANES), u64(best[i])] += 1
    counts += lanes.sum(0)


@compiled()
def _rows(count: int) -> NDArray[np.float32]:
    """(count, BLOCK) that begins with a line of the cache."""
    memory = np.empty(count * BLOCK + LINE // 4, np.float32)
    start = -memory.ctypes.data % LINE // 4
    return memory[start : start + count * BLOCK].reshape(count, BLOCK)


@compiled()
def _next_voxels(kept: NDArray[np.bool_], voxel: int, stop: int, voxels: NDArray[np.uint64]) -> tuple[int, int]:
    """Fill in the next voxels that count, the last one repeated; return how many there are, and where to go on."""
    run = voxel + BLOCK <= stop
    if run:
        for i in range(BLOCK):
            run &= kept[u64(voxel) + u64(i)]
    if run:
        for i in range(BLOCK):
            voxels[i] = voxel + i
        return BLOCK, voxel + BLOCK
    n = 0
    while n < BLOCK and voxel < stop:
        voxels[n] = voxel
        n += kept[u64(voxel)]
        voxel += 1
    if n > 0:
        voxels[n:] = voxels[n - 1]
    return n, voxel


@compiled()
def _gather(
    bits: NDArray[Any], class_last: bool, voxels: NDArray[np.uint64], n: int, V: int, raw: NDArray[np.uint32]
) -> None:
    """Logits of the voxels as float32 bits (K, n); of voxels side by side with vector instructions."""
    K, first = len(raw), voxels[0]
    scale = u32(1) if bits.itemsize == 4 else u32(2**16)
    if class_last:
        tiled = K - K % TILE
        for c in range(0, tiled, TILE):
            for i in range(0, BLOCK, TILE):
                transpose_tile(bits, K, voxels, raw, c, i)
        for c in range(tiled, K):
            for i in range(BLOCK):
                raw[c, i] = u32(bits[voxels[i] * u64(K) + u64(c)]) * scale
    elif n == BLOCK and voxels[n - 1] - first == n - 1:
        for c in range(K):
            for i in range(BLOCK):
                raw[c, i] = u32(bits[u64(c * V) + first + u64(i)]) * scale
    else:
        for c in range(K):
            for i in range(BLOCK):
                raw[c, i] = u32(bits[u64(c * V) + voxels[i]]) * scale


@compiled()
def _largest(x: NDArray[np.float32], top: NDArray[np.float32]) -> None:
    """The largest logit of each voxel."""
    for i in range(BLOCK):
        top[i] = x[0, i]
    for c in range(1, x.shape[0]):
        for i in range(BLOCK):
            top[i] = max(top[i], x[c, i])


@compiled()
def _exponentials(
    x: NDArray[np.float32],
    top: NDArray[np.float32],
    e: NDArray[np.float32],
    total: NDArray[np.float32],
    best: NDArray[np.int32],
    bits: NDArray[Any],
    after: int,
    apart: int,
) -> None:
    """Find e = exp(x - top), its total over the classes, and the first class that has the largest logit.

    Meanwhile the next block is fetched, whose places the processor does not foresee: BLOCK numbers a class, `apart`
    from one class to the next, from `after` on. All at once would have to wait; what lies beyond the end does no harm.
    """
    last = i32(len(x) - 1)
    for i in range(BLOCK):
        total[i], best[i] = 0, last
    for c in range(x.shape[0]):
        for place in range(after + c * apart, after + c * apart + BLOCK, LINE // bits.itemsize):
            prefetch(bits, place)
        for i in range(BLOCK):
            below = x[c, i] - top[i]
            e[c, i] = _exp(below)
            total[i] += e[c, i]
            best[i] = min(best[i], i32(c) if below == f32(0) else last)


@compiled()
def _logarithms(n: int, total: NDArray[np.float32], log_total: NDArray[np.float32]) -> None:
    """Logarithm of the total, and its inverse in place: 0 for what is no voxel of its own."""
    for i in range(BLOCK):
        log_total[i] = _log(total[i])
        total[i] = f32(1) / total[i]
    total[n:] = 0


@compiled("contract", "nsz", "reassoc", inline=True)
def _add_surprisal(
    x: NDArray[np.float32],
    top: NDArray[np.float32],
    e: NDArray[np.float32],
    inverse: NDArray[np.float32],
    log_total: NDArray[np.float32],
    surprisal: NDArray[np.float64],
) -> None:
    """-p log p with p = e / total, for every class."""
    for c in range(x.shape[0]):
        block = f32(0)
        for i in range(BLOCK):
            block += e[c, i] * inverse[i] * _minus_log_p(x[c, i], top[i], log_total[i])
        surprisal[c] += block


@compiled()
def _minus_log_p(x: np.float32, top: np.float32, log_total: np.float32) -> np.float32:
    """Large logits cancel out first: a function of its own, so that this is not rearranged."""
    return log_total - (x - top)


@compiled("contract", "nsz")
def _exp(x: np.float32) -> np.float32:
    """exp(x) for x <= 0; 0 below -87, where float32 comes to its end.

    2^n exp(r) with |r| <= log(2) / 2; log(2) is subtracted in two parts, the first of which has few digits. The lowest
    bits of n + 1.5 * 2^23 are those of n; the polynomial is the best of its degree, given its first two terms.
    """
    shifted = x * f32(1.44269504) + f32(1.5 * 2**23)
    n = shifted - f32(1.5 * 2**23)
    r = (x - n * f32(0.693359375)) + n * f32(2.12194440e-4)
    y = f32(1.3814553746e-3)
    y = y * r + f32(8.3687452141e-3)
    y = y * r + f32(4.1668390297e-2)
    y = y * r + f32(1.6666520397e-1)
    y = y * r + f32(4.9999993435e-1)
    y = y * r + f32(1)
    y = y * r + f32(1)
    power = i32(f32(y).view(np.int32) + i32(f32(shifted).view(np.int32) << i32(23)))
    return i32(power if x >= f32(-87) else i32(0)).view(np.float32)


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
