"""Swin's attention within windows of a map (arXiv 2103.14030), with mmdet's parameter names.

Shape letters: B maps, H W cells, C channels, h heads, w windows of a map, P = 49 cells of a window.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from al_lightning.models.occformer.layers import DropPath

WINDOW = 7
SHIFT = 3
_BLOCKED = -100.0


def to_windows(x: Tensor) -> Tensor:
    """(B, H, W, C), whole windows, to (B, w, P, C), row by row."""
    B, H, W, C = x.shape
    x = x.view(B, H // WINDOW, WINDOW, W // WINDOW, WINDOW, C).transpose(2, 3)
    return x.reshape(B, -1, WINDOW * WINDOW, C)


def from_windows(x: Tensor, shape: tuple[int, int]) -> Tensor:
    """(B, w, P, C) back to (B, H, W, C)."""
    H, W = shape
    x = x.view(len(x), H // WINDOW, W // WINDOW, WINDOW, WINDOW, -1).transpose(2, 3)
    return x.reshape(len(x), H, W, -1)


def shift_mask(shape: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """What is added to the scores of a rolled map (w, P, P): cells from opposite borders do not look at each other."""
    places = (torch.arange(size, device=device) - size for size in shape)
    row, column = ((place >= -WINDOW).long() + (place >= -SHIFT).long() for place in places)
    region = to_windows((3 * row[:, None] + column)[None, :, :, None])[0, :, :, 0]
    return _BLOCKED * (region[:, :, None] != region[:, None, :]).float()


def _relative_position_index() -> Tensor:
    """Row (P, P) of the table for each query and key: (dy + 6) * 13 + (dx + 6), query minus key."""
    y, x = (axis.flatten() for axis in torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij"))
    dy, dx = (axis[:, None] - axis[None, :] + WINDOW - 1 for axis in (y, x))
    return dy * (2 * WINDOW - 1) + dx


class WindowAttention(nn.Module):
    """Multi-head attention among the cells of each window, with a learned bias for their relative position.

    Args:
        dims: C.
        heads: h.
    """

    relative_position_index: Tensor

    def __init__(self, dims: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))
        self.register_buffer("relative_position_index", _relative_position_index())
        self.qkv = nn.Linear(dims, 3 * dims)
        self.proj = nn.Linear(dims, dims)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, w, P, C), and what is added to the scores (w, P, P), to (B, w, P, C)."""
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)  # (h, P, P)
        if mask is not None:
            bias = bias + mask.unsqueeze(1)  # (w, h, P, P)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)  # each (B, w, h, P, d)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        attended: Tensor = self.proj(out.transpose(2, 3).flatten(-2))
        return attended


class ShiftedWindowAttention(nn.Module):
    """`WindowAttention` on maps of any size.

    TRAP: zeros fill up the last windows, and are looked at.

    Args:
        dims: C.
        heads: h.
        shifted: roll the map by half a window first.
    """

    def __init__(self, dims: int, heads: int, shifted: bool) -> None:
        super().__init__()
        self.shift = SHIFT if shifted else 0
        self.w_msa = WindowAttention(dims, heads)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H, W, C)."""
        H, W = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -W % WINDOW, 0, -H % WINDOW))
        shape = (x.shape[1], x.shape[2])
        mask = shift_mask(shape, x.device) if self.shift else None
        windows = to_windows(x.roll((-self.shift, -self.shift), dims=(1, 2)))
        rolled = from_windows(self.w_msa(windows, mask), shape)
        out: Tensor = rolled.roll((self.shift, self.shift), dims=(1, 2))[:, :H, :W]
        return out


class FeedForward(nn.Module):
    """Two linear layers with GELU.

    Args:
        dims: C.
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Sequential(nn.Linear(dims, dims), nn.GELU()), nn.Linear(dims, dims))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        out: Tensor = self.layers(x)
        return out


class SwinBlock(nn.Module):
    """Attention within windows and a feed-forward block, each adding its input.

    Args:
        dims: C.
        heads: h.
        shifted: roll the map by half a window first.
        drop_path: probability to drop each of the two in training.
    """

    def __init__(self, dims: int, heads: int, shifted: bool, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dims)
        self.attn = ShiftedWindowAttention(dims, heads, shifted)
        self.norm2 = nn.LayerNorm(dims)
        self.ffn = FeedForward(dims)
        self.drop_path = DropPath(drop_path)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        x = maps.permute(0, 2, 3, 1)
        x = x + self.drop_path(self.attn(self.norm1(x)))
        out: Tensor = x + self.drop_path(self.ffn(self.norm2(x)))
        return out.permute(0, 3, 1, 2)
