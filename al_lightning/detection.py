"""What a detector of objects is given, and what it says.

Frame: the LiDAR of the key frame, x right, y forward, z up, metres.

Shape letters: B samples, M boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

PADDING = -1
"""Label of a row that only fills up a fixed number of boxes."""

TOKEN_LENGTH = 32
"""Letters of a token of nuScenes."""


@dataclass
class Detections:
    """Predicted boxes of a batch; rows labeled `PADDING` fill up M.

    Attributes:
        boxes: (B, M, 9) gravity centre x, y, z, length, width, height (metres), yaw counter-clockwise from +x, velocity
            x, y (m/s).
        labels: (B, M) int64 class of each box.
        scores: (B, M) confidence, 0 to 1.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor


class DetectionInputs(Protocol):
    """Sensors of a batch of frames, in whatever form the detector wants them.

    Attributes:
        tokens: (B, 32) uint8, the sample tokens (`encode_tokens`).
    """

    tokens: Tensor


def encode_tokens(tokens: Sequence[str]) -> Tensor:
    """Tokens as numbers, which travel between processes: (B, 32) uint8, codes of the letters and zeros behind them.

    Raises:
        ValueError: a token is longer, or not ASCII.
    """
    if any(len(token) > TOKEN_LENGTH or not token.isascii() for token in tokens):
        raise ValueError(f"tokens must be at most {TOKEN_LENGTH} ASCII letters, got {tokens}")
    rows = [list(token.encode("ascii").ljust(TOKEN_LENGTH, b"\0")) for token in tokens]
    return torch.tensor(rows, dtype=torch.uint8).view(len(tokens), TOKEN_LENGTH)


def decode_tokens(codes: Tensor) -> list[str]:
    """The reverse of `encode_tokens`."""
    return [bytes(row).rstrip(b"\0").decode("ascii") for row in codes.tolist()]
