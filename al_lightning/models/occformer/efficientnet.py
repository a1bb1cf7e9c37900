"""EfficientNet trunks (arXiv 1905.11946) with mmcls's layout and parameter names; TensorFlow's padding.

Shape letters: B images, C channels, H W pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from al_lightning.models.occformer.layers import DropPath


class Run(NamedTuple):
    """Equal blocks in a row; the first one has the stride and changes the channels.

    Attributes:
        blocks: their number.
        kernel: side of the depthwise convolution.
        stride: stride of the first block.
        channels: channels of the output.
    """

    blocks: int
    kernel: int
    stride: int
    channels: int


B7: tuple[tuple[Run, ...], ...] = (
    (Run(4, 3, 1, 32),),
    (Run(7, 3, 2, 48),),
    (Run(7, 5, 2, 80),),
    (Run(10, 3, 2, 160), Run(10, 5, 1, 224)),
    (Run(13, 5, 2, 384), Run(4, 3, 1, 640)),
)
"""The five layers of blocks of EfficientNet-B7."""


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's padding: ceil(n / stride) outputs, the odd pixel of padding after."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        height, width = (
            max((-(-size // stride) - 1) * stride + kernel - size, 0)
            for size, stride, kernel in zip(x.shape[-2:], self.stride, self.kernel_size, strict=True)
        )
        if height % 2 or width % 2:
            before = (width // 2, height // 2)
            x = F.pad(x, (before[0], width - before[0], before[1], height - before[1]))
            height = width = 0
        return F.conv2d(x, self.weight, self.bias, self.stride, (height // 2, width // 2), 1, self.groups)


def _conv(
    in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1, active: bool = True
) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=SameConv2d(in_channels, out_channels, kernel, stride, groups=groups, bias=False),
        bn=nn.BatchNorm2d(out_channels, eps=1e-3),
    )
    if active:
        layers["activate"] = nn.SiLU(inplace=True)
    return nn.Sequential(layers)


class SqueezeExcite(nn.Module):
    """Each channel is weighted by what the mean over the image says.

    Args:
        channels: C.
        squeezed: channels between the two convolutions.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(OrderedDict(conv=nn.Conv2d(channels, squeezed, 1), activate=nn.SiLU(inplace=True)))
        self.conv2 = nn.Sequential(OrderedDict(conv=nn.Conv2d(squeezed, channels, 1), activate=nn.Sigmoid()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        weight: Tensor = self.conv2(self.conv1(x.mean(dim=(2, 3), keepdim=True)))
        return x * weight


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, squeeze and excite, project; adds its input where the shapes are equal.

    Args:
        in_channels: channels of the input.
        run: kernel, stride and channels of the output.
        expansion: channels in between, as a multiple of ``in_channels``; 1 for no expansion.
        drop_path: probability to drop the block in training.
    """

    def __init__(self, in_channels: int, run: Run, expansion: int, drop_path: float) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.shortcut = run.stride == 1 and in_channels == run.channels
        if expansion > 1:
            self.expand_conv = _conv(in_channels, hidden)
        self.expands = expansion > 1
        self.depthwise_conv = _conv(hidden, hidden, run.kernel, run.stride, groups=hidden)
        self.se = SqueezeExcite(hidden, in_channels // 4)  # a quarter of the block's input, not of what is expanded
        self.linear_conv = _conv(hidden, run.channels, active=False)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, channels, ceil(H / stride), ceil(W / stride))."""
        hidden = self.expand_conv(x) if self.expands else x
        out: Tensor = self.linear_conv(self.se(self.depthwise_conv(hidden)))
        if self.shortcut:
            out = x + self.drop_path(out)
        return out


class EfficientNet(nn.Module):
    """An EfficientNet trunk without classifier; the defaults are B7.

    Args:
        layers: the five layers of blocks.
        stem: channels of the first convolution.
        last: channels of the last convolution.
        drop_path: probability to drop the last block in training; 0 for the first one, linear in between.

    Attributes:
        out_channels: channels of the five outputs.
    """

    def __init__(
        self, layers: Sequence[Sequence[Run]] = B7, stem: int = 64, last: int = 2560, drop_path: float = 0.2
    ) -> None:
        super().__init__()
        count = sum(run.blocks for runs in layers for run in runs)
        rates = (drop_path * number / max(count - 1, 1) for number in range(count))
        channels, stages = stem, [_conv(3, stem, 3, stride=2)]
        for number, runs in enumerate(layers):
            blocks: list[nn.Module] = []
            for run in runs:
                for block in range(run.blocks):
                    step = run if block == 0 else run._replace(stride=1)
                    blocks.append(InvertedResidual(channels, step, 6 if number else 1, next(rates)))
                    channels = run.channels
            stages.append(nn.Sequential(*blocks))
        self.layers = nn.ModuleList([*stages, _conv(channels, last)])
        self.out_channels = (*(runs[-1].channels for runs in layers[1:]), last)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to five maps, at strides 4, 8, 16, 32 and 32."""
        outputs, x = [], images
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        return outputs[2:]
