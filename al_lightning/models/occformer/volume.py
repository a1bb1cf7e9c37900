"""Lift image features along their depth distribution and pool them into voxels.

Shape letters: B samples, N cameras, D depth bins, C channels, X Y Z voxels, h w feature pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from al_lightning.models.geometry import depth_values, ego_points, frustum
from al_lightning.models.occformer.depth import DepthNet, camera_numbers
from al_lightning.models.view_transform import splat
from al_lightning.types import CameraInputs, VoxelGrid


def splat_voxels(depth: Tensor, context: Tensor, points: Tensor, grid: VoxelGrid) -> Tensor:
    """`splat` into voxels: rows of cells are split into Z layers, which makes a flat grid of them.

    Args:
        depth: (B, N, D, h, w) probability of each depth bin.
        context: (B, N, C, h, w) features.
        points: (B, N, D, h, w, 3) where the bins lie, metres.
        grid: the voxels.

    Returns:
        (B, C, X, Y, Z) float32; voxels without points are 0.
    """
    X, Y, Z = grid.shape
    # TRAP: `long` truncates toward zero, so that coordinates in (-1, 0) count as voxel 0, as in `splat`.
    index = ((points - points.new_tensor(grid.lower)) / points.new_tensor(grid.voxel_size)).long()
    kept = ((index >= 0) & (index < index.new_tensor(grid.shape))).all(dim=-1, keepdim=True)
    x, y, z = index.unbind(-1)
    middles = torch.stack((x, y * Z + z, torch.zeros_like(z)), dim=-1) + 0.5
    flat = VoxelGrid((0, 0, 0), (X, Y * Z, 1), (X, Y * Z, 1))
    volume = splat(depth, context, middles.where(kept, -1.0 - X - Y * Z), flat)
    return volume.view(*volume.shape[:2], Y, Z, X).permute(0, 1, 4, 2, 3)


class VoxelLift(nn.Module):
    """Image features to a volume (official `ViewTransformerLiftSplatShootVoxel`).

    Args:
        in_channels: channels of the image features.
        depth_channels: channels inside the depth network.
        context_channels: C.
        grid: the voxels.
        image_size: (H, W) of the network's input, pixels.
        stride: image pixels per feature pixel.
        depth: (start, stop, step) of the depth bins, metres.
    """

    def __init__(
        self,
        in_channels: int,
        depth_channels: int,
        context_channels: int,
        grid: VoxelGrid,
        image_size: tuple[int, int],
        stride: int,
        depth: tuple[float, float, float],
    ) -> None:
        super().__init__()
        self.grid, self.image_size, self.stride, self.depth = grid, image_size, stride, depth
        self.depth_net = DepthNet(in_channels, depth_channels, context_channels, len(depth_values(depth)))
        # Constants that official checkpoints hold: voxel size, centre of the first voxel, number of voxels, frustum.
        size, lower = torch.tensor(grid.voxel_size), torch.tensor(grid.lower)
        constants = {"dx": size, "bx": lower + size / 2, "nx": torch.tensor(grid.shape, dtype=torch.float32)}
        constants["frustum"] = frustum(image_size, stride, depth)
        for name, value in constants.items():
            self.register_buffer(name, value)

    def forward(self, features: Tensor, inputs: CameraInputs) -> tuple[Tensor, Tensor]:
        """Image features (B, N, C', h, w) to the volume (B, C, X, Y, Z) and the depth (B, N, D, h, w) it used."""
        depth, context = self.depth_net(features, camera_numbers(inputs))
        # Made anew, for no cast of the module may round it.
        points = ego_points(frustum(self.image_size, self.stride, self.depth, features.device), inputs)
        return splat_voxels(depth, context, points, self.grid), depth
