"""Which voxels are predicted as occupied, as machine code: one pass over the memory of the logits.

Shape letters: B samples, K classes, V voxels, X Y Z voxels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.acquisition.functional.register_kernel import prefetch
from al_lightning.acquisition.functional.voxel_kernel import BITS, LINE
from al_lightning.compiled import compiled, in_parallel

CHUNK = 2**15  # voxels that a thread takes at a time
BLOCK = 2**8  # voxels whose answers stay in the processor's first cache from class to class

u32, u64 = np.uint32, np.uint64


def occupied_voxels(logits: Tensor, free_class: int) -> Tensor:
    """Whether the most probable class of a voxel is another than the free one; the first of equals is the one.

    Args:
        logits: (B, K, X, Y, Z). Those that are not a number are larger than all others, as in `torch.max`.
        free_class: the class of empty voxels.

    Returns:
        (B, X, Y, Z) bool, on the device of the logits.
    """
    logits = logits.detach()
    if logits.device.type != "cpu" or logits.dtype not in BITS:
        return logits.max(1).indices.ne(free_class)  # as argmax, several times faster along this axis
    occupied = torch.empty(logits[:, 0].shape, dtype=torch.bool)
    for sample, voxels in zip(logits, occupied, strict=True):
        _fill(voxels.flatten().numpy(), sample, free_class)
    return occupied


def _fill(occupied: NDArray[np.bool_], logits: Tensor, free_class: int) -> None:
    """Fill in occupied (V,) of a sample (K, X, Y, Z)."""
    integer, unsigned = BITS[logits.dtype]
    class_last = not logits.is_contiguous()
    memory = (logits.permute(1, 2, 3, 0) if class_last else logits).contiguous()
    bits = memory.view(integer).numpy().view(unsigned).reshape(-1)
    K, V = len(logits), len(occupied)
    fill = _class_last if class_last else _class_first
    in_parallel(lambda start: fill(bits, K, free_class, start, min(start + CHUNK, V), occupied), range(0, V, CHUNK))


@compiled()
def _class_last(bits: NDArray[Any], K: int, free: int, start: int, stop: int, occupied: NDArray[np.bool_]) -> None:
    """Fill in occupied (V,) from start to stop; the bits of the logits are (V, K)."""
    for voxel in range(start, stop):
        first = u64(voxel * K)
        bound = _number(bits, first + u64(free))
        beaten = False
        for k in range(free):
            beaten |= _beats(_number(bits, first + u64(k)), bound, True)
        for k in range(free + 1, K):
            beaten |= _beats(_number(bits, first + u64(k)), bound, False)
        occupied[u64(voxel)] = beaten


@compiled()
def _class_first(bits: NDArray[Any], K: int, free: int, start: int, stop: int, occupied: NDArray[np.bool_]) -> None:
    """Fill in occupied (V,) from start to stop; the bits of the logits are (K, V).

    The next block of each class is fetched meanwhile: the processor does not foresee its place.
    """
    V = len(occupied)
    occupied[start:stop] = False
    for block in range(start, stop, BLOCK):
        for k in range(K):
            for place in range(k * V + block + BLOCK, k * V + block + 2 * BLOCK, LINE // bits.itemsize):
                prefetch(bits, place)
            if k != free:
                for voxel in range(block, min(block + BLOCK, stop)):
                    bound = _number(bits, u64(free * V) + u64(voxel))
                    occupied[u64(voxel)] |= _beats(_number(bits, u64(k * V) + u64(voxel)), bound, k < free)


@compiled(inline=True)
def _number(bits: NDArray[Any], place: Any) -> np.float32:
    return u32(bits[place] * u32(1 if bits.itemsize == 4 else 2**16)).view(np.float32)


@compiled(inline=True)
def _beats(x: np.float32, bound: np.float32, first: bool) -> bool:
    """Whether x is the larger, or as large and `first`; what is not a number is larger than any."""
    return bool((x > bound) | (first & (x == bound)) | ((x != x) & (first | (bound == bound))))
