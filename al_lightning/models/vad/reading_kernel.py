"""Deformable attention's reading as machine code: no sample is written down before it is summed up.

Shape letters as in `deformable`; a layout is (M, V, S, Z, h, G, P, d): V = M, or 1 if all maps are the same one, and
G = M, or 1 if they share offsets and scores.
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

Layout = tuple[int, int, int, int, int, int, int, int]
f32, u64 = np.float32, np.uint64


def read_beside(
    values: Tensor,
    shape: tuple[int, int],
    anchors: Tensor,
    offsets: Tensor,
    scores: Tensor,
    queries: Tensor | None = None,
    near: Tensor | None = None,
) -> Tensor:
    """What `read_around` says, of tensors that are `fused`; the same bits for every number of threads."""
    B, M, S, Z, _ = anchors.shape
    Q, heads, G, P = scores.shape[1:]
    rows = torch.arange(S).expand(B, M, S) if queries is None else queries
    rows = rows if near is None else rows.where(near, -1)
    out = values.new_zeros(B, Q, heads * values.shape[-1])
    layout = (M, values.shape[1], S, Z, heads, G, P, values.shape[-1])
    arrays = [_flat(tensor) for tensor in (values, anchors, offsets, scores, rows, out)]

    def work(part: tuple[int, int]) -> None:
        b, head = part
        maps, around, moved, scored, listed, target = (array[b] for array in arrays)
        _read(maps, around, moved, scored, listed, target, shape[0], shape[1], layout, head)

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
    """Add to out what one head reads in one sample; all arrays are flat, queries below 0 are left out."""
    M, V, S, Z, heads, G, P, d = layout
    weights = np.empty(P, np.float32)
    for m in range(M):
        above = m * H if V > 1 else 0  # rows of the maps before
        for s in range(S):
            query = queries[u64(m * S + s)]
            if query < 0:
                continue
            target = u64((query * heads + head) * d)
            point = u64(((query * heads + head) * G + (m if G > 1 else 0)) * P)
            first = u64((m * S + s) * Z * 2)
            anchor = first
            _softmax(scores, point, weights)
            for p in range(P):
                x = anchors[anchor] * f32(W) + (offsets[u64(2) * point] - f32(0.5))
                y = anchors[anchor + u64(1)] * f32(H) + (offsets[u64(2) * point + u64(1)] - f32(0.5))
                if f32(-1) < x and x < f32(W) and f32(-1) < y and y < f32(H):
                    # The sum may round up to the map's far edge.
                    left, top = min(int(x + f32(1)), W) - 1, min(int(y + f32(1)), H) - 1
                    right_share, bottom_share = x - f32(left), y - f32(top)
                    # Corners outside of the map have no share; they stand for the nearest inside.
                    l_share = f32(1) - right_share if left >= 0 else f32(0)
                    r_share = right_share if left + 1 < W else f32(0)
                    t_share = (f32(1) - bottom_share) * weights[u64(p)] if top >= 0 else f32(0)
                    b_share = bottom_share * weights[u64(p)] if top + 1 < H else f32(0)
                    upper, lower = (above + max(top, 0)) * W, (above + min(top + 1, H - 1)) * W
                    near, far = max(left, 0), min(left + 1, W - 1)
                    tl, tr = u64(((upper + near) * heads + head) * d), u64(((upper + far) * heads + head) * d)
                    bl, br = u64(((lower + near) * heads + head) * d), u64(((lower + far) * heads + head) * d)
                    tl_share, tr_share = l_share * t_share, r_share * t_share
                    bl_share, br_share = l_share * b_share, r_share * b_share
                    for c in range(u64(d)):
                        out[target + c] += (
                            tl_share * values[tl + c]
                            + tr_share * values[tr + c]
                            + bl_share * values[bl + c]
                            + br_share * values[br + c]
                        )
                point += u64(1)
                anchor += u64(2)
                if anchor == first + u64(2 * Z):
                    anchor = first


@compiled(inline=True)
def _softmax(scores: NDArray[np.float32], start: np.uint64, weights: NDArray[np.float32]) -> None:
    """Weights (P,) of the scores from `start` on."""
    top, total = scores[start], f32(0)
    for p in range(u64(len(weights))):
        top = max(top, scores[start + p])
    for p in range(u64(len(weights))):
        weights[p] = math.exp(scores[start + p] - top)
        total += weights[p]
    for p in range(u64(len(weights))):
        weights[p] /= total
