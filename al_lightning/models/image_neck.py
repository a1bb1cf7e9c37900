"""Feature pyramid over the last two stages of an image backbone.

Shape letters: B images, C channels, H W pixels of the finer level.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from al_lightning.models.image_trunk import ImageMerger


class ImageNeck(ImageMerger):
    """Two-level FPN that returns its finer level (official `CustomFPN`): no norm, no activation.

    Args:
        in_channels: channels of the finer and of the coarser input.
        out_channels: channels of the output.
    """

    scale = 1

    def __init__(self, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels = tuple(in_channels), out_channels
        self.lateral_convs = nn.ModuleList(_conv(channels, out_channels, 1) for channels in in_channels)
        self.fpn_convs = nn.ModuleList([_conv(out_channels, out_channels, 3)])

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(B, C0, H, W) and (B, C1, H / 2, W / 2) to (B, C, H, W)."""
        top = self.lateral_convs[1](coarse)
        # Nearest, to the finer level's size: a factor of 2 would miss by one where H or W is odd.
        merged = self.lateral_convs[0](fine) + F.interpolate(top, size=fine.shape[-2:], mode="nearest")
        out: Tensor = self.fpn_convs[0](merged)
        return out


def _conv(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
    nn.init.xavier_uniform_(conv.weight)
    nn.init.constant_(conv.bias, 0.0)  # type: ignore[arg-type]
    return nn.Sequential(OrderedDict(conv=conv))  # named as in the official checkpoints: ``lateral_convs.0.conv``
