"""Attention as machine code: the scores of a few queries and keys are used while the cache holds them.

Vectors run along queries. The softmax is taken online, as in FlashAttention (arXiv 2205.14135).

Shape letters: B samples, Q queries, S keys, C = h * d channels, h heads.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.compiled import compiled, in_parallel

QUERIES, KEYS = 64, 128  # of a tile, whose scores take 32 KiB
STEP = 8  # terms that are added to a sum at a time
f32, u32, u64 = np.float32, np.uint32, np.uint64
LOG2_E = f32(1 / math.log(2))
LN_2_HIGH = f32(0.693359375)  # of few bits: small whole numbers of it are exact
LN_2_LOW = f32(math.log(2) - 0.693359375)
ROUND = f32(1.5 * 2**23)  # added to a small number, the last bits are the nearest whole number


def suits(keys: Tensor, heads: int) -> bool:
    """Whether `attend` takes keys (B, S, C)."""
    return keys.shape[1] % STEP == 0 and keys.shape[2] % (STEP * heads) == 0


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """`F.scaled_dot_product_attention` of tensors that are `fused`, with heads side by side.

    Args:
        q: (B, Q, C).
        k: (B, S, C), S and d multiples of `STEP`.
        v: (B, S, C).
        heads: h.

    Returns:
        (B, Q, C); the same bits for every number of threads.
    """
    (B, Q, C), S, out = q.shape, k.shape[1], torch.empty_like(q, memory_format=torch.contiguous_format)
    d = C // heads
    arrays = [tensor.detach().contiguous().view(B, -1).numpy() for tensor in (q, k, v, out)]

    def work(part: tuple[int, int, int]) -> None:
        b, head, first = part
        queries, keys, values, target = (array[b, head * d :] for array in arrays)
        _attend(queries, keys, values, target, C, d, S, first, min(first + QUERIES, Q), f32(1 / math.sqrt(d)))

    in_parallel(work, product(range(B), range(heads), range(0, Q, QUERIES)))
    return out


@compiled("contract")
def _attend(
    q: NDArray[np.float32],
    k: NDArray[np.float32],
    v: NDArray[np.float32],
    out: NDArray[np.float32],
    C: int,
    d: int,
    S: int,
    begin: int,
    end: int,
    scale: np.float32,
) -> None:
    """What the queries from begin to end read with one head; rows of all arrays lie C apart."""
    queries, scores = np.empty(d * QUERIES, np.float32), np.empty(KEYS * QUERIES, np.float32)
    sums, total = np.zeros(d * QUERIES, np.float32), np.zeros(QUERIES, np.float32)
    top, higher = np.full(QUERIES, -np.inf, np.float32), np.empty(QUERIES, np.float32)
    for c in range(d):
        for i in range(QUERIES):
            queries[c * QUERIES + i] = q[min(begin + i, end - 1) * C + c] * scale
    for first in range(0, S, KEYS):
        count = min(KEYS, S - first)
        scores[: count * QUERIES] = 0
        _add_product(k[first * C :], C, 1, queries, scores, count, d)
        higher[:] = top
        _raise_to_scores(scores, higher, count)
        for i in range(QUERIES):
            share = math.exp(top[i] - higher[i])
            total[i] *= share
            top[i], higher[i] = higher[i], share
        for c in range(d):
            for i in range(u64(QUERIES)):
                sums[u64(c * QUERIES) + i] *= higher[i]
        for j in range(count):
            for i in range(u64(QUERIES)):
                weight = _exp(scores[u64(j * QUERIES) + i] - top[i])
                scores[u64(j * QUERIES) + i] = weight
                total[i] += weight
        _add_product(v[first * C :], 1, C, scores, sums, d, count)
    for i in range(end - begin):
        for c in range(d):
            out[(begin + i) * C + c] = sums[c * QUERIES + i] / total[i]


@compiled("contract", inline=True)
def _add_product(
    a: NDArray[np.float32],
    row: int,
    column: int,
    b: NDArray[np.float32],
    out: NDArray[np.float32],
    rows: int,
    depth: int,
) -> None:
    """Add A (rows, depth), whose neighbours lie `row` and `column` apart, times B (depth, QUERIES) to out.

    Two rows and eight terms at a time: their sixteen factors stay in registers, while B runs through.
    """
    lane, stride = u64(QUERIES), u64(column)
    for r in range(u64(0), u64(rows), u64(2)):
        for t in range(u64(0), u64(depth), u64(STEP)):
            p = r * u64(row) + t * stride
            x0, x1, x2, x3 = a[p], a[p + stride], a[p + u64(2) * stride], a[p + u64(3) * stride]
            p += u64(4) * stride
            x4, x5, x6, x7 = a[p], a[p + stride], a[p + u64(2) * stride], a[p + u64(3) * stride]
            p = (r + u64(1)) * u64(row) + t * stride
            y0, y1, y2, y3 = a[p], a[p + stride], a[p + u64(2) * stride], a[p + u64(3) * stride]
            p += u64(4) * stride
            y4, y5, y6, y7 = a[p], a[p + stride], a[p + u64(2) * stride], a[p + u64(3) * stride]
            for i in range(u64(QUERIES)):
                g = t * lane + i
                z0, z1, z2, z3 = b[g], b[g + lane], b[g + u64(2) * lane], b[g + u64(3) * lane]
                g += u64(4) * lane
                z4, z5, z6, z7 = b[g], b[g + lane], b[g + u64(2) * lane], b[g + u64(3) * lane]
                g = r * lane + i
                out[g] = out[g] + x0 * z0 + x1 * z1 + x2 * z2 + x3 * z3 + x4 * z4 + x5 * z5 + x6 * z6 + x7 * z7
                g += lane
                out[g] = out[g] + y0 * z0 + y1 * z1 + y2 * z2 + y3 * z3 + y4 * z4 + y5 * z5 + y6 * z6 + y7 * z7


@compiled(inline=True)
def _raise_to_scores(scores: NDArray[np.float32], top: NDArray[np.float32], count: int) -> None:
    """Top (QUERIES,) to the largest of itself and the scores (count, QUERIES), eight keys at a time."""
    lane = u64(QUERIES)
    for j in range(u64(0), u64(count), u64(STEP)):
        for i in range(u64(QUERIES)):
            g = j * lane + i
            low = max(max(scores[g], scores[g + lane]), max(scores[g + u64(2) * lane], scores[g + u64(3) * lane]))
            g += u64(4) * lane
            high = max(max(scores[g], scores[g + lane]), max(scores[g + u64(2) * lane], scores[g + u64(3) * lane]))
            top[i] = max(top[i], max(low, high))


@compiled("contract", inline=True)
def _exp(x: np.float32) -> np.float32:
    """e^x for x up to 0; the polynomial is that of Cephes' expf."""
    x = max(x, f32(-87))
    rounded = x * LOG2_E + ROUND
    whole = rounded - ROUND
    rest = x - whole * LN_2_HIGH - whole * LN_2_LOW
    series = f32(1.9875691500e-4)
    series = series * rest + f32(1.3981999507e-3)
    series = series * rest + f32(8.3334519073e-3)
    series = series * rest + f32(4.1665795894e-2)
    series = series * rest + f32(1.6666665459e-1)
    series = series * rest + f32(5.0000001201e-1)
    series = series * rest * rest + rest + f32(1)
    exponent = (f32(rounded).view(np.uint32) << u32(23)) + u32(0x3F800000)
    return series * np.uint32(exponent).view(np.float32)
