"""Statistics of voxel-wise class probabilities: class histogram, entropy, frequency-weighted entropy.

Shape letters: B samples, K classes, V voxels of a sample, ``*grid`` the axes of the voxel grid.

Equation numbers are those of the occupancy paper ("Class Distribution Guided Active Learning for 3D Occupancy
Prediction"). Logits are (B, K, *grid) and may be a view of memory laid out as (B, *grid, K). The math runs in float64
for float64 logits and in float32 for everything else, sums run in float64; no gradient flows through these functions.

Sums over the voxels are found by `voxel_kernel.class_sums` where it can read the logits, which is several times
faster, and by `chunked_class_sums` on other devices and of other dtypes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from al_lightning.acquisition.functional.voxel_kernel import BITS, class_sums
from al_lightning.acquisition.threads import one_thread

# Voxels handled together: large enough to hide the launch of an operation, small enough for a processor's cache.
CHUNK = 2**16


class VoxelStatistics(NamedTuple):
    """What `voxel_statistics` returns.

    Attributes:
        histogram: (B, K) share of the voxels predicted as each class, Eq. 1.
        entropy: (B,) mean voxel entropy in nats, Eq. 4 averaged over the voxels.
        frequency_weighted_entropy: (B,) U_fw in nats, Eq. 7.
    """

    histogram: Tensor
    entropy: Tensor
    frequency_weighted_entropy: Tensor


def voxel_statistics(
    logits: Tensor, mask: Tensor | None = None, eps: float = 1e-6, without: int | None = None
) -> VoxelStatistics:
    """Class histogram, mean entropy and frequency-weighted entropy in one pass over the voxels.

    The weights w_c of Eq. 5 do not depend on the voxel, so Eq. 7 is sum_c w_c S_c / V, S_c = sum_i -p_i(c) log p_i(c):
    counts and S_c are accumulated chunk by chunk and the weights come after. Probabilities never exist for more than
    a chunk of voxels.

    Args:
        logits: (B, K, *grid) unnormalized class scores.
        mask: (B, *grid) bool, the voxels that count; None for all.
        eps: added to the prevalence (Eq. 5).
        without: a class, such as that of free space, that is none of the K of Eq. 1 and 5-7: its share is 0, those of
            the others sum to 1, and its surprisal has no weight. The mean entropy (Eq. 4) is that of all classes. The
            paper's N, "the number of voxels within the visibility mask", then cannot be that of Eq. 1, whose shares sum
            to 1: they are those of the voxels predicted as one of the K. Eq. 7 stays the mean over all N, so that the
            doubt of voxels taken for free space counts.

    Raises:
        ValueError: shapes do not fit, a mask is empty, logits that count are not finite, eps is not positive,
            ``without`` is no class, or no voxel of a sample is predicted as another.
    """
    _check(logits, mask)
    if not eps > 0:
        raise ValueError(f"eps must be positive, got {eps}")
    if without is not None and not 0 <= without < logits.shape[1]:
        raise ValueError(f"the class left out must be one of {logits.shape[1]}, got {without}")
    sums = [_sample_sums(position, logits, mask) for position in range(len(logits))]
    counts, surprisal = (torch.stack(values) for values in zip(*sums, strict=True))
    visible = counts.sum(1, keepdim=True)
    if not bool(visible.all()):
        positions = (visible[:, 0] == 0).nonzero()[:, 0].tolist()
        raise ValueError(f"mask holds no voxel for the samples at positions {positions}")
    contribution = surprisal / visible
    if without is not None:
        counts[:, without] = 0
    counted = counts.sum(1, keepdim=True)
    if not bool(counted.all()):
        positions = (counted[:, 0] == 0).nonzero()[:, 0].tolist()
        raise ValueError(f"all voxels of the samples at positions {positions} are predicted as class {without}")
    histogram = counts / counted.double()
    weights = class_weights(histogram, eps, without)
    results = (histogram, contribution.sum(1), (weights * contribution).sum(1))
    return VoxelStatistics(*(result.to(_dtype(logits)) for result in results))


def class_weights(histogram: Tensor, eps: float, without: int | None = None) -> Tensor:
    """w_c of Eq. 5: (B, K) of shares (B, K), each row sums to 1; 0 for the class left out."""
    weights = 1 / (histogram + eps)
    if without is not None:
        weights[:, without] = 0
    return weights / weights.sum(1, keepdim=True)


@one_thread()
def chunked_class_sums(logits: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Count the voxels of each class, and sum up the surprisal -p log p of each class: the readable reference.

    Args:
        logits: (K, V) of any floating dtype, on any device.
        mask: (V,) bool, the voxels that count; None for all.

    Returns:
        counts (K,) int64 of the voxels whose most probable class it is, the lowest of equals; surprisal (K,) float64 in
        nats, NaN where a logit of a counted voxel is not finite or exceeds another by more than the dtype can hold.
    """
    counts = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    surprisal = torch.zeros(len(logits), dtype=torch.float64, device=logits.device)
    voxels = None if mask is None else mask.nonzero()[:, 0]
    for start in range(0, logits.shape[1] if voxels is None else len(voxels), CHUNK):
        chunk = _columns(logits, voxels, slice(start, start + CHUNK)).to(_dtype(logits)).contiguous()
        # max(0) and argmax(0) both return the first maximum; max is several times faster along this axis.
        counts += torch.bincount(chunk.max(0).indices, minlength=len(chunk))
        log_p = torch.log_softmax(chunk, 0)
        surprisal -= log_p.exp().mul_(log_p).sum(1)
    return counts, surprisal


def _sample_sums(position: int, logits: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    flat = logits[position].detach().flatten(1)  # (K, V): a view for both memory layouts
    kept = None if mask is None else mask[position].flatten()
    fast = flat.device.type == "cpu" and flat.dtype in BITS
    counts, surprisal = class_sums(flat, kept) if fast else chunked_class_sums(flat, kept)
    if not bool(torch.isfinite(surprisal).all()):
        raise ValueError(f"logits of the sample at position {position} are not finite, or too large")
    return counts, surprisal


def _columns(flat: Tensor, voxels: Tensor | None, part: slice) -> Tensor:
    """A part of the columns of (K, V), or of the given columns of it."""
    if voxels is None:
        return flat[:, part]
    if flat.stride(0) == 1:  # memory holds the classes of a voxel side by side: gather whole voxels
        return flat.t().index_select(0, voxels[part]).t()
    return flat.index_select(1, voxels[part])


def _check(logits: Tensor, mask: Tensor | None) -> None:
    if logits.dim() < 3 or logits.numel() == 0:
        raise ValueError(f"logits must be (B, K, *grid) and not empty, got {tuple(logits.shape)}")
    if mask is None:
        return
    if mask.dtype != torch.bool or mask.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            f"mask must be bool of shape (B, *grid) = {(len(logits), *logits.shape[2:])}, "
            f"got {mask.dtype} of shape {tuple(mask.shape)}"
        )


def _dtype(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32
