"""All losses of OccFormer together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from al_lightning.losses.occformer_depth import depth_bins, depth_cross_entropy
from al_lightning.losses.occformer_masks import MaskWeights, Truth, stage_losses
from al_lightning.losses.occupancy import log_frequency_weights, sqrt_frequency_weights, voxel_counts
from al_lightning.types import OccupancyAnnotations, OccupancyPrediction


class OccFormerLoss(nn.Module):
    """Classes, masks and depth; the defaults are the official training on SemanticKITTI.

    All stages of the masks learn, each with a matching of its own. Classes are weighted by 1 / ln f, relative to the
    first class, and points are drawn with weights f^(-1/4). The draws are from PyTorch's global stream.

    Args:
        class_frequency: f, voxels of each class; a name takes the published counts.
        depth_start: depth of the network's first bin, metres.
        depth_step: size of a bin, metres.
        points: voxels drawn for each mask; all labeled ones, where there are fewer.
        label: weight of the masks' classes.
        mask: weight of the masks' binary cross entropy.
        dice: weight of their dice loss.
        depth: weight of the depth.
        no_object: class weight of queries that are matched to nothing.

    Raises:
        ValueError: an unknown name, a count of 1 or less, or no point.
    """

    class_weight: Tensor
    sampling: Tensor

    def __init__(
        self,
        class_frequency: Sequence[float] | Literal["occ3d_nuscenes", "semantickitti"] = "semantickitti",
        depth_start: float = 2.0,
        depth_step: float = 0.5,
        points: int = 50_176,
        label: float = 2.0,
        mask: float = 5.0,
        dice: float = 5.0,
        depth: float = 1.0,
        no_object: float = 0.1,
    ) -> None:
        super().__init__()
        if points < 4:
            raise ValueError(f"points must be at least 4, got {points}")
        frequency = voxel_counts(class_frequency)
        log_weight = log_frequency_weights(frequency)
        weight = torch.cat((log_weight / log_weight[0], torch.tensor([no_object])))
        self.register_buffer("class_weight", weight, persistent=False)
        self.register_buffer("sampling", sqrt_frequency_weights(frequency).sqrt(), persistent=False)
        self.points, self.weights = points, MaskWeights(label, mask, dice)
        self.depth, self.depth_start, self.depth_step = depth, depth_start, depth_step

    def forward(self, prediction: OccupancyPrediction, annotations: OccupancyAnnotations) -> dict[str, Tensor]:
        """Weigh what is wrong.

        Args:
            prediction: of a batch, with masks and depth.
            annotations: of the batch, with depth.

        Returns:
            Weighted losses by the names of the weights of the class, summed over the stages; their sum is the loss.

        Raises:
            ValueError: masks or depth are missing, predictions are not finite, or a label is no class.
        """
        if prediction.masks is None or prediction.depth is None:
            raise ValueError("OccFormerLoss needs a network that predicts masks and depth")
        if annotations.depth is None:
            raise ValueError("OccFormerLoss needs annotations with depth: choose the dataset's source of depth")
        classes, masks = prediction.masks.class_logits, prediction.masks.mask_logits
        with torch.autocast(masks.device.type, enabled=False):
            truths = [Truth.of(*sample) for sample in zip(annotations.semantics, annotations.mask, strict=True)]
            self._check(truths)
            stages = [
                stage_losses(*stage, truths, self.class_weight, self.sampling, self.points, self.weights)
                for stage in zip(classes.float(), masks.float(), strict=True)
            ]
            label, mask, dice = (torch.stack(terms).sum() for terms in zip(*stages, strict=True))
            depth = self._depth_loss(prediction.depth.float(), annotations.depth)
        return {
            "label": self.weights.label * label,
            "mask": self.weights.mask * mask,
            "dice": self.weights.dice * dice,
            "depth": self.depth * depth,
        }

    def _check(self, truths: list[Truth]) -> None:
        labels = torch.cat([truth.labels for truth in truths])
        if bool(((labels < 0) | (labels >= len(self.sampling))).any()):
            raise ValueError(f"a voxel that counts has a label outside 0..{len(self.sampling) - 1}")

    def _depth_loss(self, probabilities: Tensor, measured: Tensor) -> Tensor:
        count, h, w = probabilities.shape[2:]
        return depth_cross_entropy(
            probabilities, depth_bins(measured, (h, w), self.depth_start, self.depth_step, count)
        )
