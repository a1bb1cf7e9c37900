"""Convolutional encoder of bird's-eye-view features (BEVDet's `CustomResNet` and `FPN_LSS`).

Shape letters: B samples, C channels, X Y cells; rows are y, columns are x.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from al_lightning.models.resnet import BasicBlock

STRIDE = 2
"""Cells of the input per cell of the first stage, which the last step of the neck undoes: X and Y must be multiples."""


class BEVBackbone(nn.Module):
    """Three stages of two basic blocks, each halving the size and doubling the channels.

    Args:
        in_channels: C, channels of the input; the stages have 2 C, 4 C and 8 C.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_stage(in_channels * 2**stage) for stage in range(3))

    def forward(self, bev: Tensor) -> list[Tensor]:
        """(B, C, Y, X) to the outputs of the three stages."""
        outputs = []
        for layer in self.layers:
            bev = layer(bev)
            outputs.append(bev)
        return outputs


def _stage(in_channels: int) -> nn.Sequential:
    channels = in_channels * 2
    # TRAP: the shortcut is a bare 3x3 convolution with bias and without BN, not torchvision's 1x1 with BN.
    shortcut = nn.Conv2d(in_channels, channels, 3, stride=2, padding=1)
    return nn.Sequential(BasicBlock(in_channels, channels, 2, shortcut), BasicBlock(channels, channels))


class BEVNeck(nn.Module):
    """Join the first and the last stage of the backbone and return to full size.

    Args:
        fine_channels: channels of the backbone's first output.
        coarse_channels: channels of its last output.
        out_channels: C, channels of the result.
    """

    def __init__(self, fine_channels: int, coarse_channels: int, out_channels: int) -> None:
        super().__init__()
        hidden = 2 * out_channels
        self.conv = nn.Sequential(
            nn.Conv2d(fine_channels + coarse_channels, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
        )
        self.up2 = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(hidden, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 1),
        )

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(B, C0, Y / 2, X / 2) and (B, C1, Y / 8, X / 8), rounded up, to (B, C, Y, X)."""
        # TRAP: corners are aligned in both upsamplings here, while the image neck takes the nearest pixel.
        up = functional.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=True)
        joined = torch.cat((fine, up), dim=1)
        out: Tensor = self.up2(self.conv(joined))
        return out
