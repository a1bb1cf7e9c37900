"""The two attentions of the bird's-eye-view encoder: over time and over the cameras.

Shape letters: B samples, N cameras, Q cells, C channels, h heads, P points, Z heights of a cell, H W feature pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from al_lightning.models.vad.deformable import initialize_projection, initialize_sampling, read_points
from al_lightning.models.vad.projection import CameraView

SLOTS = 2
"""Bird's-eye views that the attention over time reads: the previous one and the current query."""


class TemporalSelfAttention(nn.Module):
    """Every cell reads the previous bird's-eye view and the current query around itself.

    Args:
        dims: C.
        heads: h.
        dropout: probability, on the output.
        points: P for each head and slot.
    """

    def __init__(self, dims: int, heads: int, dropout: float, points: int = 4) -> None:
        super().__init__()
        self.layout = (heads, SLOTS, points)
        self.sampling_offsets = nn.Linear(SLOTS * dims, heads * SLOTS * points * 2)
        self.attention_weights = nn.Linear(SLOTS * dims, heads * SLOTS * points)
        self.value_proj = nn.Linear(dims, dims)
        self.output_proj = nn.Linear(dims, dims)
        self.dropout = nn.Dropout(dropout)

    def reset_parameters(self) -> None:
        """Official initialization."""
        initialize_sampling(self.sampling_offsets, self.attention_weights, self.layout[0], self.layout[2])
        initialize_projection(self.value_proj)
        initialize_projection(self.output_proj)

    def forward(
        self, query: Tensor, query_pos: Tensor, slots: Tensor, shape: tuple[int, int], reference: Tensor
    ) -> Tensor:
        """Attend.

        Args:
            query: (B, Q, C).
            query_pos: (Q, C).
            slots: (B, 2, Q, C) what is read.
            shape: rows and columns of the bird's-eye view.
            reference: (B, Q, 2) location of each cell, the same in both slots.

        Returns:
            (B, Q, C).
        """
        B, Q, C = query.shape
        heads = self.layout[0]
        both = torch.cat((slots[:, 0], query + query_pos), dim=-1)
        extent = query.new_tensor((shape[1], shape[0]))
        offsets = self.sampling_offsets(both).view(B, Q, *self.layout, 2) / extent
        # Each slot has its own softmax over its points.
        weights = self.attention_weights(both).view(B, Q, *self.layout).softmax(dim=-1)
        locations = reference[:, :, None, None, None] + offsets
        values = self.value_proj(slots).view(B * SLOTS, Q, heads, -1)
        per_slot = read_points(
            values, shape, locations.movedim(3, 1).flatten(0, 1), weights.movedim(3, 1).flatten(0, 1)
        )
        read = per_slot.view(B, SLOTS, Q, C).mean(dim=1)
        out: Tensor = self.dropout(self.output_proj(read)) + query
        return out


class CameraAttention(nn.Module):
    """Every cell reads one camera's features around its projected heights; named ``deformable_attention``.

    Args:
        dims: C.
        heads: h.
        points: P for each head; point p belongs to height p mod Z.
    """

    def __init__(self, dims: int, heads: int, points: int = 8) -> None:
        super().__init__()
        self.layout = (heads, points)
        self.sampling_offsets = nn.Linear(dims, heads * points * 2)
        self.attention_weights = nn.Linear(dims, heads * points)
        self.value_proj = nn.Linear(dims, dims)

    def reset_parameters(self) -> None:
        """Official initialization."""
        initialize_sampling(self.sampling_offsets, self.attention_weights, *self.layout)
        initialize_projection(self.value_proj)

    def forward(self, query: Tensor, features: Tensor, shape: tuple[int, int], anchors: Tensor) -> Tensor:
        """Attend; B counts cameras here.

        Args:
            query: (B, Q, C).
            features: (B, H * W, C).
            shape: (H, W).
            anchors: (B, Q, Z, 2) where the heights lie in the image, fractions of its width and height.

        Returns:
            (B, Q, C), nothing added.
        """
        B, Q, _ = query.shape
        heads, points = self.layout
        extent = query.new_tensor((shape[1], shape[0]))
        offsets = self.sampling_offsets(query).view(B, Q, heads, -1, anchors.shape[2], 2) / extent
        weights = self.attention_weights(query).view(B, Q, heads, points).softmax(dim=-1)
        locations = (anchors[:, :, None, None] + offsets).view(B, Q, heads, points, 2)
        values = self.value_proj(features).view(*features.shape[:2], heads, -1)
        return read_points(values, shape, locations, weights)


class SpatialCrossAttention(nn.Module):
    """Every cell averages what the cameras that see it show there.

    Args:
        dims: C.
        heads: h.
        dropout: probability, on the output.
    """

    def __init__(self, dims: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.deformable_attention = CameraAttention(dims, heads)
        self.output_proj = nn.Linear(dims, dims)

    def reset_parameters(self) -> None:
        """Official initialization."""
        initialize_projection(self.output_proj)

    def forward(self, query: Tensor, features: Tensor, shape: tuple[int, int], view: CameraView) -> Tensor:
        """Attend.

        Args:
            query: (B, Q, C) without positional part.
            features: (B, N, H * W, C).
            shape: (H, W).
            view: where the cells lie in the images.

        Returns:
            (B, Q, C).
        """
        B, N = features.shape[:2]
        cells = view.cells[..., None]  # (B, N, S, 1): only the cells that a camera sees are worth its while
        queries = query[:, None].expand(-1, N, -1, -1).gather(2, cells.expand(-1, -1, -1, query.shape[-1]))
        read = self.deformable_attention(
            queries.flatten(0, 1), features.flatten(0, 1), shape, view.anchors.flatten(0, 1)
        )
        read = read.view_as(queries) * view.seen[..., None]
        total = read.new_zeros(B, N, *query.shape[1:]).scatter(2, cells.expand_as(read), read).sum(dim=1)
        # Cells that no camera sees still get the bias of the projection.
        out: Tensor = self.dropout(self.output_proj(total / view.cameras[..., None])) + query
        return out
