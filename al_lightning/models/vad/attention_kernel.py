"""Attention as machine code: scores and samples are summed up while the cache holds them.

Attention to all keys runs its vectors along queries, and takes the softmax online, as FlashAttention does (arXiv
2205.14135). Deformable attention first finds where a few queries look, then reads there, vectors along channels.

Shape letters: B samples, Q queries, S keys, C = h * d channels, h heads; of deformable attention as in `deformable`, S
queries near a map.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.compiled import compiled, in_parallel

QUERIES, KEYS = 64, 128  # of a tile, whose scores take 32 KiB
STEP = 8  # terms that are added to a sum at a time
LOOKING = 32  # queries whose points are found at a time
Layout = tuple[int, int, int, int, int, int, int, int]
"""(M, V, S, Z, h, G, P, d): V = M, or 1 if all maps are the same one; G = M, or 1 if they share offsets and scores."""
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


def read_beside(
    values: Tensor,
    shape: tuple[int, int],
    anchors: Tensor,
    offsets: Tensor,
    scores: Tensor,
    queries: Tensor | None = None,
    near: Tensor | None = None,
) -> Tensor:
    """What `deformable.read_around` says, of tensors that are `fused`; the same bits for every number of threads."""
    B, M, S, Z, _ = anchors.shape
    Q, heads, G, P = scores.shape[1:]
    rows = torch.arange(S).expand(B, M, S) if queries is None else queries
    rows = rows if near is None else rows.where(near, -1)
    out = values.new_zeros(B, Q, heads * values.shape[-1])
    layout = (M, values.shape[1], S, Z, heads, G, P, values.shape[-1])
    maps: NDArray[np.float32] = values.detach().flatten(1, 2).numpy()
    arrays = [_flat(tensor) for tensor in (anchors, offsets, scores, rows, out)]

    def work(part: tuple[int, int]) -> None:
        b, head = part
        around, moved, scored, listed, target = (array[b] for array in arrays)
        # Lines of memory that lie a power of two apart would drive each other out of the cache.
        own = np.ascontiguousarray(maps[b, :, head]).reshape(-1)
        _read(own, around, moved, scored, listed, target, shape[0], shape[1], layout, head)

    in_parallel(work, product(range(B), range(heads)))
    return out


def _flat(tensor: Tensor) -> NDArray[Any]:
    """(B, numbers of a sample); detached, as the memory of a tensor that learns is not given."""
    flat: NDArray[Any] = tensor.detach().contiguous().view(len(tensor), -1).numpy()
    return flat


@compiled()
def _read(
    values: NDArray[np.float32],
    anchors: NDArray[np.float32],
    offsets: NDArray[np.float32],
    scores: NDArray[np.float32],
    queries: NDArray[np.int64],
    out: NDArray[np.float32],
    H: int,
    W: int,
    layout: Layout,
    head: int,
) -> None:
    """Add to out what one head reads in its maps of one sample; all arrays are flat, queries below 0 are left out."""
    M, V, S, _, heads, _, P, d = layout
    looking, places = np.empty(LOOKING, np.int64), np.empty((2, LOOKING * P), np.float32)
    weights, shares = np.empty(LOOKING * P, np.float32), np.empty((4, LOOKING * P), np.float32)
    corners = np.empty((4, LOOKING * P), np.int32)
    for m in range(M):
        above = m * H if V > 1 else 0  # rows of the maps before
        s = 0
        while s < S:
            count, s = _look(anchors, offsets, scores, queries, H, W, layout, head, m, s, looking, places, weights)
            _softmax(weights, count, P)
            _spread(places, weights, count * P, above, H, W, corners, shares)
            for i in range(count):
                target = u64((looking[i] * heads + head) * d)
                for point in range(u64(i * P), u64((i + 1) * P)):
                    tl, tr = u64(corners[0, point] * d), u64(corners[1, point] * d)
                    bl, br = u64(corners[2, point] * d), u64(corners[3, point] * d)
                    a, b, c, e = shares[0, point], shares[1, point], shares[2, point], shares[3, point]
                    if a == 0 and b == 0 and c == 0 and e == 0:  # outside
                        continue
                    for k in range(u64(d)):
                        out[target + k] += (
                            a * values[tl + k] + b * values[tr + k] + c * values[bl + k] + e * values[br + k]
                        )


@compiled(inline=True)
def _look(
    anchors: NDArray[np.float32],
    offsets: NDArray[np.float32],
    scores: NDArray[np.float32],
    queries: NDArray[np.int64],
    H: int,
    W: int,
    layout: Layout,
    head: int,
    m: int,
    s: int,
    looking: NDArray[np.int64],
    places: NDArray[np.float32],
    weights: NDArray[np.float32],
) -> tuple[int, int]:
    """Fill in the next queries from place s on of map m; return how many there are, and where to go on.

    Of each query (`LOOKING`,) and point: places (2, ., P) in cells, and weights (., P), as yet the scores less the
    largest of the query.
    """
    _, _, S, Z, heads, G, P, _ = layout
    count = 0
    while s < S and count < LOOKING:
        query = queries[m * S + s]
        if query >= 0:
            looking[count] = query
            point = ((query * heads + head) * G + (m if G > 1 else 0)) * P
            first, top = u64((m * S + s) * Z * 2), scores[u64(point)]
            for p in range(P):
                top = max(top, scores[u64(point + p)])
            anchor = first
            for p in range(P):
                here, offset = u64(count * P + p), u64(2 * (point + p))
                weights[here] = scores[u64(point + p)] - top
                places[0, here] = anchors[anchor] * f32(W) + (offsets[offset] - f32(0.5))
                places[1, here] = anchors[anchor + u64(1)] * f32(H) + (offsets[offset + u64(1)] - f32(0.5))
                anchor += u64(2)
                if anchor == first + u64(2 * Z):
                    anchor = first
            count += 1
        s += 1
    return count, s


@compiled(inline=True)
def _softmax(weights: NDArray[np.float32], count: int, P: int) -> None:
    """Scores, less the largest, to weights (count, P), flat."""
    for i in range(u64(count * P)):
        weights[i] = _exp(weights[i])
    for first in range(u64(0), u64(count * P), u64(P)):
        total = f32(0)
        for p in range(u64(P)):
            total += weights[first + p]
        for p in range(u64(P)):
            weights[first + p] /= total


@compiled(inline=True)
def _spread(
    places: NDArray[np.float32],
    weights: NDArray[np.float32],
    count: int,
    above: int,
    H: int,
    W: int,
    corners: NDArray[np.int32],
    shares: NDArray[np.float32],
) -> None:
    """Which four cells each of the places reads, and how much of each.

    A place outside of the map moves to where its outer corners would have the whole share; these have none, and stand
    for the nearest inside. The place's number plus one may round up to the far edge.
    """
    for i in range(u64(count)):
        x, y = places[0, i], places[1, i]
        x = f32(-1) if x < f32(-1) else f32(W) if x > f32(W) else x
        y = f32(-1) if y < f32(-1) else f32(H) if y > f32(H) else y
        left = min(max(int(x + f32(1)), 0), W) - 1
        top = min(max(int(y + f32(1)), 0), H) - 1
        right_share = x - f32(left) + (places[0, i] - places[0, i])  # what is infinite becomes no number
        bottom_share = y - f32(top) + (places[1, i] - places[1, i])
        l_share = f32(1) - right_share if left >= 0 else f32(0)
        r_share = right_share if left + 1 < W else f32(0)
        t_share = (f32(1) - bottom_share) * weights[i] if top >= 0 else f32(0)
        b_share = bottom_share * weights[i] if top + 1 < H else f32(0)
        near, far = max(left, 0), min(left + 1, W - 1)
        upper, lower = (above + max(top, 0)) * W, (above + min(top + 1, H - 1)) * W
        corners[0, i], corners[1, i] = upper + near, upper + far
        corners[2, i], corners[3, i] = lower + near, lower + far
        shares[0, i], shares[1, i] = l_share * t_share, r_share * t_share
        shares[2, i], shares[3, i] = l_share * b_share, r_share * b_share
