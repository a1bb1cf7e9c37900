"""Encoder, pixel decoder and mask head of OccFormer against their description, written out step by step.

The whole network is compared with official numbers in `test_occformer_parity.py`; these small cuts need no minute.
"""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from al_lightning.models.occformer.dual_path import DualPathBlock, DualPathEncoder
from al_lightning.models.occformer.head import MaskHead
from al_lightning.models.occformer.layers import sine_positions
from al_lightning.models.occformer.pixel_decoder import PixelDecoder

DIMS, HEADS = 24, 4
COARSE = [(2, 3, 1), (4, 5, 2), (5, 7, 3)]
FINE = (10, 13, 6)


def alive(module: nn.Module) -> nn.Module:
    """Every parameter random: none is a constant that hides what it multiplies."""
    g = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        scale = 1 / math.sqrt(parameter[0].numel()) if parameter.dim() > 1 else 0.5
        parameter.data = scale * torch.randn(parameter.shape, generator=g)
    return module.eval().requires_grad_(False)


def volumes(channels: int, shapes: list[tuple[int, int, int]], B: int = 2) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return [torch.randn(B, channels, *shape, generator=g) for shape in shapes]


def agree(ours: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(ours, expected, atol=2e-5, rtol=2e-5)


def pyramid(aspp: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """1x1, three dilations and the mean; joined."""
    maps = [aspp.aspp1.bn(F.conv2d(x, aspp.aspp1.atrous_conv.weight))]
    for branch, rate in ((aspp.aspp2, 6), (aspp.aspp3, 12), (aspp.aspp4, 18)):
        maps.append(branch.bn(F.conv2d(x, branch.atrous_conv.weight, padding=rate, dilation=rate)))
    _, conv, norm, _ = aspp.global_avg_pool
    maps.append(norm(F.conv2d(x.mean(dim=(2, 3), keepdim=True), conv.weight)).expand_as(x))
    return aspp.bn1(F.conv2d(torch.cat([m.relu() for m in maps], dim=1), aspp.conv1.weight)).relu()


@pytest.mark.parametrize(("channels", "stride", "shifted"), [((32, 32), 1, True), ((32, 64), 2, False)])
def test_a_block_of_the_encoder(channels: tuple[int, int], stride: int, shifted: bool) -> None:
    block = alive(DualPathBlock(*channels, stride, shifted))
    (volume,) = volumes(channels[0], [(9, 8, 4)])
    x = block.input_conv[1](F.conv3d(volume, block.input_conv[0].weight, stride=stride, padding=1)).relu()
    above = block.bev_encoder(x.mean(dim=4))
    narrow = block.aspp.input_conv[1](F.conv2d(above, block.aspp.input_conv[0].weight)).relu()
    narrow = narrow + pyramid(block.aspp.aspp, narrow)
    above = above + block.aspp.output_conv[1](F.conv2d(narrow, block.aspp.output_conv[0].weight)).relu()
    skipped = volume
    if stride > 1:
        skipped = block.downsample[1](F.conv3d(volume, block.downsample[0].weight, stride=stride))
    out = block(volume)
    for z in range(out.shape[-1]):
        slice_ = block.bev_encoder(x[..., z])
        gate = F.conv2d(slice_, block.combine_coeff.weight[..., 0], block.combine_coeff.bias)
        agree(out[..., z], slice_ + above / (1 + (-gate).exp()) + skipped[..., z])


def test_every_second_block_of_the_encoder_is_shifted_and_the_stages_halve() -> None:
    encoder = alive(DualPathEncoder((32, 32, 64)))
    (volume,) = volumes(32, [(8, 10, 4)], B=1)
    outputs = encoder(volume)
    assert [tuple(out.shape[1:]) for out in outputs] == [(32, 8, 10, 4), (32, 4, 5, 2), (64, 2, 3, 1)]
    for stage, (before, after) in enumerate(itertools.pairwise([volume, *outputs])):
        blocks = [DualPathBlock(before.shape[1], after.shape[1], 2 if stage else 1, False),
                  DualPathBlock(after.shape[1], after.shape[1], 1, True)]  # fmt: skip
        for block, own in zip(blocks, encoder.layers[stage], strict=True):
            block.load_state_dict(own.state_dict())
        agree(after, nn.Sequential(*blocks).eval()(before))


def deformable(attention: nn.Module, query: torch.Tensor, pos: torch.Tensor) -> torch.Tensor:
    """Each voxel reads points around its own place in every level; the position is no part of the value."""
    B, voxels = query.shape[:2]
    offsets = attention.sampling_offsets(query + pos).view(B, voxels, HEADS, 3, 4, 3)  # z, y, x
    weights = attention.attention_weights(query + pos).view(B, voxels, HEADS, 12).softmax(-1).view(B, -1, HEADS, 3, 4)
    values = attention.value_proj(query).split([math.prod(shape) for shape in COARSE], dim=1)
    places = [
        [(z + 0.5) / Z, (y + 0.5) / Y, (x + 0.5) / X]
        for X, Y, Z in COARSE
        for x, y, z in itertools.product(range(X), range(Y), range(Z))
    ]
    read = torch.zeros(B, voxels, HEADS, DIMS // HEADS)
    for level, (X, Y, Z) in enumerate(COARSE):
        at = torch.tensor(places)[:, None, None] + offsets[:, :, :, level] / torch.tensor([Z, Y, X])
        for head in range(HEADS):
            volume = values[level].view(B, X, Y, Z, HEADS, -1)[..., head, :].permute(0, 4, 1, 2, 3)
            grid = 2 * at[:, :, head].unsqueeze(1) - 1
            found = F.grid_sample(volume, grid, align_corners=False)[:, :, 0]  # (B, C, voxels, points)
            read[:, :, head] += (found * weights[:, None, :, head, level]).sum(-1).transpose(1, 2)
    return query + attention.output_proj(read.flatten(2))


def feed_forward(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    inner, outer = block.layers[0][0], block.layers[1]
    return x + F.linear(F.linear(x, inner.weight, inner.bias).relu(), outer.weight, outer.bias)


def test_the_pixel_decoder() -> None:
    decoder = alive(PixelDecoder((16, 32, 8, 24), DIMS, HEADS, 40, layers=2))
    coarse = [volumes(channels, [shape])[0] for channels, shape in zip((24, 8, 32), COARSE, strict=True)]
    (fine,) = volumes(16, [FINE])
    rows, positions = [], []
    for level, volume in enumerate(coarse):
        conv = decoder.input_convs[level]
        rows.append(conv.gn(F.conv3d(volume, conv.conv.weight, conv.conv.bias)).flatten(2).transpose(1, 2))
        positions.append(sine_positions(COARSE[level], DIMS // 3) + decoder.level_encoding.weight[level])
    query = torch.cat(rows, dim=1)
    for layer in decoder.encoder.layers:
        query = layer.norms[0](deformable(layer.attentions[0], query, torch.cat(positions)))
        query = layer.norms[1](feed_forward(layer.ffns[0], query))
    parts = query.split([math.prod(shape) for shape in COARSE], dim=1)
    memories = [part.transpose(1, 2).unflatten(2, shape) for part, shape in zip(parts, COARSE, strict=True)]
    lateral, merge = decoder.lateral_convs[0], decoder.output_convs[0]
    merged = lateral.gn(F.conv3d(fine, lateral.conv.weight))
    merged = merged + F.interpolate(memories[2], size=FINE, mode="trilinear", align_corners=False)
    merged = merge.gn(F.conv3d(merged, merge.conv.weight, padding=1)).relu()
    features, found = decoder([fine, *reversed(coarse)])
    for ours, expected in zip(found, memories, strict=True):
        agree(ours, expected)
    agree(features, F.conv3d(merged, decoder.mask_feature.weight, decoder.mask_feature.bias))


def attend(attn: nn.MultiheadAttention, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, blocked=None):
    """Multi-head attention; `blocked` (B, Q, S)."""
    parts = zip((q, k, v), attn.in_proj_weight.chunk(3), attn.in_proj_bias.chunk(3), strict=True)
    q, k, v = (F.linear(x, weight, bias).unflatten(2, (HEADS, -1)) for x, weight, bias in parts)
    scores = torch.einsum("bqhc,bshc->bhqs", q, k) / math.sqrt(DIMS // HEADS)
    if blocked is not None:
        scores = scores.masked_fill(blocked[:, None], -torch.inf)
    return attn.out_proj(torch.einsum("bhqs,bshc->bqhc", scores.softmax(-1), v).flatten(2))


def test_the_mask_head() -> None:
    head = alive(MaskHead(num_classes=3, queries=7, dims=DIMS, heads=HEADS, hidden=40, layers=4))
    features, memories = volumes(DIMS, [FINE])[0], volumes(DIMS, COARSE)
    decoder = head.transformer_decoder
    query, pos = head.query_feat.weight.expand(2, -1, -1), head.query_embed.weight

    def predict(query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        normed = decoder.post_norm(query)
        first, _, second, _, third = head.mask_embed
        mask = third(second(first(normed).relu()).relu())
        return head.cls_embed(normed), torch.einsum("bqc,bcxyz->bqxyz", mask, features)

    expected = [predict(query)]
    for number, layer in enumerate(decoder.layers):
        level = number % 3
        value = memories[level].flatten(2).transpose(1, 2) + head.level_embed.weight[level]
        key = value + sine_positions(COARSE[level], DIMS // 3)
        blocked = F.adaptive_max_pool3d(expected[-1][1], COARSE[level]).flatten(2).sigmoid() < 0.5
        blocked = blocked & ~blocked.all(-1, keepdim=True)
        query = layer.norms[0](query + attend(layer.attentions[0].attn, query + pos, key, value, blocked))
        query = layer.norms[1](query + attend(layer.attentions[1].attn, query + pos, query + pos, query))
        query = layer.norms[2](feed_forward(layer.ffns[0], query))
        expected.append(predict(query))
    stages = head(features, memories)
    assert len(stages.class_logits) == 5
    for ours, (classes, masks) in zip(zip(stages.class_logits, stages.mask_logits, strict=True), expected, strict=True):
        agree(ours[0], classes)
        agree(ours[1], masks)
