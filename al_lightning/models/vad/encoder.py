"""The bird's-eye-view encoder: cells ask the past, then the cameras.

Shape letters: B samples, N cameras, Y rows and X columns, Q = Y * X cells, C channels, H W feature pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from al_lightning.models.vad.bev_attention import Begun, SpatialCrossAttention, TemporalSelfAttention
from al_lightning.models.vad.layers import FeedForward, Layers
from al_lightning.models.vad.projection import CameraView


class CellPositions(nn.Module):
    """Learned code of a cell: half of the channels tell its column, half its row (`LearnedPositionalEncoding`).

    Args:
        shape: (Y, X).
        dims: C.
    """

    def __init__(self, shape: tuple[int, int], dims: int) -> None:
        super().__init__()
        self.row_embed = nn.Embedding(shape[0], dims // 2)
        self.col_embed = nn.Embedding(shape[1], dims // 2)

    def forward(self) -> Tensor:
        """Codes (Q, C), row by row."""
        rows, columns = self.row_embed.weight, self.col_embed.weight
        Y, X = len(rows), len(columns)
        return torch.cat((columns.expand(Y, -1, -1), rows[:, None].expand(-1, X, -1)), dim=-1).flatten(0, 1)


@dataclass
class Surroundings:
    """What the encoder is given.

    Attributes:
        cells: (B, Q, C) the query.
        positions: (Q, C) codes of the cells.
        shape: (Y, X).
        reference: (B, Q, 2) location of each cell, moved by the ego's way since the previous frame.
        past: (B, 2, Q, C) previous bird's-eye view, turned to the current heading, and `cells`; None for none at all.
        no_past: (B,) bool, samples whose previous view means nothing; None for none of them, or without any past.
        features: (B, N, H * W, C).
        feature_shape: (H, W).
        view: where the cells lie in the images.
    """

    cells: Tensor
    positions: Tensor
    shape: tuple[int, int]
    reference: Tensor
    past: Tensor | None
    no_past: Tensor | None
    features: Tensor
    feature_shape: tuple[int, int]
    view: CameraView


class LayerBegun(NamedTuple):
    """What a layer makes of its surroundings, before any query.

    Attributes:
        time: for the attention over time; None where that depends on the query.
        cameras: (B, N, H * W, h, d) for the attention over the cameras.
    """

    time: Begun | None
    cameras: Tensor


class EncoderBegun(NamedTuple):
    """What no dropout precedes.

    Attributes:
        read: (B, Q, C) what the first layer reads of the past.
        layers: of each layer.
    """

    read: Tensor
    layers: list[LayerBegun]


class EncoderLayer(nn.Module):
    """Attention over time, attention over the cameras, feed-forward; a norm after each.

    Args:
        dims: C.
        heads: number of heads.
        hidden: channels inside the feed-forward block.
        dropout: probability.
    """

    def __init__(self, dims: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(
            [TemporalSelfAttention(dims, heads, dropout), SpatialCrossAttention(dims, heads, dropout)]
        )
        self.ffns = nn.ModuleList([FeedForward(dims, hidden, dropout)])
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(3))

    @property
    def _time(self) -> TemporalSelfAttention:
        return cast(TemporalSelfAttention, self.attentions[0])

    def begin(self, around: Surroundings) -> LayerBegun:
        """What no dropout precedes."""
        cameras = cast(SpatialCrossAttention, self.attentions[1]).deformable_attention
        time = None if around.no_past is not None else self._time.begin(around.positions, around.past)
        return LayerBegun(time, cameras.begin(around.features))

    def read_past(self, query: Tensor, around: Surroundings, begun: LayerBegun) -> Tensor:
        """What the first attention reads (B, Q, C), before dropout."""
        time = begun.time or self._time.begin(around.positions, _slots(query, around))
        return self._time.read(query, time, around.shape, around.reference)

    def forward(self, query: Tensor, read: Tensor, around: Surroundings, begun: LayerBegun) -> Tensor:
        """Query (B, Q, C), and what it reads of the past, to (B, Q, C)."""
        query = self.norms[0](self.attentions[0](query, read))
        query = self.norms[1](self.attentions[1](query, begun.cameras, around.feature_shape, around.view))
        out: Tensor = self.norms[2](self.ffns[0](query))
        return out


class BEVEncoder(Layers):
    """Cells to a bird's-eye view.

    Args:
        layers: number of layers.
        dims: C.
        heads: number of heads.
        hidden: channels inside the feed-forward blocks.
        dropout: probability.
    """

    def __init__(self, layers: int, dims: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__([EncoderLayer(dims, heads, hidden, dropout) for _ in range(layers)])

    def begin(self, around: Surroundings) -> EncoderBegun:
        """What no dropout precedes."""
        layers = cast("list[EncoderLayer]", list(self.layers))
        begun = [layer.begin(around) for layer in layers]
        return EncoderBegun(layers[0].read_past(around.cells, around, begun[0]), begun)

    def forward(self, around: Surroundings, begun: EncoderBegun) -> Tensor:
        """The bird's-eye view (B, Q, C); begun as of `begin`."""
        query, read = around.cells, begun.read
        for number, (layer, kept) in enumerate(zip(self.layers, begun.layers, strict=True)):
            if number:
                read = cast(EncoderLayer, layer).read_past(query, around, kept)
            query = layer(query, read, around, kept)
        return query


def _slots(query: Tensor, around: Surroundings) -> Tensor | None:
    """What the attention over time reads (B, 2, Q, C); None for the query, twice.

    TRAP: with a past it is the past and the first layer's query, in every layer; without, twice the current query.
    """
    if around.past is None or around.no_past is None:
        return around.past
    return torch.where(around.no_past[:, None, None, None], query[:, None], around.past)
