"""The dual-path encoder: every volume is seen slice by slice, and as a whole from above.

Shape letters: B samples, C channels, X Y Z voxels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from al_lightning.models.occformer.layers import ASPP, group_norm
from al_lightning.models.occformer.window_attention import SwinBlock

HEAD_CHANNELS = 32
DROP_PATH = 0.2


def _aspp_norm(channels: int) -> nn.GroupNorm:
    """TRAP: within the pyramid narrow layers have two channels to a group, at its border `group_norm` has one."""
    return nn.GroupNorm(channels // 2, channels) if channels <= 32 else group_norm(channels)


class BottleneckASPP(nn.Module):
    """Context of a map from above, in a quarter of its channels; adds its input.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // 4
        self.input_conv = nn.Sequential(
            nn.Conv2d(channels, narrow, 1, bias=False), group_norm(narrow), nn.ReLU(inplace=True)
        )
        self.aspp = ASPP(narrow, _aspp_norm, dropout=0.1)
        self.output_conv = nn.Sequential(
            nn.Conv2d(narrow, channels, 1, bias=False), group_norm(channels), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y) to (B, C, X, Y)."""
        narrow = self.input_conv(x)
        out: Tensor = self.output_conv(narrow + self.aspp(narrow))
        return x + out


class DualPathBlock(nn.Module):
    """Attention within windows of each slice and of the mean over the height, whose context is added to all slices.

    Args:
        in_channels: channels of the input.
        channels: C of the output.
        stride: of the first convolution.
        shifted: windows are shifted.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, shifted: bool) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv3d(in_channels, channels, 1, stride, bias=False), group_norm(channels)
            )
        self.input_conv = nn.Sequential(
            nn.Conv3d(in_channels, channels, 3, stride, padding=1, bias=False),
            group_norm(channels),
            nn.ReLU(inplace=True),
        )
        self.bev_encoder = SwinBlock(channels, channels // HEAD_CHANNELS, shifted, DROP_PATH)
        self.aspp = BottleneckASPP(channels)
        self.combine_coeff = nn.Conv3d(channels, 1, 1)

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C', X, Y, Z) to (B, C, X / stride, Y / stride, Z / stride), sizes rounded up."""
        x = self.input_conv(volume)
        B, Z = len(x), x.shape[-1]
        above = x.mean(dim=-1)
        slices = x.permute(0, 4, 1, 2, 3).flatten(0, 1)
        above, slices = self.bev_encoder(torch.cat((above, slices))).split((B, B * Z))
        slices = slices.unflatten(0, (B, Z)).permute(0, 2, 3, 4, 1)
        above = self.aspp(above).unsqueeze(-1)
        out: Tensor = slices + self.combine_coeff(slices).sigmoid() * above + self.downsample(volume)
        return out


class DualPathEncoder(nn.Module):
    """Stages of two blocks; all but the first one halve the size.

    Args:
        channels: channels of the stages, multiples of 32; the volume has as many as the first stage.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        inputs = (channels[0], *channels[:-1])
        self.layers = nn.ModuleList(
            nn.Sequential(
                DualPathBlock(before, after, 2 if stage else 1, shifted=False),
                DualPathBlock(after, after, 1, shifted=True),
            )
            for stage, (before, after) in enumerate(zip(inputs, channels, strict=True))
        )

    def forward(self, volume: Tensor) -> list[Tensor]:
        """(B, C, X, Y, Z) to the outputs of the stages."""
        outputs = []
        for layer in self.layers:
            volume = layer(volume)
            outputs.append(volume)
        return outputs
