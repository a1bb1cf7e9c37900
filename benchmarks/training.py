"""Forward pass and training step of FlashOcc, channels last in memory, beside the same network with channels first."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from al_lightning.models import flashocc_nano, flashocc_r50
from al_lightning.types import CameraInputs, VoxelGrid
from benchmarks.harness import Result, interleaved
from benchmarks.rig import OCC3D, camera_inputs

CLASSES = 18


def run(full: bool) -> list[Result]:
    """FlashOcc-R50 on Occ3D's grid, or FlashOcc-nano on a small one; one sample of six cameras."""
    grid, image_size = (OCC3D, (256, 704)) if full else (VoxelGrid(OCC3D.lower, OCC3D.upper, (16, 16, 4)), (32, 48))
    name, make = ("FlashOcc-R50", flashocc_r50) if full else ("FlashOcc-nano", flashocc_nano)
    torch.manual_seed(0)
    ours = make(grid, CLASSES, image_size).eval()
    peer = copy.deepcopy(ours)
    for parameter in peer.parameters():
        parameter.data = parameter.data.contiguous()
    inputs = camera_inputs(image_size)
    with torch.inference_mode():
        torch.testing.assert_close(ours(inputs).logits, peer(inputs).logits, rtol=1e-3, atol=1e-3)
        forward = interleaved(lambda: ours(inputs), lambda: peer(inputs), rounds=3)
    labels = torch.randint(CLASSES, (1, *grid.shape), generator=torch.Generator().manual_seed(0))
    step = interleaved(_step(ours.train(), inputs, labels), _step(peer.train(), inputs, labels), rounds=3)
    return [
        Result(f"{name}, forward pass", *forward, "channels first"),
        Result(f"{name}, training step", *step, "channels first", "gradients and AdamW"),
    ]


def _step(network: nn.Module, inputs: CameraInputs, labels: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step() -> None:
        torch.autograd.backward(F.cross_entropy(network(inputs).logits, labels))
        optimizer.step()
        optimizer.zero_grad()

    return step
