"""Transformer layers with the official names of their parameters. Every block adds its own input.

Shape letters: B samples, Q queries, S keys, C channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from al_lightning.models.vad.deformable import DeformableAttention


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
        self.dropout_layer = nn.Dropout(dropout)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        query_pos: Tensor,
        key_pos: Tensor,
        ignored: Tensor | None = None,
        blocked: Tensor | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            query: (B, Q, C).
            key: (B, S, C), also the value.
            query_pos: (B, Q, C).
            key_pos: (B, S, C).
            ignored: (B, S) bool, keys that no query may see; None for none.
            blocked: (B, Q, S) bool, keys that a query may not see; None for none.

        Returns:
            (B, Q, C).
        """
        if blocked is not None:
            blocked = blocked.repeat_interleave(self.attn.num_heads, dim=0)
        read, _ = self.attn(
            query + query_pos,
            key + key_pos,
            key,
            key_padding_mask=ignored,
            attn_mask=blocked,
            need_weights=False,
        )
        out: Tensor = self.dropout_layer(read) + query
        return out


class FeedForward(nn.Module):
    """Two linear layers with ReLU and dropout.

    Args:
        dims: C.
        hidden: channels between them.
        dropout: probability, after each.
    """

    def __init__(self, dims: int, hidden: int, dropout: float) -> None:
        super().__init__()
        first = nn.Sequential(nn.Linear(dims, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout))
        self.layers = nn.Sequential(first, nn.Linear(hidden, dims), nn.Dropout(dropout))

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
        self, query: Tensor, query_pos: Tensor, bev: Tensor, shape: tuple[int, int], reference: Tensor
    ) -> Tensor:
        """Arguments and result as of `DeformableAttention.forward`."""
        query = self.norms[0](self.attentions[0](query, query, query_pos, query_pos))
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

    def forward(
        self, query: Tensor, key: Tensor, query_pos: Tensor, key_pos: Tensor, ignored: Tensor | None = None
    ) -> Tensor:
        """Arguments and result as of `Attention.forward`."""
        query = self.norms[0](self.attentions[0](query, key, query_pos, key_pos, ignored))
        out: Tensor = self.norms[1](self.ffns[0](query))
        return out


class Layers(nn.Module):
    """Layers in a row, named as in the official checkpoints: ``decoder.layers.0``."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


def classifier(dims: int, classes: int) -> nn.Sequential:
    """Two hidden layers with norm, then class scores that start at a probability of 0.01."""
    hidden = [layer for _ in range(2) for layer in (nn.Linear(dims, dims), nn.LayerNorm(dims), nn.ReLU(inplace=True))]
    last = nn.Linear(dims, classes)
    nn.init.constant_(last.bias, -4.59511985)
    return nn.Sequential(*hidden, last)


def regressor(dims: int, outputs: int) -> nn.Sequential:
    """Two hidden layers, then numbers."""
    hidden = [layer for _ in range(2) for layer in (nn.Linear(dims, dims), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(dims, outputs))
