"""Where the frequency-weighted uncertainty of a sample comes from: its voxels, and its classes.

Shape letters: B samples, K classes, ``*grid`` the axes of the voxel grid.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from al_lightning.acquisition.functional.voxels import class_weights, voxel_statistics


class UncertaintyShares(NamedTuple):
    """Both sum up to U_fw.

    Attributes:
        voxels: (B, *grid) float32, 0 where the mask does not count.
        classes: (B, K) float32.
    """

    voxels: Tensor
    classes: Tensor


def uncertainty_shares(
    logits: Tensor, mask: Tensor | None = None, eps: float = 1e-6, without: int | None = None
) -> UncertaintyShares:
    """The terms of U_fw (occupancy paper, Eq. 4-7), summed over the classes and over the voxels.

    Holds all probabilities at once: meant for the few samples that somebody looks at.

    Args:
        logits: (B, K, *grid) unnormalized class scores.
        mask: (B, *grid) bool, the voxels that count; None for all.
        eps: added to the prevalence (Eq. 5).
        without: a class that is left out, see `voxel_statistics`.

    Raises:
        ValueError: as `voxel_statistics`.
    """
    weights = class_weights(voxel_statistics(logits, mask, eps, without).histogram.double(), eps, without)
    log_p = torch.log_softmax(logits.detach().double(), 1)
    terms = -log_p.exp() * log_p * weights.reshape(*weights.shape, *[1] * (logits.dim() - 2))
    counted = torch.ones_like(logits[:, 0], dtype=torch.bool) if mask is None else mask
    terms = terms * counted[:, None] / counted.flatten(1).sum(1).reshape(-1, *[1] * (logits.dim() - 1))
    return UncertaintyShares(terms.sum(1).float(), terms.flatten(2).sum(2).float())
