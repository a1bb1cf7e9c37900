"""SECOND's pyramid: five image levels, brought to one size and joined.

Shape letters: B images, C channels, h w feature pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

STRIDE = 16
"""Image pixels per pixel of the output."""


class PyramidNeck(nn.Module):
    """Levels at strides 4, 8, 16, 32 and 32 to one map at stride 16 (official `SECONDFPN`).

    Args:
        in_channels: channels of the five levels.
        out_channels: channels that each of them contributes.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        factors = (4, 2, -1, -2, -2)  # of downsampling, negative ones of upsampling
        self.deblocks = nn.ModuleList(
            nn.Sequential(
                _resample(channels, out_channels, factor), nn.BatchNorm2d(out_channels, eps=1e-3), nn.ReLU(inplace=True)
            )
            for channels, factor in zip(in_channels, factors, strict=True)
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Five maps (B, C_i, ...) to (B, 5 C, h, w)."""
        return torch.cat([block(level) for block, level in zip(self.deblocks, levels, strict=True)], dim=1)


def _resample(in_channels: int, out_channels: int, factor: int) -> nn.Module:
    if factor > 0:
        return nn.Conv2d(in_channels, out_channels, factor, factor, bias=False)
    return nn.ConvTranspose2d(in_channels, out_channels, -factor, -factor, bias=False)
