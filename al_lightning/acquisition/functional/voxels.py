"""Statistics of voxel-wise class probabilities: class histogram, entropy, frequency-weighted entropy.

Shape letters: B samples, K classes, V voxels of a sample, ``*grid`` the axes of the voxel grid.

Equation numbers are those of the occupancy paper ("Class Distribution Guided Active Learning for 3D Occupancy
Prediction"). Logits are (B, K, *grid) and may be a view of memory laid out as (B, *grid, K). The math runs in float64
for float64 logits and in float32 for everything else; no gradient flows through these functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

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


@one_thread()
def class_histogram(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Share q_c of the voxels whose most probable class is c (Eq. 1); ties go to the lowest class.

    Args:
        logits: (B, K, *grid) unnormalized class scores.
        mask: (B, *grid) bool, the voxels that count; None for all.

    Returns:
        (B, K), each row sums to 1.

    Raises:
        ValueError: shapes do not fit, a mask is empty, or logits are not finite.
    """
    _check(logits, mask)
    counts = torch.stack([sum(map(_counts, chunks), _zeros(logits)) for chunks in _samples(logits, mask)])
    return (counts / counts.sum(1, keepdim=True)).to(_dtype(logits))


def mean_entropy(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Entropy of the class probabilities (Eq. 4), averaged over the voxels.

    Args:
        logits: (B, K, *grid) unnormalized class scores.
        mask: (B, *grid) bool, the voxels that count; None for all.

    Returns:
        (B,) nats.

    Raises:
        ValueError: shapes do not fit, a mask is empty, or logits are not finite.
    """
    return voxel_statistics(logits, mask).entropy


def frequency_weighted_entropy(logits: Tensor, mask: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Entropy with each class weighted by its inverse predicted prevalence in the sample, U_fw (Eq. 4-7).

    Args:
        logits: (B, K, *grid) unnormalized class scores.
        mask: (B, *grid) bool, the voxels that count; None for all.
        eps: added to the prevalence (Eq. 5).

    Returns:
        (B,) nats.

    Raises:
        ValueError: shapes do not fit, a mask is empty, logits are not finite, or eps is not positive.
    """
    return voxel_statistics(logits, mask, eps).frequency_weighted_entropy


@one_thread()
def voxel_statistics(logits: Tensor, mask: Tensor | None = None, eps: float = 1e-6) -> VoxelStatistics:
    """Class histogram, mean entropy and frequency-weighted entropy in one pass over the voxels.

    The weights w_c of Eq. 5 do not depend on the voxel, so Eq. 7 is sum_c w_c S_c / V, S_c = sum_i -p_i(c) log p_i(c):
    counts and S_c are accumulated chunk by chunk and the weights come after. Probabilities never exist for more than
    one chunk.

    Args:
        logits: (B, K, *grid) unnormalized class scores.
        mask: (B, *grid) bool, the voxels that count; None for all.
        eps: added to the prevalence (Eq. 5).

    Raises:
        ValueError: shapes do not fit, a mask is empty, logits are not finite, or eps is not positive.
    """
    _check(logits, mask)
    if not eps > 0:
        raise ValueError(f"eps must be positive, got {eps}")
    counts, surprisal = [], []
    for chunks in _samples(logits, mask):
        counts.append(_zeros(logits))
        surprisal.append(_zeros(logits))
        for chunk in chunks:
            counts[-1] += _counts(chunk)
            surprisal[-1] += _surprisal(chunk)
    voxels = torch.stack(counts).sum(1, keepdim=True)
    histogram = torch.stack(counts) / voxels
    contribution = torch.stack(surprisal) / voxels
    weights = 1 / (histogram + eps)
    weights = weights / weights.sum(1, keepdim=True)
    results = (histogram, contribution.sum(1), (weights * contribution).sum(1))
    return VoxelStatistics(*(result.to(_dtype(logits)) for result in results))


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
    empty = ~mask.flatten(1).any(1)
    if bool(empty.any()):
        raise ValueError(f"mask holds no voxel for the samples at positions {empty.nonzero()[:, 0].tolist()}")


def _dtype(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def _zeros(logits: Tensor) -> Tensor:
    return torch.zeros(logits.shape[1], dtype=torch.float64, device=logits.device)


def _samples(logits: Tensor, mask: Tensor | None) -> Iterator[Iterator[Tensor]]:
    """For every sample its counted voxels, as contiguous chunks (K, up to CHUNK)."""
    for position, sample in enumerate(logits.detach()):
        flat = sample.flatten(1)  # (K, V): a view for both memory layouts
        # One test for NaN, infinities, and differences that overflow in log_softmax and would turn into 0 * inf there.
        low, high = torch.aminmax(flat.t() if flat.stride(0) == 1 else flat)
        if not bool(torch.isfinite(high.to(_dtype(logits)) - low.to(_dtype(logits)))):
            raise ValueError(f"logits of the sample at position {position} are not finite, or too large")
        yield _chunks(flat, None if mask is None else mask[position].flatten().nonzero()[:, 0], _dtype(logits))


def _chunks(flat: Tensor, voxels: Tensor | None, dtype: torch.dtype) -> Iterator[Tensor]:
    """Cut (K, V) into pieces of its columns, or of the given columns of it."""
    for start in range(0, flat.shape[1] if voxels is None else len(voxels), CHUNK):
        part = slice(start, start + CHUNK)
        if voxels is None:
            chunk = flat[:, part]
        elif flat.stride(0) == 1:  # memory holds the classes of a voxel side by side: gather whole voxels
            chunk = flat.t().index_select(0, voxels[part]).t()
        else:
            chunk = flat.index_select(1, voxels[part])
        yield chunk.to(dtype).contiguous()


def _counts(chunk: Tensor) -> Tensor:
    # max(0) and argmax(0) both return the first maximum; max is several times faster along this axis.
    return torch.bincount(chunk.max(0).indices, minlength=len(chunk))


def _surprisal(chunk: Tensor) -> Tensor:
    log_p = torch.log_softmax(chunk, 0)
    return log_p.exp().mul_(log_p).sum(1).neg()
