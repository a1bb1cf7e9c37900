"""Where image points lie in the ego frame: pure functions, always float32.

Shape letters: B samples, N cameras, D depth bins, h w feature pixels, P points.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from al_lightning.models.eager import eager
from al_lightning.types import CameraInputs


def depth_values(depth: Sequence[float], device: torch.device | str = "cpu") -> Tensor:
    """Distances (D,) of the depth bins in metres: start, start + step, ..., below stop.

    Args:
        depth: (start, stop, step), metres.
        device: where the result lies.

    Raises:
        ValueError: the range is not positive or not a whole number of steps.
    """
    start, stop, step = depth
    if not (0 < start < stop and step > 0):
        raise ValueError(f"depth needs 0 < start < stop and step > 0, got {tuple(depth)}")
    count = round((stop - start) / step)
    if count < 1 or abs(start + count * step - stop) > 1e-6 * stop:
        raise ValueError(f"depth range must be a whole number of steps, got (start, stop, step) = {tuple(depth)}")
    return start + step * torch.arange(count, device=device, dtype=torch.float32)


def frustum(
    image_size: tuple[int, int], stride: int, depth: Sequence[float], device: torch.device | str = "cpu"
) -> Tensor:
    """The points (D, h, w, 3) = (u, v, d) that every camera looks at: pixel column, pixel row, depth.

    TRAP: the columns are ``linspace(0, W - 1, w)``, so the first and last feature pixel sit on the first and last image
    pixel rather than at the centres of their cells. Trained weights depend on it.

    Args:
        image_size: (H, W) of the network's input, pixels.
        stride: image pixels per feature pixel.
        depth: (start, stop, step), metres.
        device: where the result lies.
    """
    height, width = image_size
    u = torch.linspace(0, width - 1, width // stride, device=device, dtype=torch.float32)
    v = torch.linspace(0, height - 1, height // stride, device=device, dtype=torch.float32)
    d, v, u = torch.meshgrid(depth_values(depth, device), v, u, indexing="ij")
    return torch.stack((u, v, d), dim=-1)


@eager
def ego_points(points: Tensor, inputs: CameraInputs) -> Tensor:
    """Carry image points with depth into the (augmented) ego frame of every sample.

    p1 = inv(post_rotation) (p - post_translation); p2 = (x z, y z, z) of p1; q = R inv(K) p2 + T; result = bda q.

    Args:
        points: (D, h, w, 3) = (u, v, d), the same for all cameras, as of `frustum`.
        inputs: a batch; its images are not read.

    Returns:
        (B, N, D, h, w, 3) metres, float32.

    Raises:
        ValueError: a point is not finite, so the calibration is broken.
    """
    rays = points.reshape(-1, 3) - inputs.post_translation.unsqueeze(-2)
    rays = _transform(torch.linalg.inv(inputs.post_rotation), rays)
    rays = torch.cat((rays[..., :2] * rays[..., 2:], rays[..., 2:]), dim=-1)
    rotation, translation = inputs.camera2ego[..., :3, :3], inputs.camera2ego[..., None, :3, 3]
    pixel2ego = _transform(rotation, torch.linalg.inv(inputs.intrinsics).mT).mT  # rotation @ inv(K)
    ego = _transform(pixel2ego, rays) + translation
    ego = _transform(inputs.bda[:, None, :3, :3], ego) + inputs.bda[:, None, None, :3, 3]
    if not bool(torch.isfinite(ego).all()):
        raise ValueError("camera geometry is not finite: check camera2ego, intrinsics, post_rotation, bda")
    return ego.reshape(*ego.shape[:2], *points.shape)


def _transform(matrix: Tensor, vectors: Tensor) -> Tensor:
    """(..., 3, 3) times each of (..., P, 3).

    Written without a matrix product on purpose: autocast and TF32 would round products to 8 or 11 bits, decimetres at
    the far end of the frustum.
    """
    columns = [matrix[..., None, :, axis] * vectors[..., axis, None] for axis in range(3)]
    return columns[0] + columns[1] + columns[2]
