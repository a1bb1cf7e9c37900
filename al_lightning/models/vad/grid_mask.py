"""Images behind a grid, so that a network does not rely on any one part of them (GridMask, arXiv 2001.04086).

Shape letters: H W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def grid_mask(height: int, width: int, period: int, start: tuple[int, int]) -> Tensor:
    """Where the image stays: in bands of rows and of columns, half a period wide; between them are holes.

    The bands are counted from the corner of a frame one and a half times as high and wide, with the image in its
    middle. TRAP: the official code lays no more bands than there are whole periods in the frame.

    Args:
        height: H.
        width: W.
        period: pixels from one band to the next, of rows and of columns, at least 2.
        start: (row, column) of the frame where the first bands begin.

    Returns:
        (H, W) bool.
    """
    rows, columns = (_bands(size, period, begin) for size, begin in zip((height, width), start, strict=True))
    return rows[:, None] | columns


def _bands(size: int, period: int, start: int) -> Tensor:
    frame = size * 3 // 2
    place = torch.arange(size) + (frame - size) // 2 - start
    within = (place >= 0) & (place < frame // period * period)
    return within & (place % period < min((period + 1) // 2, period - 1))


class GridMask(nn.Module):
    """In training, lays one random grid over all images; it draws from torch's global stream.

    Args:
        probability: of doing so.

    Raises:
        ValueError: it is no probability.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0 <= probability <= 1:
            raise ValueError(f"grid_mask must be a probability, got {probability}")
        self.probability = probability

    def forward(self, images: Tensor) -> Tensor:
        """(..., H, W), at least 3 pixels high, to the same with zeros in the holes."""
        if not self.training or self.probability == 0 or float(torch.rand(())) >= self.probability:
            return images
        height, width = images.shape[-2:]
        period = int(torch.randint(2, height, ()))
        start = (int(torch.randint(period, ())), int(torch.randint(period, ())))
        return images * grid_mask(height, width, period, start).to(images)
