"""Scene encoder of the planning paper: an error pattern to a point on the unit sphere (appendix A.1).

Shape letters: B scenes, H steps of the error pattern, C channels, N heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SceneEncoder(nn.Module):
    """A small transformer over the steps of an error pattern.

    Each step passes two linear layers with ReLU, gets a learned embedding of its position, and then transformer layers
    (attention and feed-forward, each followed by a residual sum and layer normalization). The last step is projected by
    a linear layer and brought to length 1.

    The paper gives neither the width of the feed-forward layers (here that of all its hidden features) nor the dropout
    rate. All randomness is in `nn.Dropout` modules, also that of the attention weights: stochastic passes are those in
    which these modules alone are in training mode.

    Args:
        horizon: H.
        channels: C, hidden size.
        dim: size of the embedding.
        layers: number of transformer layers.
        heads: N, attention heads; divides C.
        feedforward: width of the feed-forward layers.
        dropout: rate of dropout after attention and feed-forward, on hidden units and on attention weights.
        attention_dropout: drop attention weights; if not, neither stochastic passes nor training do.
        normalize: embeddings have length 1, as appendix A says, for S, R and U, too. If not, these measure the paper's
            "original-scale" ones, and the loss (`SafetyContrastive`) alone looks at directions.

    Raises:
        ValueError: a size is not positive, the heads do not divide the channels, or dropout lies outside [0, 1).
    """

    def __init__(
        self,
        horizon: int = 5,
        channels: int = 128,
        dim: int = 128,
        layers: int = 2,
        heads: int = 4,
        feedforward: int = 128,
        dropout: float = 0.1,
        attention_dropout: bool = True,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        if min(horizon, channels, dim, layers, heads, feedforward) < 1 or channels % heads or not 0 <= dropout < 1:
            raise ValueError(
                "sizes must be positive, heads divide channels and dropout lie in [0, 1), got "
                f"horizon {horizon}, channels {channels}, dim {dim}, layers {layers}, heads {heads}, "
                f"feedforward {feedforward}, dropout {dropout}"
            )
        self.embed = nn.Sequential(nn.Linear(2, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU())
        self.position = nn.Parameter(torch.empty(horizon, channels))
        self.layers = nn.ModuleList(
            _Layer(channels, heads, feedforward, dropout, attention_dropout) for _ in range(layers)
        )
        self.project = nn.Linear(channels, dim)
        self.normalize = normalize
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the position embeddings anew; the other modules have their own."""
        nn.init.normal_(self.position, std=0.02)

    def forward(self, error: Tensor) -> Tensor:
        """Error patterns (B, H, 2), metres, to embeddings (B, dim).

        Raises:
            ValueError: the pattern has another number of steps.
        """
        if error.dim() != 3 or error.shape[1:] != (len(self.position), 2):
            raise ValueError(f"error patterns must be (B, {len(self.position)}, 2), got {tuple(error.shape)}")
        steps = self.embed(error) + self.position
        *inner, last = self.layers
        for layer in inner:
            steps = layer(steps, steps)
        # Only the last step is read, so the last layer computes no other.
        embedding: Tensor = self.project(last(steps[:, -1:], steps).squeeze(1))
        return F.normalize(embedding, dim=1) if self.normalize else embedding


class _Layer(nn.Module):
    """Transformer layer with normalization after each residual sum, as `nn.TransformerEncoderLayer` has it."""

    def __init__(self, channels: int, heads: int, hidden: int, dropout: float, attention_dropout: bool) -> None:
        super().__init__()
        self.attention = _Attention(channels, heads, dropout if attention_dropout else 0.0)
        self.feedforward = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), _Dropout(dropout), nn.Linear(hidden, channels)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.dropouts = nn.ModuleList(_Dropout(dropout) for _ in range(2))

    def forward(self, queries: Tensor, steps: Tensor) -> Tensor:
        """Steps to compute (B, Q, C) out of all steps (B, H, C), to (B, Q, C)."""
        queries = self.norms[0](queries + self.dropouts[0](self.attention(queries, steps)))
        out: Tensor = self.norms[1](queries + self.dropouts[1](self.feedforward(queries)))
        return out


class _Attention(nn.Module):
    """Multi-head attention.

    Not `nn.MultiheadAttention`: the dropout of its attention weights is no module and so cannot be switched on alone.
    """

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels, bias=False)  # softmax would cancel it
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        self.dropout = _Dropout(dropout)

    def forward(self, queries: Tensor, steps: Tensor) -> Tensor:
        """(B, Q, C) attend to (B, H, C), to (B, Q, C)."""
        out: Tensor = self.out((self._one if queries.shape[1] == 1 else self._all)(queries, steps))
        return out

    def _all(self, queries: Tensor, steps: Tensor) -> Tensor:
        query, key, value = (self._split(part) for part in (self.query(queries), self.key(steps), self.value(steps)))
        weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
        attended: Tensor = self.dropout(weights) @ value
        return attended.transpose(1, 2).flatten(2)

    def _one(self, queries: Tensor, steps: Tensor) -> Tensor:
        """The same for Q = 1, without keys and values of every step.

        Their linear layers are applied to the query, as q . W_k s = (W_k^T q) . s, and to the weighted sum of steps.
        """
        B, C = len(steps), steps.shape[-1]
        key, value = (layer.weight.view(self.heads, -1, C) for layer in (self.key, self.value))
        query = torch.bmm(self.query(queries).view(B, self.heads, -1).transpose(0, 1), key).transpose(0, 1)
        weights: Tensor = self.dropout((torch.bmm(query, steps.transpose(1, 2)) * key.shape[1] ** -0.5).softmax(dim=-1))
        attended = torch.bmm(torch.bmm(weights, steps).transpose(0, 1), value.transpose(1, 2)).transpose(0, 1)
        bias = weights.sum(-1, keepdim=True) * self.value.bias.view(self.heads, -1)
        return (attended + bias).reshape(B, 1, C)

    def _split(self, values: Tensor) -> Tensor:
        """(B, steps, C) to (B, N, steps, C / N)."""
        return values.view(*values.shape[:2], self.heads, -1).transpose(1, 2)


class _Dropout(nn.Dropout):
    """Draws uniform numbers, on a CPU twice as fast as `torch.bernoulli`, which `nn.Dropout` draws."""

    def forward(self, values: Tensor) -> Tensor:
        """Zero a share p of the values and scale the others, in training."""
        if not self.training:
            return values
        # One factor a value, made in place: autograd then sees a single product.
        return values * torch.rand_like(values, requires_grad=False).ge_(self.p).mul_(1 / (1 - self.p))
