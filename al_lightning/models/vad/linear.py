"""Linear layers that oneDNN computes on the CPU.

PyTorch gives products of float32 matrices to MKL, which on processors that are not Intel's uses half of the width of
their registers; convolutions it gives to oneDNN, which uses all, where it has several threads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fused(*tensors: Tensor) -> bool:
    """Whether code for float32 on the CPU without gradient may take the place of the plain one, which compiles."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if wanted or torch.compiler.is_compiling():
        return False
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`, as a convolution of single pixels, which several threads finish faster.

    Args:
        x: (..., inputs).
        weight: (outputs, inputs).
        bias: (outputs,), or None.

    Returns:
        (..., outputs).
    """
    if not fused(x, weight) or not x.numel():
        return F.linear(x, weight, bias)
    pixels = x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)  # channels last: nothing is moved
    out = F.conv2d(pixels, weight[:, :, None, None], bias)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


class Linear(nn.Linear):
    """`torch.nn.Linear` by way of `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        return linear(x, self.weight, self.bias)
