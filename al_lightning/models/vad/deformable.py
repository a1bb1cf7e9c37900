"""Deformable attention: every query reads a few points of a feature map.

Locations are fractions of the map's width and height, (0, 0) its top left corner.

Shape letters: B samples, M maps of each, H W cells of a map, Q queries, S of them near a map, Z anchors of one there,
h heads, d channels of a head, P points.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from al_lightning.models.vad.attention_kernel import read_beside
from al_lightning.models.vad.dropout import Dropout
from al_lightning.models.vad.linear import Linear, fused

FEW = 16
"""Cells a query from which on it is faster, without gradient on the CPU, to project what was read than all cells."""


def read_around(
    values: Tensor,
    shape: tuple[int, int],
    anchors: Tensor,
    offsets: Tensor,
    scores: Tensor,
    queries: Tensor | None = None,
    near: Tensor | None = None,
) -> Tensor:
    """Every query reads points around its anchors in the maps and sums them up, over the maps as well.

    Float32 on the CPU goes through `read_beside` where no gradient is wanted, all else through `read_points`.

    Args:
        values: (B, M, H * W, h, d) feature maps, row by row; or (B, 1, H * W, h, d), M times the same.
        shape: (H, W).
        anchors: (B, M, S, Z, 2) = (x, y); point p lies beside anchor p mod Z.
        offsets: (B, Q, h, M, P, 2) from the anchors, in cells; or (B, Q, h, 1, P, 2), the same in all maps.
        scores: (B, Q, h, M, P) or (B, Q, h, 1, P); points weigh as the softmax of P says.
        queries: (B, M, S) int64, whose anchors they are, none twice in a map; None for those of all queries in order.
        near: (B, M, S) bool, the others are not looked at; None for all.

    Returns:
        (B, Q, h * d).
    """
    if fused(values, anchors, offsets, scores):
        return read_beside(values, shape, anchors, offsets, scores, queries, near)
    B, M = anchors.shape[:2]
    Q = offsets.shape[1]
    offsets = (offsets / anchors.new_tensor((shape[1], shape[0]))).movedim(3, 1).expand(-1, M, -1, -1, -1, -1)
    weights = scores.softmax(dim=-1).movedim(3, 1).expand(-1, M, -1, -1, -1)
    if queries is not None:
        offsets, weights = _pick(offsets, queries), _pick(weights, queries)
    if near is not None:
        weights = weights * near[..., None, None]
    repeated = anchors.repeat(1, 1, 1, offsets.shape[-2] // anchors.shape[3], 1)
    locations = repeated[:, :, :, None] + offsets
    values = values.expand(-1, M, -1, -1, -1)
    read = read_points(values.flatten(0, 1), shape, locations.flatten(0, 1), weights.flatten(0, 1))
    read = read.view(B, M, *read.shape[1:])
    if queries is not None:
        places = queries[..., None].expand_as(read)
        read = read.new_zeros(B, M, Q, read.shape[-1]).scatter(2, places, read)
    total: Tensor = read.sum(dim=1)
    return total


def _pick(x: Tensor, queries: Tensor) -> Tensor:
    """(B, M, Q, ...) to (B, M, S, ...)."""
    return x.gather(2, queries.view(*queries.shape, *(1,) * (x.dim() - 3)).expand(-1, -1, -1, *x.shape[3:]))


def read_points(values: Tensor, shape: tuple[int, int], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples; outside of the map lie zeros.

    Args:
        values: (B, H * W, h, d) feature maps, row by row; here B counts maps.
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
        self.sampling_offsets = Linear(dims, heads * points * 2)
        self.attention_weights = Linear(dims, heads * points)
        self.value_proj = Linear(dims, dims)
        self.output_proj = Linear(dims, dims)
        self.dropout = Dropout(dropout)

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
        placed, (heads, points) = query + query_pos, self.layout
        offsets = self.sampling_offsets(placed).view(*query.shape[:2], heads, 1, points, 2)
        scores = self.attention_weights(placed).view(*query.shape[:2], heads, 1, points)
        if FEW * query.shape[1] <= bev.shape[1] and fused(query, bev, self.value_proj.weight):
            read = self._read_few(bev, shape, reference, offsets, scores)
        else:
            values = self.value_proj(bev).view(len(bev), 1, bev.shape[1], heads, -1)
            read = read_around(values, shape, reference[:, None, :, None], offsets, scores)
        out: Tensor = self.dropout(self.output_proj(read)) + query
        return out

    def _read_few(
        self, bev: Tensor, shape: tuple[int, int], reference: Tensor, offsets: Tensor, scores: Tensor
    ) -> Tensor:
        """Cells are read as they are, each head a query of its own, and what was read is projected: all is linear."""
        (B, Q, heads), C = offsets.shape[:3], bev.shape[2]
        around = reference.repeat_interleave(heads, dim=1)[:, None, :, None]
        asked = around, offsets.flatten(1, 2)[:, :, None], scores.flatten(1, 2)[:, :, None]
        read = read_around(bev[:, None, :, None], shape, *asked).view(B, Q, heads, C)
        inside = read_around(bev.new_ones(B, 1, bev.shape[1], 1, 1), shape, *asked).view(B, Q, heads, 1)
        weight, bias = self.value_proj.weight.view(heads, -1, C), self.value_proj.bias.view(heads, -1)
        return (torch.einsum("bqhc,hdc->bqhd", read, weight) + inside * bias).flatten(2)
