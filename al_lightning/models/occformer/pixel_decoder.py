"""The pixel decoder: volumes of four sizes to features for masks, and to what the queries look at.

Shape letters: B samples, Q voxels of the three coarse levels, C channels, X Y Z voxels.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from al_lightning.models.occformer.deformable import Shape, VolumeAttention, cell_centers
from al_lightning.models.occformer.layers import group_norm, sine_positions
from al_lightning.models.vad.layers import FeedForward, Layers


class EncoderLayer(nn.Module):
    """Voxels read each other, then pass a feed-forward block.

    Args:
        dims: C.
        heads: number of heads.
        hidden: channels inside the feed-forward block.
    """

    def __init__(self, dims: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([VolumeAttention(dims, heads)])
        self.ffns = nn.ModuleList([FeedForward(dims, hidden, dropout=0.0)])
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(2))

    def forward(self, query: Tensor, query_pos: Tensor, shapes: Sequence[Shape], reference: Tensor) -> Tensor:
        """Arguments and result as of `VolumeAttention.forward`."""
        query = self.norms[0](self.attentions[0](query, query_pos, shapes, reference))
        out: Tensor = self.norms[1](self.ffns[0](query))
        return out


class PixelDecoder(nn.Module):
    """Deformable attention among the coarse levels, then the finest is merged (`MSDeformAttnPixelDecoder3D`).

    Args:
        in_channels: channels of the four levels, the finest first.
        dims: C, a multiple of 6.
        heads: heads of the attention.
        hidden: channels inside the feed-forward blocks.
        layers: number of encoder layers.
    """

    def __init__(self, in_channels: Sequence[int], dims: int, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        fine, *coarse = in_channels
        self.input_convs = nn.ModuleList(_conv(channels, dims, 1, bias=True) for channels in reversed(coarse))
        self.encoder = Layers([EncoderLayer(dims, heads, hidden) for _ in range(layers)])
        self.level_encoding = nn.Embedding(len(coarse), dims)
        self.lateral_convs = nn.ModuleList([_conv(fine, dims, 1)])
        self.output_convs = nn.ModuleList([_conv(dims, dims, 3, active=True)])
        self.mask_feature = nn.Conv3d(dims, dims, 1)
        self._initialize()

    def _initialize(self) -> None:
        merging = nn.ModuleList([*self.lateral_convs, *self.output_convs, self.mask_feature])
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                if module in set(merging.modules()):
                    nn.init.kaiming_uniform_(module.weight, a=1)  # Caffe2's "Xavier"
                else:
                    nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for name, parameter in self.encoder.named_parameters():
            if parameter.dim() > 1 and "attentions" not in name:
                nn.init.xavier_normal_(parameter)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Decode.

        Args:
            levels: four volumes (B, C_i, X_i, Y_i, Z_i), the finest first.

        Returns:
            Features for masks (B, C, X, Y, Z) in the finest size, and three memories (B, C, ...), the coarsest first.
        """
        fine, *coarse = levels
        volumes = [conv(level) for conv, level in zip(self.input_convs, reversed(coarse), strict=True)]
        shapes: list[Shape] = [tuple(volume.shape[2:]) for volume in volumes]
        features, device = self.level_encoding.embedding_dim // 3, fine.device
        positions = torch.cat(
            [
                sine_positions(shape, features, device) + encoding
                for shape, encoding in zip(shapes, self.level_encoding.weight, strict=True)
            ]
        )
        reference = cell_centers(shapes, device)
        query = torch.cat([volume.flatten(2).transpose(1, 2) for volume in volumes], dim=1)
        for layer in self.encoder.layers:
            query = layer(query, positions, shapes, reference)
        parts = query.split_with_sizes([math.prod(shape) for shape in shapes], dim=1)
        memories = [
            part.transpose(1, 2).reshape(*fine.shape[:1], -1, *shape) for part, shape in zip(parts, shapes, strict=True)
        ]
        finest = F.interpolate(memories[-1], size=fine.shape[2:], mode="trilinear", align_corners=False)
        merged = self.output_convs[0](self.lateral_convs[0](fine) + finest)
        return self.mask_feature(merged), memories


def _conv(in_channels: int, out_channels: int, kernel: int, bias: bool = False, active: bool = False) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv3d(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias), gn=group_norm(out_channels)
    )
    if active:
        layers["activate"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)
