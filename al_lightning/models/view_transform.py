"""Lift, splat: image features to a bird's-eye view (LSS, arXiv 2008.05711; pooling as in BEVDet's `bev_pool_v2`).

Shape letters: B samples, N cameras, D depth bins, h w feature pixels, C channels, X Y cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from al_lightning.models.eager import eager
from al_lightning.models.geometry import depth_values, ego_points, frustum
from al_lightning.types import CameraInputs, VoxelGrid


@eager
def splat(depth: Tensor, context: Tensor, points: Tensor, grid: VoxelGrid) -> Tensor:
    """Sum depth-weighted features over the points that fall into each cell.

    out[b, :, y, x] = sum of depth[b, n, k, i, j] * context[b, n, :, i, j] over the points (n, k, i, j) of cell (x, y).

    This is a sparse (cells x pixels) matrix times the features. `embedding_bag` computes that product and its gradients
    without ever writing out the (points, C) terms; on the CPU it adds in a fixed order.

    Args:
        depth: (B, N, D, h, w) probability of each depth bin.
        context: (B, N, C, h, w) features.
        points: (B, N, D, h, w, 3) where the bins lie, metres.
        grid: the cells; its shape along z must be 1.

    Returns:
        (B, C, Y, X) float32; rows are y, columns are x; cells without points are 0.
    """
    B, N, D, h, w = depth.shape
    X, Y, _ = grid.shape
    cell, source = _cells(points, grid)
    pixel = source // (D * h * w) * (h * w) + source % (h * w)
    offsets = torch.searchsorted(cell, torch.arange(B * Y * X, device=cell.device))
    features = context.movedim(2, -1).reshape(B * N * h * w, -1)
    # float32 also under autocast: a cell may sum thousands of terms.
    weights = depth.float().flatten()[source]
    bev = F.embedding_bag(pixel, features.float(), offsets, mode="sum", per_sample_weights=weights)
    return bev.view(B, Y, X, -1).permute(0, 3, 1, 2)


@torch.no_grad()
def _cells(points: Tensor, grid: VoxelGrid) -> tuple[Tensor, Tensor]:
    """Sorted flat cell (P,) of every kept point, and the point's position (P,) in the flattened frustums."""
    X, Y, Z = grid.shape
    if Z != 1:
        raise ValueError(f"splat needs a grid of one cell along z, got {grid.shape}")
    lower, size = points.new_tensor(grid.lower), points.new_tensor(grid.voxel_size)
    # TRAP: `long` truncates toward zero, so coordinates in (-1, 0) count as cell 0. With one tall cell along z that
    # keeps every point down to a grid's height below the floor, a third of all; `floor` would change most outputs.
    index = ((points - lower) / size).long()
    kept = ((index >= 0) & (index < index.new_tensor(grid.shape))).all(-1)
    sample = torch.arange(len(points), device=points.device).view(-1, 1, 1, 1, 1)
    cell = (sample * Y + index[..., 1]) * X + index[..., 0]
    source = kept.flatten().nonzero().squeeze(1)
    cell, order = cell.flatten()[source].sort(stable=True)
    return cell, source[order]


class LiftSplat(nn.Module):
    """Predict a depth distribution and context features for every pixel and pool them into cells.

    Args:
        in_channels: channels of the image features.
        context_channels: C, channels of the bird's-eye view.
        grid: the cells, one along z.
        image_size: (H, W) of the network's input, pixels.
        stride: image pixels per feature pixel.
        depth: (start, stop, step) of the depth bins, metres.
    """

    def __init__(
        self,
        in_channels: int,
        context_channels: int,
        grid: VoxelGrid,
        image_size: tuple[int, int],
        stride: int,
        depth: Sequence[float],
    ) -> None:
        super().__init__()
        self.grid, self.image_size, self.stride, self.depth = grid, image_size, stride, tuple(depth)
        self.depth_bins = len(depth_values(depth))
        self.depth_net = nn.Conv2d(in_channels, self.depth_bins + context_channels, 1)

    def lift(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, N, C', h, w) to depth (B, N, D, h, w), which sums to 1 over D, and context (B, N, C, h, w)."""
        B, N, _, h, w = features.shape
        out = self.depth_net(features.flatten(0, 1)).view(B, N, -1, h, w)
        return out[:, :, : self.depth_bins].softmax(2), out[:, :, self.depth_bins :]

    def points(self, inputs: CameraInputs) -> Tensor:
        """Where the depth bins of all pixels lie in the ego frame: (B, N, D, h, w, 3), metres.

        The frustum is made anew each time: it costs little, and unlike a buffer no cast of the module can round it.
        """
        device = inputs.camera2ego.device
        return ego_points(frustum(self.image_size, self.stride, self.depth, device), inputs)

    def forward(self, features: Tensor, inputs: CameraInputs) -> Tensor:
        """Image features (B, N, C', h, w) to the bird's-eye view (B, C, Y, X)."""
        depth, context = self.lift(features)
        return splat(depth, context, self.points(inputs), self.grid)
