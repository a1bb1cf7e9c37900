"""Blocks that several parts of OccFormer share.

Shape letters: B samples, C channels, H W cells of a map.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]


class DropPath(nn.Module):
    """Drops whole samples in training and scales up the others: stochastic depth.

    Args:
        p: probability.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to (B, ...)."""
        if not self.training or self.p == 0:
            return x
        kept = torch.empty(len(x), *(1,) * (x.dim() - 1), device=x.device).bernoulli_(1 - self.p)
        return x * (kept / (1 - self.p)).to(x.dtype)


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm of 32 groups, or of as many as divide both 32 and the channels."""
    return nn.GroupNorm(math.gcd(32, channels), channels)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: convolutions of four dilations and the mean, joined.

    Args:
        channels: C, channels of input, branches and output.
        norm: makes a norm of so many channels.
        dropout: probability, on the output.
    """

    def __init__(self, channels: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.aspp1 = _branch(channels, 1, norm)
        self.aspp2, self.aspp3, self.aspp4 = (_branch(channels, dilation, norm) for dilation in (6, 12, 18))
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1, bias=False), norm(channels), nn.ReLU()
        )
        self.conv1 = nn.Conv2d(5 * channels, channels, 1, bias=False)
        self.bn1 = norm(channels)
        self.dropout = nn.Dropout(dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        branches = [branch(x) for branch in (self.aspp1, self.aspp2, self.aspp3, self.aspp4)]
        branches.append(self.global_avg_pool(x).expand_as(x))
        out: Tensor = self.dropout(F.relu(self.bn1(self.conv1(torch.cat(branches, dim=1)))))
        return out


def _branch(channels: int, dilation: int, norm: Norm) -> nn.Sequential:
    """1x1 for dilation 1, 3x3 for others."""
    kernel, padding = (1, 0) if dilation == 1 else (3, dilation)
    conv = nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(OrderedDict(atrous_conv=conv, bn=norm(channels), activate=nn.ReLU()))


def sine_positions(shape: tuple[int, int, int], features: int, device: torch.device | str = "cpu") -> Tensor:
    """Positions of the voxels of a grid as sines and cosines of many wavelengths.

    A coordinate counts from 1 and is scaled to at most 2 pi; its sines and cosines are interleaved.

    Args:
        shape: (X, Y, Z).
        features: numbers for each axis, even.
        device: where the result lies.

    Returns:
        (X * Y * Z, 3 * features): those of x, then of y, then of z.
    """
    exponent = 2 * (torch.arange(features, device=device, dtype=torch.float32) // 2) / features
    axes = []
    for axis, count in enumerate(shape):
        scaled = torch.arange(1, count + 1, device=device, dtype=torch.float32) / (count + 1e-6) * 2 * torch.pi
        angle = scaled[:, None] / 10000**exponent
        code = torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=-1).flatten(1)
        view = [1, 1, 1, features]
        view[axis] = count
        axes.append(code.view(view).expand(*shape, features))
    return torch.cat(axes, dim=-1).flatten(0, 2)
