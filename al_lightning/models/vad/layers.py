"""Transformer layers with the official names of their parameters. Every block adds its own input.

Shape letters: B samples, Q queries, S keys, C channels.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from al_lightning.models.vad.attention_kernel import attend, suits
from al_lightning.models.vad.deformable import DeformableAttention
from al_lightning.models.vad.dropout import Dropout
from al_lightning.models.vad.linear import Linear, fused, linear


class Attention(nn.Module):
    """Multi-head attention with positions added to query and key, never to the value.

    Holds two kinds of dropout: a module on the output, and one on the attention probabilities inside ``attn``, which
    follows the flag of ``attn`` itself.

    Args:
        dims: C.
        heads: number of heads.
        dropout: probability of both.
    """

    def __init__(self, dims: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(dims, heads, dropout, batch_first=True)
        self.dropout_layer = Dropout(dropout)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        query_pos: Tensor,
        key_pos: Tensor,
        ignored: Tensor | None = None,
        blocked: Tensor | None = None,
    ) -> Tensor:
        """Arguments and result as of `read`, the query added."""
        return self.add(query, self.read(query, key, query_pos, key_pos, ignored, blocked))

    def add(self, query: Tensor, read: Tensor) -> Tensor:
        """Query (B, Q, C) with what it has `read`."""
        out: Tensor = self.dropout_layer(read) + query
        return out

    def read(
        self,
        query: Tensor,
        key: Tensor,
        query_pos: Tensor,
        key_pos: Tensor,
        ignored: Tensor | None = None,
        blocked: Tensor | None = None,
    ) -> Tensor:
        """What the queries read, before the dropout of the output.

        Args:
            query: (B, Q, C).
            key: (B, S, C), also the value; or (b, S, C), each the keys of B / b queries in a row.
            query_pos: (B, Q, C).
            key_pos: (B, S, C).
            ignored: (B, S) bool, keys that no query may see; None for none.
            blocked: (B, Q, S) bool, keys that a query may not see; None for none.

        Returns:
            (B, Q, C).
        """
        attn, alike = self.attn, len(query) // len(key)
        weights, biases = attn.in_proj_weight.chunk(3), attn.in_proj_bias.chunk(3)
        q = linear(query + query_pos, weights[0], biases[0])
        if alike == 1:
            k = linear(key + key_pos, weights[1], biases[1])
        else:  # the positions alone differ
            k = linear(key_pos, weights[1], None)
            k = k + linear(key, weights[1], biases[1]).repeat_interleave(alike, dim=0)
        v = linear(key, weights[2], biases[2]).repeat_interleave(alike, dim=0)
        dropout, penalty = attn.dropout if attn.training else 0.0, _penalty(q, ignored, blocked)
        if penalty is None and not dropout and fused(q, k, v) and suits(k, attn.num_heads):
            read = attend(q, k, v, attn.num_heads)
        else:
            q, k, v = (x.view(*x.shape[:2], attn.num_heads, -1).transpose(1, 2) for x in (q, k, v))
            read = F.scaled_dot_product_attention(q, k, v, penalty, dropout).transpose(1, 2).flatten(2)
        return linear(read, attn.out_proj.weight, attn.out_proj.bias)

    def read_places(
        self, query: Tensor, key: Tensor, query_pos: Tensor, places: Tensor, codes: nn.Linear, ignored: Tensor
    ) -> Tensor:
        """`read`, of keys that lie elsewhere for every query: key_pos = codes(places).

        Without gradient on the CPU no keys are made of the positions: they add to a score what is linear in the place.

        Args:
            query: (B, Q, C).
            key: (b, S, C), each the keys of B / b queries in a row.
            query_pos: (B, Q, C).
            places: (B, S, 2).
            codes: places to positions.
            ignored: (B, S) bool.

        Returns:
            (B, Q, C).
        """
        attn, heads, S = self.attn, self.attn.num_heads, key.shape[1]
        if attn.training or not fused(query, key, places, attn.in_proj_weight):
            return self.read(query, key, query_pos, codes(places), ignored)
        weights, biases = attn.in_proj_weight.chunk(3), attn.in_proj_bias.chunk(3)
        q = linear(query + query_pos, weights[0], biases[0])
        k = linear(key, weights[1], None)  # biases of the keys raise all scores of a query alike
        v = linear(key, weights[2], biases[2])
        q, k, v = (x.reshape(len(key), -1, heads, x.shape[-1] // heads).transpose(1, 2) for x in (q, k, v))
        slopes = q @ (weights[1] @ codes.weight).view(heads, -1, 2) / math.sqrt(q.shape[-1])
        slopes = slopes.view(len(key), heads, -1, query.shape[1], 2)  # (b, h, B / b, Q, 2)
        x, y = places.view(len(key), 1, -1, 1, S, 2).movedim(-1, 0).contiguous()
        hidden = x.new_zeros(x.shape).masked_fill(ignored.view_as(x), -torch.inf)
        scores = torch.addcmul(hidden, slopes[..., :1], x)
        scores = torch.addcmul(scores, slopes[..., 1:], y)
        read = F.scaled_dot_product_attention(q, k, v, scores.flatten(2, 3))
        return linear(read.transpose(1, 2).flatten(2), attn.out_proj.weight, attn.out_proj.bias).view_as(query)


def _penalty(like: Tensor, ignored: Tensor | None, blocked: Tensor | None) -> Tensor | None:
    """What is added to scores: (B, 1, Q or 1, S), minus infinity for keys that may not be seen."""
    hidden = None if blocked is None else blocked[:, None]
    if ignored is not None:
        hidden = ignored[:, None, None] if hidden is None else hidden | ignored[:, None, None]
    if hidden is None:
        return None
    return like.new_zeros(hidden.shape).masked_fill(hidden, -torch.inf)


class FeedForward(nn.Module):
    """Two linear layers with ReLU and dropout.

    Args:
        dims: C.
        hidden: channels between them.
        dropout: probability, after each.
    """

    def __init__(self, dims: int, hidden: int, dropout: float) -> None:
        super().__init__()
        first = nn.Sequential(Linear(dims, hidden), nn.ReLU(inplace=True), Dropout(dropout))
        self.layers = nn.Sequential(first, Linear(hidden, dims), Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """(B, Q, C) to (B, Q, C)."""
        out: Tensor = self.layers(x) + x
        return out


class DecoderLayer(nn.Module):
    """Queries look at each other, then at the bird's-eye view.

    Args:
        dims: C.
        heads: number of heads.
        hidden: channels inside the feed-forward block.
        dropout: probability.
    """

    def __init__(self, dims: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([Attention(dims, heads, dropout), DeformableAttention(dims, heads, dropout)])
        self.ffns = nn.ModuleList([FeedForward(dims, hidden, dropout)])
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(3))

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor,
        bev: Tensor,
        shape: tuple[int, int],
        reference: Tensor,
        begun: Tensor | None = None,
    ) -> Tensor:
        """Arguments and result as of `DeformableAttention.forward`; begun as of `RefiningDecoder.begin`."""
        attention = cast(Attention, self.attentions[0])
        if begun is None or attention.attn.training:
            begun = attention.read(query, query, query_pos, query_pos)
        query = self.norms[0](attention.add(query, begun.expand_as(query)))
        query = self.norms[1](self.attentions[1](query, query_pos, bev, shape, reference))
        out: Tensor = self.norms[2](self.ffns[0](query))
        return out


class InteractionLayer(nn.Module):
    """Queries look at keys of another kind.

    Args:
        dims: C.
        heads: number of heads.
        hidden: channels inside the feed-forward block.
        dropout: probability.
    """

    def __init__(self, dims: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([Attention(dims, heads, dropout)])
        self.ffns = nn.ModuleList([FeedForward(dims, hidden, dropout)])
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(2))

    def forward(self, query: Tensor, read: Tensor) -> Tensor:
        """Query (B, Q, C), with what its attention read, to (B, Q, C)."""
        query = self.norms[0](cast(Attention, self.attentions[0]).add(query, read))
        out: Tensor = self.norms[1](self.ffns[0](query))
        return out


class Layers(nn.Module):
    """Layers in a row, named as in the official checkpoints: ``decoder.layers.0``."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


def classifier(dims: int, classes: int) -> nn.Sequential:
    """Two hidden layers with norm, then class scores that start at a probability of 0.01."""
    hidden = [layer for _ in range(2) for layer in (Linear(dims, dims), nn.LayerNorm(dims), nn.ReLU(inplace=True))]
    last = Linear(dims, classes)
    nn.init.constant_(last.bias, -4.59511985)
    return nn.Sequential(*hidden, last)


def regressor(dims: int, outputs: int) -> nn.Sequential:
    """Two hidden layers, then numbers."""
    hidden = [layer for _ in range(2) for layer in (Linear(dims, dims), nn.ReLU())]
    return nn.Sequential(*hidden, Linear(dims, outputs))
