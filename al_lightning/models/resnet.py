"""Residual networks with torchvision's layout and parameter names.

Shape letters: B images, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from al_lightning.models.image_trunk import ImageTrunk


class BasicBlock(nn.Module):
    """conv3x3 - BN - ReLU - conv3x3 - BN, plus the shortcut, ReLU.

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        stride: stride of the first convolution.
        downsample: the shortcut where input and output differ in shape; None for the identity.
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, channels, H / stride, W / stride), sizes rounded up."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        out: Tensor = self.relu(x + shortcut)
        return out


class Bottleneck(nn.Module):
    """conv1x1 - conv3x3 - conv1x1, each with BN, plus the shortcut; the output has four times ``channels``.

    The stride sits on the 3x3 convolution (torchvision, mmdet's ``style="pytorch"``), not on the first 1x1.

    Args:
        in_channels: channels of the input.
        channels: channels of the inner convolutions.
        stride: stride of the 3x3 convolution.
        downsample: the shortcut where input and output differ in shape; None for the identity.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 4 channels, H / stride, W / stride), sizes rounded up."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        out: Tensor = self.relu(x + shortcut)
        return out


class ResNet(ImageTrunk):
    """A ResNet trunk without classifier; the defaults are ResNet-50.

    Args:
        block: ``"bottleneck"`` (ResNet-50 and larger) or ``"basic"`` (ResNet-18, 34).
        blocks: residual blocks of each of the four stages.
        width: channels of the stem; stage i has width * 2^i (times 4 with bottlenecks).

    Attributes:
        out_channels: channels of the four stages' outputs.
        strides: 4, 8, 16, 32.

    Raises:
        ValueError: an unknown block, or not four stages.
    """

    strides = (4, 8, 16, 32)

    def __init__(
        self,
        block: Literal["basic", "bottleneck"] = "bottleneck",
        blocks: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
    ) -> None:
        super().__init__()
        kinds: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}
        if block not in kinds:
            raise ValueError(f"block must be one of {', '.join(kinds)}, got '{block}'")
        if len(blocks) != 4 or min(blocks) < 1:
            raise ValueError(f"blocks needs four positive counts, one a stage, got {tuple(blocks)}")
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        kind = kinds[block]
        self.out_channels = tuple(width * 2**stage * kind.expansion for stage in range(4))
        inputs = (width, *self.out_channels[:3])
        self.layer1 = _stage(kind, inputs[0], width, blocks[0], stride=1)
        self.layer2 = _stage(kind, inputs[1], width * 2, blocks[1], stride=2)
        self.layer3 = _stage(kind, inputs[2], width * 4, blocks[2], stride=2)
        self.layer4 = _stage(kind, inputs[3], width * 8, blocks[3], stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to the outputs of the four stages, at strides 4, 8, 16 and 32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        outputs = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            outputs.append(x)
        return outputs

    def freeze(self) -> None:
        """Let norms, stem and first stage learn nothing."""
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        for module in (self.conv1, self.layer1, *norms):
            module.requires_grad_(False)


def _stage(
    kind: type[BasicBlock] | type[Bottleneck], in_channels: int, channels: int, count: int, stride: int
) -> nn.Sequential:
    out_channels = channels * kind.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    first = kind(in_channels, channels, stride, downsample)
    return nn.Sequential(first, *(kind(out_channels, channels) for _ in range(count - 1)))
