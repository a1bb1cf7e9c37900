"""Depth and context of image pixels, by features and by the numbers of the calibration (BEVDepth, arXiv 2206.10092).

Shape letters: B samples, N cameras, D depth bins, C channels, h w feature pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from al_lightning.models.occformer.layers import ASPP
from al_lightning.models.resnet import BasicBlock
from al_lightning.types import CameraInputs

CAMERA_NUMBERS = 33


def camera_numbers(inputs: CameraInputs) -> Tensor:
    """Calibration and augmentation as a vector (B, N, 33), float32.

    fx, fy, cx, cy and the fourth column of the projection matrix P = K [I | t]; linear part and offset of the image
    augmentation; of the ego frame's; then the 12 numbers of the extrinsics, row by row. The extrinsics are those of the
    frame from which P projects, while `CameraInputs.camera2ego` is the camera's own: the shift by t is undone.
    """
    K, bda = inputs.intrinsics, inputs.bda[:, None].expand(-1, inputs.intrinsics.shape[1], -1, -1)
    column = torch.zeros_like(K[..., 0]) if inputs.projection_shift is None else inputs.projection_shift
    rotation, translation = inputs.camera2ego[..., :3, :3], inputs.camera2ego[..., :3, 3]
    shift = torch.linalg.solve(K, column.unsqueeze(-1))
    translation = translation + (rotation @ shift).squeeze(-1)
    R, t = inputs.post_rotation, inputs.post_translation
    numbers = (
        *(K[..., 0, 0], K[..., 1, 1], K[..., 0, 2], K[..., 1, 2], *column.unbind(-1)),
        *(R[..., 0, 0], R[..., 0, 1], t[..., 0], R[..., 1, 0], R[..., 1, 1], t[..., 1]),
        *(bda[..., 0, 0], bda[..., 0, 1], bda[..., 1, 0], bda[..., 1, 1], bda[..., 2, 2], *bda[..., :3, 3].unbind(-1)),
        *torch.cat((rotation, translation.unsqueeze(-1)), dim=-1).flatten(-2).unbind(-1),
    )
    return torch.stack(numbers, dim=-1)


class Perceptron(nn.Module):
    """Two linear layers with ReLU between them.

    Args:
        inputs: numbers of the input.
        channels: numbers of the output.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, channels)
        self.fc2 = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) to (B, channels)."""
        out: Tensor = self.fc2(F.relu(self.fc1(x)))
        return out


class Gate(nn.Module):
    """Each channel of a map is weighted by what a vector says.

    Args:
        channels: C of both.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, channels, 1)
        self.conv_expand = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """(B, C, h, w) and (B, C) to (B, C, h, w)."""
        weight: Tensor = self.conv_expand(F.relu(self.conv_reduce(vector[..., None, None])))
        return x * weight.sigmoid()


class DeformableConv2d(nn.Module):
    """3x3 convolution whose nine taps are moved by predicted offsets (deformable convolution v1, arXiv 1703.06211).

    Outside of the map lie zeros. No bias.

    Args:
        channels: C of input and output.
        groups: groups of the convolution.
    """

    def __init__(self, channels: int, groups: int = 4) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(channels, channels // groups, 3, 3))
        self.conv_offset = nn.Conv2d(channels, 18, 3, padding=1)
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, h, w)."""
        height, width = x.shape[-2:]
        offsets = self.conv_offset(x).float().unflatten(1, (9, 2))  # (dy, dx) of each tap, row by row
        rows = torch.arange(height, device=x.device, dtype=torch.float32)[:, None]
        columns = torch.arange(width, device=x.device, dtype=torch.float32)
        out = torch.zeros_like(x)
        for tap in range(9):
            v = rows + (tap // 3 - 1) + offsets[:, tap, 0]
            u = columns + (tap % 3 - 1) + offsets[:, tap, 1]
            grid = torch.stack((2 * u / max(width - 1, 1) - 1, 2 * v / max(height - 1, 1) - 1), dim=-1)
            moved = F.grid_sample(x.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=True)
            kernel = self.weight[:, :, tap // 3, tap % 3, None, None]
            out = out + F.conv2d(moved, kernel, groups=self.groups)
        return out


class DepthNet(nn.Module):
    """Features of a pixel to a distribution over depth and a context vector.

    In training its norms need more than one image: a batch of two, or SyncBatchNorm over several processes.

    Args:
        in_channels: channels of the features.
        channels: channels inside.
        context_channels: C.
        depth_bins: D.
    """

    def __init__(self, in_channels: int, channels: int, context_channels: int, depth_bins: int) -> None:
        super().__init__()
        self.reduce_conv = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )
        self.context_conv = nn.Conv2d(channels, context_channels, 1)
        self.bn = nn.BatchNorm1d(CAMERA_NUMBERS)
        self.depth_mlp = Perceptron(CAMERA_NUMBERS, channels)
        self.depth_se = Gate(channels)
        self.context_mlp = Perceptron(CAMERA_NUMBERS, channels)
        self.context_se = Gate(channels)
        self.depth_conv = nn.Sequential(
            *(BasicBlock(channels, channels) for _ in range(3)),
            ASPP(channels, nn.BatchNorm2d, dropout=0.5),
            DeformableConv2d(channels),
            nn.Conv2d(channels, depth_bins, 1),
        )

    def forward(self, features: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Look at each image.

        Args:
            features: (B, N, C', h, w).
            numbers: (B, N, 33), as of `camera_numbers`.

        Returns:
            depth (B, N, D, h, w), float32, sums to 1 over D, and context (B, N, C, h, w).

        Raises:
            ValueError: a single image in training, without SyncBatchNorm.
        """
        images = features.shape[:2]
        if self.training and images.numel() == 1 and isinstance(self.bn, nn.BatchNorm1d):
            raise ValueError("a single image cannot be normalized in training: use batches of two, or SyncBatchNorm")
        calibration = self.bn(numbers.flatten(0, 1))
        x = self.reduce_conv(features.flatten(0, 1))
        context = self.context_conv(self.context_se(x, self.context_mlp(calibration)))
        depth = self.depth_conv(self.depth_se(x, self.depth_mlp(calibration)))
        return depth.float().softmax(dim=1).unflatten(0, images), context.unflatten(0, images)
