"""Deformable attention in volumes: every query reads a few points of several volumes.

Locations are fractions of a volume's height, width and length, in the order (z, y, x), (0, 0, 0) its first corner.

Shape letters: B samples, Q queries, C channels, h heads, d channels of a head, L levels, P points, X Y Z voxels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from al_lightning.models.vad.deformable import initialize_projection

Shape = tuple[int, int, int]


def cell_centers(shapes: Sequence[Shape], device: torch.device | str = "cpu") -> Tensor:
    """Locations (Q, 3) of the centres of the voxels of all levels, z fastest."""
    levels = []
    for shape in shapes:
        x, y, z = ((torch.arange(count, device=device) + 0.5) / count for count in shape)
        grid = torch.meshgrid(x, y, z, indexing="ij")
        levels.append(torch.stack(grid[::-1], dim=-1).flatten(0, 2))
    return torch.cat(levels)


def read_points(values: Tensor, shapes: Sequence[Shape], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of trilinear samples; outside of a volume lie zeros.

    Args:
        values: (B, Q', h, d), the voxels of all levels, z fastest.
        shapes: (X, Y, Z) of each level.
        locations: (B, Q, h, L, P, 3).
        weights: (B, Q, h, L, P).

    Returns:
        (B, Q, h * d).
    """
    B, Q, heads = locations.shape[:3]
    grids = (2 * locations - 1).transpose(1, 2).flatten(0, 1)  # (B h, Q, L, P, 3)
    shares = weights.transpose(1, 2).flatten(0, 1).unsqueeze(1)  # (B h, 1, Q, L, P)
    out = values.new_zeros(B * heads, values.shape[-1], Q)
    for level, voxels in enumerate(values.split_with_sizes([math.prod(shape) for shape in shapes], dim=1)):
        volume = voxels.permute(0, 2, 3, 1).reshape(B * heads, -1, *shapes[level])
        grid = grids[:, :, level].unsqueeze(3)  # (B h, Q, P, 1, 3)
        samples = F.grid_sample(volume, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        out = out + (samples.squeeze(-1) * shares[:, :, :, level]).sum(dim=-1)
    return out.view(B, -1, Q).transpose(1, 2)


class VolumeAttention(nn.Module):
    """Queries read volumes around their reference points; adds its input (official `MultiScaleDeformableAttention3D`).

    Args:
        dims: C.
        heads: h.
        levels: L.
        points: P for each head and level.
    """

    def __init__(self, dims: int, heads: int, levels: int = 3, points: int = 4) -> None:
        super().__init__()
        self.layout = (heads, levels, points)
        self.sampling_offsets = nn.Linear(dims, heads * levels * points * 3)
        self.attention_weights = nn.Linear(dims, heads * levels * points)
        self.value_proj = nn.Linear(dims, dims)
        self.output_proj = nn.Linear(dims, dims)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Equal weights and fixed points: head k looks along direction k, point p lies p cells away."""
        heads, levels, points = self.layout
        angle = torch.arange(heads, dtype=torch.float32) * (2 * math.pi / heads)
        direction = torch.stack((angle.cos(), angle.sin(), (angle.sin() + angle.cos()) / 2), dim=-1)
        direction = direction / direction.abs().amax(dim=-1, keepdim=True)
        steps = direction[:, None, None] * torch.arange(1.0, points + 1)[:, None]  # (h, 1, P, 3)
        nn.init.zeros_(self.sampling_offsets.weight)
        self.sampling_offsets.bias.data.copy_(steps.repeat(1, levels, 1, 1).flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        initialize_projection(self.value_proj)
        initialize_projection(self.output_proj)

    def forward(self, query: Tensor, query_pos: Tensor, shapes: Sequence[Shape], reference: Tensor) -> Tensor:
        """Attend to the queries themselves, which are the voxels of all levels.

        Args:
            query: (B, Q, C).
            query_pos: (Q, C) positional part, not carried on.
            shapes: (X, Y, Z) of each level.
            reference: (Q, 3) locations around which to look.

        Returns:
            (B, Q, C).
        """
        heads, levels, points = self.layout
        placed = query + query_pos
        extent = torch.tensor([shape[::-1] for shape in shapes], device=query.device)[:, None]  # (L, 1, 3)
        offsets = self.sampling_offsets(placed).float().unflatten(-1, (heads, levels, points, 3)) / extent
        weights = self.attention_weights(placed).float().unflatten(-1, (heads, levels * points)).softmax(dim=-1)
        values = self.value_proj(query).float().unflatten(-1, (heads, -1))
        locations = reference[:, None, None, None] + offsets
        read = read_points(values, shapes, locations, weights.unflatten(-1, (levels, points)))
        out: Tensor = self.output_proj(read) + query
        return out
