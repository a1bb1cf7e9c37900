"""Statistics of voxel-wise class probabilities: class histogram, entropy, frequency-weighted entropy.

Shape letters: B samples, K classes, V voxels of a sample, ``*grid`` the axes of the voxel grid.

Equation numbers are those of the occupancy paper ("Class Distribution Guided Active Learning for 3D Occupancy
Prediction"). Logits are (B, K, *grid) and may be a view of memory laid out as (B, *grid, K). The math runs in float64
for float64 logits and in float32 for everything else, sums run in float64; no gradient flows through these functions.

Sums over the voxels are found by `voxel_kernel.class_sums` on the CPU and by `device_voxel_kernel.class_sums` on a GPU
where they can read the logits, which is several times faster, and by `chunked_class_sums` otherwise.
"""

from __future__ import annotations

import warnings
from functools import cache
from types import ModuleType
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
    counts, surprisal = _batch_sums(logits, mask)
    finite = surprisal.isfinite().all(1)
    if not bool(finite.all()):
        position = int(finite.logical_not().nonzero()[0])
        raise ValueError(f"logits of the sample at position {position} are not finite, or too large")
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
    return VoxelStatistics(*(result.to(_dtype(logits)).to(logits.device) for result in results))


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


def _batch_sums(logits: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Counts (B, K) int64 and surprisal (B, K) float64, on the CPU: a GPU is waited for once, the rest is little."""
    logits = logits.detach()
    kernel = _device_kernel(logits.device)
    if kernel is not None and logits.dtype in kernel.DTYPES and logits.shape[1] <= kernel.MOST_CLASSES:
        sums = kernel.class_sums(logits.flatten(2), None if mask is None else mask.flatten(1)).cpu()
        return sums[:, 0].long(), sums[:, 1]
    sums_of = class_sums if logits.device.type == "cpu" and logits.dtype in BITS else chunked_class_sums
    samples = zip(logits, [None] * len(logits) if mask is None else mask, strict=True)
    # Flattened, both memory layouts stay views.
    sums = [sums_of(sample.flatten(1), None if kept is None else kept.flatten()) for sample, kept in samples]
    counts, surprisal = (torch.stack(values).cpu() for values in zip(*sums, strict=True))
    return counts, surprisal


@cache
def _device_kernel(device: torch.device) -> ModuleType | None:
    """The kernel for GPUs, tried on a voxel: Triton may be absent or too old, have no compiler, or not know the GPU."""
    if device.type != "cuda":
        return None
    try:
        from al_lightning.acquisition.functional import device_voxel_kernel

        device_voxel_kernel.class_sums(torch.zeros(1, 2, 1, device=device))
    except Exception as error:  # each of these fails in its own way
        warnings.warn(
            f"voxel statistics on {device} take the slower way of plain PyTorch: Triton cannot be used ({error!r})",
            stacklevel=2,
        )
        return None
    return device_voxel_kernel


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
