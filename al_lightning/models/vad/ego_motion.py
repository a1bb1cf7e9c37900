"""How the ego vehicle has moved since the previous frame, and what that does to the carried bird's-eye view.

Shape letters: B samples, Y rows and X columns of the bird's-eye view, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def shift_since_previous(can_bus: Tensor, extent: tuple[float, float]) -> Tensor:
    """Way since the previous frame along the ego's right and forward axes, as fractions of the bird's-eye view.

    Args:
        can_bus: (B, 18) as of `DrivingInputs`.
        extent: (x, y) size of the bird's-eye view, metres.

    Returns:
        (B, 2) float32.
    """
    way_x, way_y, heading = can_bus.double()[:, [0, 1, 16]].unbind(dim=1)
    angle = heading - torch.atan2(way_y, way_x)
    length = torch.hypot(way_x, way_y)
    return torch.stack((length * angle.sin() / extent[0], length * angle.cos() / extent[1]), dim=1).float()


def turn(bev: Tensor, shape: tuple[int, int], degrees: Tensor, center: tuple[float, float]) -> Tensor:
    """Turn the content of a bird's-eye view by the ego's change of heading; nearest cell, zeros from outside.

    TRAP: the official centre is always (100, 100), the middle of a 200 x 200 view; the one of VAD-tiny has 100 x 100
    cells, so it turns about its last corner. Cells are taken as squares, which those of VAD-tiny are not.

    Args:
        bev: (B, Y * X, C), row by row.
        shape: (Y, X).
        degrees: (B,) positive if the ego turned left.
        center: (column, row) of the fixed point, in cells from the outer edge.

    Returns:
        (B, Y * X, C).
    """
    Y, X = shape
    angle = torch.deg2rad(degrees.double())[:, None, None]
    dx = torch.arange(X, device=bev.device).double() + 0.5 - center[0]
    dy = torch.arange(Y, device=bev.device).double()[:, None] + 0.5 - center[1]
    column = torch.round(angle.cos() * dx - angle.sin() * dy + center[0] - 0.5).long()
    row = torch.round(angle.sin() * dx + angle.cos() * dy + center[1] - 0.5).long()
    inside = (column >= 0) & (column < X) & (row >= 0) & (row < Y)
    source = (row * X + column).where(inside, 0).flatten(1)[..., None].expand_as(bev)
    return bev.gather(1, source) * inside.flatten(1)[..., None]
