"""Deformable attention: every query reads a few points of a feature map.

Locations are fractions of the map's width and height, (0, 0) its top left corner.

Shape letters: B maps, H W their cells, Q queries, h heads, d channels of a head, P points.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def read_points(values: Tensor, shape: tuple[int, int], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples; outside of the map lie zeros.

    Args:
        values: (B, H * W, h, d) feature maps, row by row.
        shape: (H, W).
        locations: (B, Q, h, P, 2) = (x, y).
        weights: (B, Q, h, P).

    Returns:
        (B, Q, h * d).
    """
    B, Q, heads, P, _ = locations.shape
    maps = values.permute(0, 2, 3, 1).reshape(B * heads, -1, *shape)
    grid = (2 * locations - 1).transpose(1, 2).reshape(B * heads, Q, P, 2)
    samples = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    per_point = weights.transpose(1, 2).reshape(B * heads, 1, Q, P)
    return (samples * per_point).sum(dim=-1).view(B, -1, Q).transpose(1, 2)


def initialize_sampling(offsets: nn.Linear, weights: nn.Linear, heads: int, points: int) -> None:
    """Start with equal weights and fixed points: head k looks along direction k, point p lies p cells away.

    Args:
        offsets: layer whose outputs are ordered (head, repetition, point, xy).
        weights: layer of the points' weights.
        heads: h.
        points: P; what repeats within a head are levels or queue slots.
    """
    angle = torch.arange(heads, dtype=torch.float32) * (2 * math.pi / heads)
    direction = torch.stack((angle.cos(), angle.sin()), dim=-1)
    direction = direction / direction.abs().amax(dim=-1, keepdim=True)
    steps = direction[:, None, None] * torch.arange(1.0, points + 1)[:, None]  # (h, 1, P, 2)
    repetitions = offsets.out_features // steps.numel()
    nn.init.zeros_(offsets.weight)
    offsets.bias.data.copy_(steps.repeat(1, repetitions, 1, 1).flatten())
    nn.init.zeros_(weights.weight)
    nn.init.zeros_(weights.bias)


def initialize_projection(layer: nn.Linear) -> None:
    """Xavier-uniform weight, no bias."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)


class DeformableAttention(nn.Module):
    """Queries read the bird's-eye view around their reference points; adds its input (official `CustomMSDeformable`).

    Args:
        dims: channels.
        heads: h.
        dropout: probability, on the output.
        points: P for each head.
    """

    def __init__(self, dims: int, heads: int, dropout: float, points: int = 4) -> None:
        super().__init__()
        self.layout = (heads, points)
        self.sampling_offsets = nn.Linear(dims, heads * points * 2)
        self.attention_weights = nn.Linear(dims, heads * points)
        self.value_proj = nn.Linear(dims, dims)
        self.output_proj = nn.Linear(dims, dims)
        self.dropout = nn.Dropout(dropout)

    def reset_parameters(self) -> None:
        """Official initialization."""
        initialize_sampling(self.sampling_offsets, self.attention_weights, *self.layout)
        initialize_projection(self.value_proj)
        initialize_projection(self.output_proj)

    def forward(
        self, query: Tensor, query_pos: Tensor, bev: Tensor, shape: tuple[int, int], reference: Tensor
    ) -> Tensor:
        """Attend.

        Args:
            query: (B, Q, C).
            query_pos: (B, Q, C) positional part, not carried on.
            bev: (B, H * W, C).
            shape: (H, W).
            reference: (B, Q, 2) locations around which to look.

        Returns:
            (B, Q, C).
        """
        placed = query + query_pos
        extent = query.new_tensor((shape[1], shape[0]))
        offsets = self.sampling_offsets(placed).view(*query.shape[:2], *self.layout, 2) / extent
        weights = self.attention_weights(placed).view(*query.shape[:2], *self.layout).softmax(dim=-1)
        values = self.value_proj(bev).view(*bev.shape[:2], self.layout[0], -1)
        read = read_points(values, shape, reference[:, :, None, None] + offsets, weights)
        out: Tensor = self.dropout(self.output_proj(read)) + query
        return out
