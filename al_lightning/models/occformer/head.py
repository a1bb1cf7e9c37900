"""Masks and their classes, and how voxels are classified by them (Mask2Former, arXiv 2112.01527, in volumes).

Shape letters: B samples, L stages, Q queries, C channels, K classes, S voxels of a memory, X Y Z voxels of a mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from al_lightning.models.occformer.layers import sine_positions
from al_lightning.models.vad.layers import Attention, FeedForward
from al_lightning.types import MaskStages

_CHUNK = 10
_LEAST_SCORE = 1e-30


def voxel_scores(class_logits: Tensor, mask_logits: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """How much the masks at a voxel speak for each class: sum_q softmax(class)_qc sigmoid(mask)_q.

    Masks are brought to the size of the labels first, corners aligned. The scores of a voxel do not sum to 1.

    Args:
        class_logits: (B, Q, K + 1), the last one is "no object".
        mask_logits: (B, Q, X, Y, Z).
        shape: voxels of the labels along x, y and z.

    Returns:
        (B, K, *shape) float32.
    """
    shares = class_logits.float().softmax(dim=-1)[..., :-1]
    scores = shares.new_zeros(len(shares), shares.shape[-1], *shape)
    # Some queries at a time: all masks in full size would be 840 MB a sample.
    for first in range(0, shares.shape[1], _CHUNK):
        some = slice(first, first + _CHUNK)
        full = F.interpolate(mask_logits[:, some].float(), size=shape, mode="trilinear", align_corners=True).sigmoid()
        with torch.autocast(full.device.type, enabled=False):
            scores = scores + torch.einsum("bqk,bqxyz->bkxyz", shares[:, some], full)
    return scores


def log_distribution(scores: Tensor) -> Tensor:
    """Scores (B, K, ...) as logits whose softmax over K is the scores divided by their sum.

    That makes a class distribution of them, as entropies and histograms need it, and keeps the order of the classes.
    Where no mask claims a voxel at all, the classes are equally likely.
    """
    scores = scores.clamp(min=_LEAST_SCORE)
    return (scores / scores.sum(dim=1, keepdim=True)).log()


class DecoderLayer(nn.Module):
    """Queries look at a memory where their masks are, then at each other.

    Args:
        dims: C.
        heads: number of heads.
        hidden: channels inside the feed-forward block.
    """

    def __init__(self, dims: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(Attention(dims, heads, dropout=0.0) for _ in range(2))
        self.ffns = nn.ModuleList([FeedForward(dims, hidden, dropout=0.0)])
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(3))

    def forward(self, query: Tensor, query_pos: Tensor, key: Tensor, key_pos: Tensor, blocked: Tensor) -> Tensor:
        """Arguments and result as of `Attention.forward`."""
        query = self.norms[0](self.attentions[0](query, key, query_pos, key_pos, blocked=blocked))
        query = self.norms[1](self.attentions[1](query, query, query_pos, query_pos))
        out: Tensor = self.norms[2](self.ffns[0](query))
        return out


class MaskDecoder(nn.Module):
    """Decoder layers and the norm before each prediction, named as in the official checkpoints.

    Args:
        dims: C.
        heads: number of heads.
        hidden: channels inside the feed-forward blocks.
        layers: their number.
    """

    def __init__(self, dims: int, heads: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(dims, heads, hidden) for _ in range(layers))
        self.post_norm = nn.LayerNorm(dims)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_normal_(parameter)


class MaskHead(nn.Module):
    """Queries to masks and classes (official `Mask2FormerOccHead`).

    Args:
        num_classes: K.
        queries: Q.
        dims: C, a multiple of 6.
        heads: heads of the attention.
        hidden: channels inside the feed-forward blocks.
        layers: decoder layers; there is one stage more.
        levels: memories.
    """

    def __init__(
        self, num_classes: int, queries: int, dims: int, heads: int, hidden: int, layers: int, levels: int = 3
    ) -> None:
        super().__init__()
        self.query_embed = nn.Embedding(queries, dims)
        self.query_feat = nn.Embedding(queries, dims)
        self.level_embed = nn.Embedding(levels, dims)
        self.cls_embed = nn.Linear(dims, num_classes + 1)
        hidden_layers = [layer for _ in range(2) for layer in (nn.Linear(dims, dims), nn.ReLU(inplace=True))]
        self.mask_embed = nn.Sequential(*hidden_layers, nn.Linear(dims, dims))
        self.transformer_decoder = MaskDecoder(dims, heads, hidden, layers)

    def forward(self, mask_features: Tensor, memories: Sequence[Tensor]) -> MaskStages:
        """Find masks.

        Args:
            mask_features: (B, C, X, Y, Z).
            memories: (B, C, ...), the coarsest first; the layers look at them in turn.
        """
        B, dims = mask_features.shape[:2]
        keys = [
            memory.flatten(2).transpose(1, 2) + level
            for memory, level in zip(memories, self.level_embed.weight, strict=True)
        ]
        shapes = [(memory.shape[2], memory.shape[3], memory.shape[4]) for memory in memories]
        positions = [sine_positions(shape, dims // 3, mask_features.device).expand(B, -1, -1) for shape in shapes]
        query = self.query_feat.weight.expand(B, -1, -1)
        query_pos = self.query_embed.weight.expand(B, -1, -1)
        stages = [self._predict(query, mask_features)]
        for number, layer in enumerate(self.transformer_decoder.layers):
            level = number % len(keys)
            outside = _outside(stages[-1][1], shapes[level])
            query = layer(query, query_pos, keys[level], positions[level], outside)
            stages.append(self._predict(query, mask_features))
        classes, masks = zip(*stages, strict=True)
        return MaskStages(torch.stack(classes), torch.stack(masks))

    def _predict(self, query: Tensor, mask_features: Tensor) -> tuple[Tensor, Tensor]:
        """Classes (B, Q, K + 1) and masks (B, Q, X, Y, Z), float32."""
        query = self.transformer_decoder.post_norm(query)
        masks = torch.einsum("bqc,bcxyz->bqxyz", self.mask_embed(query), mask_features)
        return self.cls_embed(query).float(), masks.float()


@torch.no_grad()
def _outside(mask_logits: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Voxels of a memory (B, Q, S) bool that no part of a query's mask touches; none for a query without any mask."""
    outside = F.adaptive_max_pool3d(mask_logits, shape).flatten(2) < 0  # sigmoid below a half
    return outside & ~outside.all(dim=-1, keepdim=True)
