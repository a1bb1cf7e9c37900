"""Class counts and surprisal of voxels on a GPU: one kernel that reads every logit of a batch once.

Shape letters: B samples, K classes, V voxels of a sample, P programs a sample.

A thread holds the K logits of one voxel in registers, so that nothing but the final sums passes between threads. In
either memory layout neighbouring threads take neighbouring voxels. The readable reference is
`voxels.chunked_class_sums`; Triton, which comes with PyTorch for CUDA, is needed by this module alone.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""dtypes that the kernel reads; its math runs in float32."""

MOST_CLASSES = 64  # of more, the logits of a voxel no longer fit into the registers of a thread

BLOCK = 128  # voxels that a program handles together, one a thread
BLOCKS = 8  # of a program: fixed, so that sums depend neither on the device nor on the rest of the batch


def class_sums(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Count the voxels of each class, and sum up the surprisal -p log p of each class, without waiting for the device.

    Args:
        logits: (B, K, V) of one of `DTYPES`, K up to `MOST_CLASSES`, on a GPU; contiguous or a view of a contiguous
            (B, V, K), others are copied.
        mask: (B, V) bool on the same device, the voxels that count; None for all.

    Returns:
        (B, 2, K) float64 on the same device: counts of the voxels whose most probable class it is, the lowest of
        equals; and surprisal in nats, NaN where a logit of a counted voxel is not finite or exceeds another by more
        than float32 can hold. The same bits in every call.
    """
    B, K, V = logits.shape
    class_last = not logits.is_contiguous() and logits.mT.is_contiguous()
    memory = logits.mT if class_last else logits.contiguous()
    kept = memory if mask is None else mask.contiguous()  # not read without a mask
    P = triton.cdiv(V, BLOCK * BLOCKS)
    sums = torch.empty(B, P, 2, K, dtype=torch.float64, device=logits.device)
    with torch.cuda.device(logits.get_device()):  # -1, that of the interpreter's tensors, changes nothing
        _sum[P, B](
            memory, kept, sums, V, K, class_last, mask is not None, BLOCK, num_warps=BLOCK // 32, enable_fp_fusion=True
        )
    return sums.sum(1)


@triton.jit  # type: ignore[untyped-decorator]
def _sum(
    logits: tl.tensor,
    mask: tl.tensor,
    sums: tl.tensor,
    V: tl.tensor,
    K: tl.constexpr,
    CLASS_LAST: tl.constexpr,
    MASKED: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Write sums (B, P, 2, K) of a program's share of the voxels of a sample: every P-th block."""
    program, programs = tl.program_id(0), tl.num_programs(0)
    sample = tl.program_id(1).to(tl.int64)  # offsets in a whole batch exceed 32 bits
    lanes = tl.arange(0, BLOCK)
    BINS: tl.constexpr = triton.next_power_of_2(K)
    counts = tl.zeros([BINS], tl.int32)
    surprisal = (tl.zeros([BLOCK], tl.float32),) * K
    for block in range(program, tl.cdiv(V, BLOCK), programs):
        start = block * BLOCK
        voxels = start + lanes
        kept = voxels < V
        if MASKED:
            kept = kept & tl.load(mask + sample * V + voxels, mask=kept, other=False)
        # What does not count reads as zeros, which are finite.
        x: tl.tuple = ()
        if CLASS_LAST and K % 2 == 0:
            pair = tl.arange(0, 2)
            for c in tl.static_range(0, K, 2):
                places = logits + (sample * V + start) * K + lanes[:, None] * K + c + pair[None, :]
                x = x + tl.split(tl.load(places, mask=kept[:, None], other=0).to(tl.float32))
        elif CLASS_LAST:
            for c in tl.static_range(K):
                places = logits + (sample * V + start) * K + lanes * K + c
                x = x + (tl.load(places, mask=kept, other=0).to(tl.float32),)
        else:
            for c in tl.static_range(K):
                row = logits + (sample * K + c) * V
                x = x + (tl.load(row + voxels, mask=kept, other=0).to(tl.float32),)
        top = x[0]
        best = tl.zeros([BLOCK], tl.int32)
        for c in tl.static_range(1, K):
            best = tl.where(x[c] > top, c, best)
            top = tl.maximum(top, x[c])
        counts += tl.histogram(best, BINS, mask=kept)
        e: tl.tuple = ()
        total = tl.zeros([BLOCK], tl.float32)
        for c in tl.static_range(K):
            e = e + (tl.exp(x[c] - top),)
            total += e[c]
        inverse = tl.where(kept, 1 / total, 0.0)
        weight = inverse * tl.log(total)
        added: tl.tuple = ()
        for c in tl.static_range(K):
            # -p log p with p = e / total; large logits cancel out before the logarithm is added.
            added = added + (surprisal[c] + e[c] * (weight - (x[c] - top) * inverse),)
        surprisal = added
    place = sums + (sample * programs + program) * 2 * K
    bins = tl.arange(0, BINS)
    tl.store(place + bins, counts.to(tl.float64), mask=bins < K)
    for c in tl.static_range(K):
        tl.store(place + K + c, tl.sum(surprisal[c]).to(tl.float64))
