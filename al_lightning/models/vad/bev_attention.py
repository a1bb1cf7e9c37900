"""The two attentions of the bird's-eye-view encoder: over time and over the cameras.

Shape letters: B samples, N cameras, Q cells, C channels, h heads, P points, Z heights of a cell, H W feature pixels.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from al_lightning.models.vad.deformable import initialize_projection, initialize_sampling, read_around
from al_lightning.models.vad.dropout import Dropout
from al_lightning.models.vad.linear import Linear, linear
from al_lightning.models.vad.projection import CameraView

SLOTS = 2
"""Bird's-eye views that the attention over time reads: the previous one and the current query."""


class Begun(NamedTuple):
    """What the attention over time makes of positions and the past, before any query.

    Attributes:
        weights: of the query, for offsets and for scores.
        sums: what is added to offsets and to scores, (Q, outputs) or (B, Q, outputs).
        values: (B, 2, Q, h, d) of the slots; None where both slots are the query.
    """

    weights: tuple[Tensor, Tensor]
    sums: tuple[Tensor, Tensor]
    values: Tensor | None


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

    def begin(self, query_pos: Tensor, slots: Tensor | None) -> Begun:
        """What `read` needs beside the query.

        Args:
            query_pos: (Q, C).
            slots: (B, 2, Q, C) what is read; None for the query, twice.
        """
        # Offsets and scores are linear in slot 0 and in query + query_pos, joined: each part goes its own way.
        weights, sums = [], []
        for layer in (self.sampling_offsets, self.attention_weights):
            old, new = layer.weight.chunk(2, dim=1)
            position = linear(query_pos, new, layer.bias)
            weights.append(old + new if slots is None else new)
            sums.append(position if slots is None else position + linear(slots[:, 0], old, None))
        values = None if slots is None else self._values(slots)
        return Begun((weights[0], weights[1]), (sums[0], sums[1]), values)

    def _values(self, slots: Tensor) -> Tensor:
        values: Tensor = self.value_proj(slots)
        return values.view(*slots.shape[:3], self.layout[0], -1)

    def read(self, query: Tensor, begun: Begun, shape: tuple[int, int], reference: Tensor) -> Tensor:
        """What the cells read, before dropout.

        Args:
            query: (B, Q, C).
            begun: as of `begin`.
            shape: rows and columns of the bird's-eye view.
            reference: (B, Q, 2) location of each cell, the same in both slots.

        Returns:
            (B, Q, C).
        """
        moved, scored = (linear(query, weight, None) + add for weight, add in zip(*begun[:2], strict=True))
        offsets = moved.view(*query.shape[:2], *self.layout, 2)
        scores = scored.view(*query.shape[:2], *self.layout)  # weights of a slot's points add up to 1
        values = self._values(query[:, None]) if begun.values is None else begun.values
        anchors = reference[:, None, :, None].expand(-1, SLOTS, -1, -1, -1)
        out: Tensor = self.output_proj(read_around(values, shape, anchors, offsets, scores).div_(SLOTS))
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

    def begin(self, features: Tensor) -> Tensor:
        """Features (B, N, H * W, C) to what is read of them (B, N, H * W, h, d)."""
        values: Tensor = self.value_proj(features)
        return values.view(*features.shape[:3], self.layout[0], -1)

    def forward(self, query: Tensor, values: Tensor, shape: tuple[int, int], view: CameraView) -> Tensor:
        """Arguments as of `SpatialCrossAttention.forward`; the sum over the cameras (B, Q, C), nothing added."""
        B, Q, _ = query.shape
        heads, points = self.layout
        offsets = self.sampling_offsets(query).view(B, Q, heads, 1, points, 2)
        scores = self.attention_weights(query).view(B, Q, heads, 1, points)
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

    def forward(self, query: Tensor, values: Tensor, shape: tuple[int, int], view: CameraView) -> Tensor:
        """Attend.

        Args:
            query: (B, Q, C) without positional part.
            values: (B, N, H * W, h, d) of the cameras, as of `CameraAttention.begin`.
            shape: (H, W).
            view: where the cells lie in the images.

        Returns:
            (B, Q, C).
        """
        total = self.deformable_attention(query, values, shape, view)
        # Cells that no camera sees still get the bias of the projection.
        out: Tensor = self.dropout(self.output_proj(total.div_(view.cameras[..., None]))) + query
        return out
