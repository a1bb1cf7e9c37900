"""Fitting the scene encoder to the labeled scenes of a cycle, beside PyTorch's own transformer layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from al_lightning.acquisition import SceneRepresentation
from al_lightning.losses import SafetyContrastive, safety_contrastive
from al_lightning.models import SceneEncoder
from al_lightning.types import Summary
from benchmarks.harness import Result, interleaved

SCENES, HORIZON, LR = 70, 5, 1e-3


def run(full: bool) -> list[Result]:
    """The paper's 3000 epochs, or a few."""
    epochs = 3000 if full else 30
    generator = torch.Generator().manual_seed(0)
    error = torch.randn(SCENES, HORIZON, 2, generator=generator)
    safety = torch.rand(SCENES, HORIZON, generator=generator)
    scenes = Summary(torch.arange(SCENES), {"error_window": error, "safety": safety})
    encoder = SceneEncoder(HORIZON)
    peer = _Plain(encoder)
    with torch.inference_mode():
        torch.testing.assert_close(encoder.eval()(error), peer.eval()(error), rtol=1e-4, atol=1e-5)
    ours = SceneRepresentation(encoder, SafetyContrastive(), epochs=epochs, lr=LR)
    times = interleaved(
        lambda: ours.fit(scenes, generator),
        lambda: _fit(peer, error, safety, epochs),
        rounds=1 if full else 3,
    )
    return [Result(f"{epochs} epochs of {SCENES} scenes", *times, "nn.TransformerEncoderLayer")]


class _Plain(nn.Module):
    """The same network of the same weights."""

    def __init__(self, encoder: SceneEncoder) -> None:
        super().__init__()
        self.embed, self.position, self.project = encoder.embed, encoder.position, encoder.project
        self.layers = nn.ModuleList(_plain_layer(layer) for layer in encoder.layers)

    def forward(self, error: Tensor) -> Tensor:
        """(B, H, 2) to (B, D)."""
        steps = self.embed(error) + self.position
        for layer in self.layers:
            steps = layer(steps)
        return F.normalize(self.project(steps[:, -1]), dim=1)


def _plain_layer(layer: nn.Module) -> nn.Module:
    attention = layer.attention
    parts = attention.query, attention.key, attention.value
    rows, dropout = attention.query.weight, attention.dropout.p
    plain = nn.TransformerEncoderLayer(len(rows), attention.heads, len(rows), dropout, batch_first=True)
    with torch.no_grad():
        plain.self_attn.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        biases = attention.query.bias, torch.zeros(len(rows)), attention.value.bias
        plain.self_attn.in_proj_bias.copy_(torch.cat(biases))
    plain.self_attn.out_proj.load_state_dict(attention.out.state_dict())
    linears = [module for module in layer.feedforward if isinstance(module, nn.Linear)]
    for target, source in zip((plain.linear1, plain.linear2), linears, strict=True):
        target.load_state_dict(source.state_dict())
    for target, source in zip((plain.norm1, plain.norm2), layer.norms, strict=True):
        target.load_state_dict(source.state_dict())
    return plain


def _fit(network: nn.Module, error: Tensor, safety: Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(network.train().parameters(), lr=LR)
    for _ in range(epochs):
        loss = safety_contrastive(network(error), safety)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
