"""What mmdet3d's pipelines make of frames, as inputs and as labels of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class PackedSensors:
    """Sensors of B frames.

    Attributes:
        tokens: (B, 32) uint8 sample tokens.
        inputs: B mappings such as ``points`` (P, F) and ``img`` (N, 3, H, W).
        metainfo: B mappings of calibration, augmentation and file names.
    """

    tokens: Tensor
    inputs: list[dict[str, Any]]
    metainfo: list[dict[str, Any]]

    @staticmethod
    def join(items: Sequence[PackedSensors]) -> PackedSensors:
        """One for a batch."""
        return PackedSensors(
            torch.cat([item.tokens for item in items]),
            [frame for item in items for frame in item.inputs],
            [frame for item in items for frame in item.metainfo],
        )


@dataclass
class PackedLabels:
    """Labels of B frames: mmdet3d's ``Det3DDataSample`` with ``gt_instances_3d`` and what else its pipeline packs."""

    samples: list[Any]

    @staticmethod
    def join(items: Sequence[PackedLabels]) -> PackedLabels:
        """One for a batch."""
        return PackedLabels([sample for item in items for sample in item.samples])
