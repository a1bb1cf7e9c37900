"""Where the cells of a bird's-eye view lie in the images: always float32, whatever autocast says.

Shape letters: B samples, N cameras, Y rows and X columns, Q = Y * X cells, Z heights of a cell, S cells kept a camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from al_lightning.models.eager import eager
from al_lightning.types import VoxelGrid

_NEAR = 1e-5
"""Points nearer to the image plane than this (metres) are behind the camera."""


@dataclass
class CameraView:
    """What each camera sees of a bird's-eye view.

    Attributes:
        cells: (B, N, S) int64 cells, those that the camera sees first; no cell twice.
        seen: (B, N, S) bool, the camera does see it; the others fill up S.
        anchors: (B, N, S, Z, 2) the cell's heights in the image, fractions of its width and height; may lie outside.
        cameras: (B, Q) how many cameras see a cell, at least 1.
    """

    cells: Tensor
    seen: Tensor
    anchors: Tensor
    cameras: Tensor


def cell_locations(shape: tuple[int, int], device: torch.device) -> Tensor:
    """Centres (Q, 2) = (x, y) of the cells as fractions of the bird's-eye view, row by row.

    Args:
        shape: (Y, X).
        device: where the result lies.
    """
    Y, X = shape
    y, x = torch.meshgrid(
        (torch.arange(Y, device=device) + 0.5) / Y, (torch.arange(X, device=device) + 0.5) / X, indexing="ij"
    )
    return torch.stack((x, y), dim=-1).view(-1, 2)


def cell_points(grid: VoxelGrid, device: torch.device) -> Tensor:
    """Points (Q, Z, 3) in metres at the heights of all cells, row by row."""
    return grid.centers(device).transpose(0, 1).flatten(0, 1)


def project(points: Tensor, lidar2img: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Points in the LiDAR frame to images.

    Written without a matrix product on purpose: autocast and TF32 would round products to 8 or 11 bits.

    Args:
        points: (Q, Z, 3) metres.
        lidar2img: (B, N, 4, 4).
        image_size: (H, W) pixels.

    Returns:
        Locations (B, N, Q, Z, 2), fractions of width and height, and whether they are visible (B, N, Q, Z).

    Raises:
        ValueError: a calibration is not finite.
    """
    if not bool(torch.isfinite(lidar2img).all()):
        raise ValueError("lidar2img holds a value that is not finite")
    rows = lidar2img.float()[:, :, None, None, :3]  # (B, N, 1, 1, 3, 4)
    image = sum((rows[..., axis] * points[..., axis, None] for axis in range(3)), start=rows[..., 3])
    depth = image[..., 2:]
    locations = image[..., :2] / depth.clamp(min=_NEAR) / _extent(image_size, points)
    inside = ((locations > 0) & (locations < 1)).all(dim=-1)
    return locations, inside & (depth[..., 0] > _NEAR)


def _extent(image_size: tuple[int, int], like: Tensor) -> Tensor:
    """(H, W) to a tensor (2,) = (W, H)."""
    return like.new_tensor((image_size[1], image_size[0]))


@eager
def camera_view(points: Tensor, lidar2img: Tensor, image_size: tuple[int, int]) -> CameraView:
    """Which cells each camera sees; a cell is seen if any of its heights is. Arguments as of `project`."""
    locations, visible = project(points, lidar2img, image_size)
    seen = visible.any(dim=-1)
    count = max(int(seen.sum(dim=-1).max()), 1)
    cells = seen.byte().argsort(dim=-1, descending=True, stable=True)[..., :count]
    anchors = locations.gather(2, cells[..., None, None].expand(-1, -1, -1, *locations.shape[-2:]))
    return CameraView(cells, seen.gather(2, cells), anchors, seen.sum(dim=1).clamp(min=1))
