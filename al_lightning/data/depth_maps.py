"""What LiDAR measured, as the cameras would have to see it.

Shape letters: P points, N cameras, H W pixels of the network's input.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.types import CameraInputs


def depth_maps(points: NDArray[np.float32], inputs: CameraInputs) -> Tensor:
    """Depth of the nearest point at every pixel, with the image augmentation that the inputs have seen.

    Args:
        points: (P, 3) metres, in the ego frame before its augmentation.
        inputs: the cameras of a sample.

    Returns:
        (N, H, W) float32 metres along the camera's axis; 0 where no point lands.
    """
    ego2camera = torch.linalg.inv(inputs.camera2ego.double())
    camera = torch.from_numpy(points).double() @ ego2camera[:, :3, :3].mT + ego2camera[:, None, :3, 3]
    projected = camera @ inputs.intrinsics.double().mT  # (N, P, 3) = (u d, v d, d)
    depth = projected[..., 2]
    pixels = projected[..., :2] / depth.clamp(min=1e-6).unsqueeze(-1)
    pixels = pixels @ inputs.post_rotation[:, :2, :2].double().mT + inputs.post_translation[:, None, :2].double()
    height, width = inputs.images.shape[-2:]
    inside = (pixels >= 0) & (pixels <= pixels.new_tensor((width - 1, height - 1)))
    kept = inside.all(dim=-1) & (depth > 0)
    u, v = pixels.round().long().unbind(-1)
    offset = torch.arange(len(depth))[:, None] * (height * width)
    nearest = torch.full((len(depth) * height * width,), torch.inf, dtype=torch.float64)
    nearest.scatter_reduce_(0, (offset + v * width + u)[kept], depth[kept], "amin")
    return nearest.where(nearest.isfinite(), 0.0).view(len(depth), height, width).float()
