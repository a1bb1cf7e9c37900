"""The two attentions of the bird's-eye-view encoder: over time and over the cameras.

Shape letters: B samples, N cameras, Q cells, C channels, h heads, P points, Z heights of a cell, H W feature pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from al_lightning.models.vad.deformable import initialize_projection, initialize_sampling, read_around
from al_lightning.models.vad.dropout import Dropout
from al_lightning.models.vad.linear import Linear
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
        self.sampling_offsets = Linear(SLOTS * dims, heads * SLOTS * points * 2)
        self.attention_weights = Linear(SLOTS * dims, heads * SLOTS * points)
        self.value_proj = Linear(dims, dims)
        self.output_proj = Linear(dims, dims)
        self.dropout = Dropout(dropout)

    def reset_parameters(self) -> None:
        """Official initialization."""
        initialize_sampling(self.sampling_offsets, self.attention_weights, self.layout[0], self.layout[2])
        initialize_projection(self.value_proj)
        initialize_projection(self.output_proj)

    def read(
        self, query: Tensor, query_pos: Tensor, slots: Tensor, shape: tuple[int, int], reference: Tensor
    ) -> Tensor:
        """What the cells read, before dropout.

        Args:
            query: (B, Q, C).
            query_pos: (Q, C).
            slots: (B, 2, Q, C) what is read.
            shape: rows and columns of the bird's-eye view.
            reference: (B, Q, 2) location of each cell, the same in both slots.

        Returns:
            (B, Q, C).
        """
        B, Q, _ = query.shape
        both = torch.cat((slots[:, 0], query + query_pos), dim=-1)
        offsets = self.sampling_offsets(both).view(B, Q, *self.layout, 2)
        scores = self.attention_weights(both).view(B, Q, *self.layout)  # weights of a slot's points add up to 1
        values = self.value_proj(slots).view(B, SLOTS, Q, self.layout[0], -1)
        anchors = reference[:, None, :, None].expand(-1, SLOTS, -1, -1, -1)
        out: Tensor = self.output_proj(read_around(values, shape, anchors, offsets, scores) / SLOTS)
        return out

    def forward(self, query: Tensor, read: Tensor) -> Tensor:
        """Query (B, Q, C) with what it `read`."""
        out: Tensor = self.dropout(read) + query
        return out


class CameraAttention(nn.Module):
    """Every cell reads the features of the cameras that see it around its projected heights.

    Args:
        dims: C.
        heads: h.
        points: P for each head; point p belongs to height p mod Z.
    """

    def __init__(self, dims: int, heads: int, points: int = 8) -> None:
        super().__init__()
        self.layout = (heads, points)
        self.sampling_offsets = Linear(dims, heads * points * 2)
        self.attention_weights = Linear(dims, heads * points)
        self.value_proj = Linear(dims, dims)

    def reset_parameters(self) -> None:
        """Official initialization."""
        initialize_sampling(self.sampling_offsets, self.attention_weights, *self.layout)
        initialize_projection(self.value_proj)

    def forward(self, query: Tensor, features: Tensor, shape: tuple[int, int], view: CameraView) -> Tensor:
        """Arguments as of `SpatialCrossAttention.forward`; the sum over the cameras (B, Q, C), nothing added."""
        B, Q, _ = query.shape
        heads, points = self.layout
        offsets = self.sampling_offsets(query).view(B, Q, heads, 1, points, 2)
        scores = self.attention_weights(query).view(B, Q, heads, 1, points)
        values = self.value_proj(features).view(*features.shape[:3], heads, -1)
        return read_around(values, shape, view.anchors, offsets, scores, view.cells, view.seen)


class SpatialCrossAttention(nn.Module):
    """Every cell averages what the cameras that see it show there.

    Args:
        dims: C.
        heads: h.
        dropout: probability, on the output.
    """

    def __init__(self, dims: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.deformable_attention = CameraAttention(dims, heads)
        self.output_proj = Linear(dims, dims)

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
        total = self.deformable_attention(query, features, shape, view)
        # Cells that no camera sees still get the bias of the projection.
        out: Tensor = self.dropout(self.output_proj(total / view.cameras[..., None])) + query
        return out
