"""Depth distributions held to what LiDAR measured, as BEVDepth and OccFormer do.

Shape letters: B samples, N cameras, D depth bins, H W pixels, h w feature pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NO_BIN = -1
"""Bin of a feature pixel whose depth is not known or out of range."""


def depth_bins(depth: Tensor, shape: tuple[int, int], start: float, step: float, count: int) -> Tensor:
    """The bin of the nearest measurement under each feature pixel.

    TRAP: bin k stands for depths from start + (k + 0.5) step to start + (k + 1.5) step, while the geometry puts it at
    start + k step: the targets are up to a bin too near. Trained weights depend on it.

    Args:
        depth: (B, N, H, W) metres, 0 where nothing was measured.
        shape: (h, w), dividing (H, W).
        start: depth of the first bin, metres.
        step: size of a bin, metres.
        count: D.

    Returns:
        (B, N, h, w) int64 bins, or `NO_BIN`.

    Raises:
        ValueError: the shape does not divide that of the measurements.
    """
    h, w = shape
    if depth.shape[-2] % h or depth.shape[-1] % w:
        raise ValueError(f"feature pixels {shape} do not divide the depth map of {tuple(depth.shape[-2:])} pixels")
    B, N, H, W = depth.shape
    patches = depth.reshape(B, N, h, H // h, w, W // w)
    nearest = patches.masked_fill(patches <= 0, torch.inf).amin(dim=(-3, -1))
    position = ((nearest - (start - step / 2)) / step).clamp(max=count + 1).floor().long() - 1
    return position.masked_fill((position < 0) | (position >= count), NO_BIN)


def depth_cross_entropy(probabilities: Tensor, bins: Tensor) -> Tensor:
    """Binary cross entropies of all D bins, summed and divided by the number of feature pixels with a bin.

    Args:
        probabilities: (B, N, D, h, w).
        bins: (B, N, h, w) int64, or `NO_BIN`.

    Returns:
        A scalar; 0 where no pixel has a bin.
    """
    known = bins != NO_BIN
    p = probabilities.movedim(2, -1)[known]
    target = F.one_hot(bins[known], p.shape[-1]).to(p.dtype)
    return F.binary_cross_entropy(p, target, reduction="sum") / max(1, len(p))
