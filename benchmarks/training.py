"""Forward pass and training step of FlashOcc: channels last beside channels first, and as kernels of torch.compile."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric

from al_lightning.models import FlashOcc, flashocc_nano, flashocc_r50
from al_lightning.tasks import OccupancyTask, compile_network
from al_lightning.types import CameraInputs, VoxelGrid
from benchmarks.harness import Result, interleaved, seconds
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
    steps = [training_step(network.train(), inputs, labels) for network in (ours, peer)]
    step = interleaved(*steps, rounds=3)
    results = [
        Result(f"{name}, forward pass", *forward, "channels first"),
        Result(f"{name}, training step", *step, "channels first", "gradients and AdamW"),
    ]
    return results + _compiled(name, ours, inputs, labels) if full else results


def _compiled(name: str, peer: FlashOcc, inputs: CameraInputs, labels: Tensor) -> list[Result]:
    """The network as kernels, which take minutes to make, beside the same without; and how long making them took."""
    ours = copy.deepcopy(peer)
    compile_network(OccupancyTask(ours, nn.Identity(), MeanMetric()))
    with torch.inference_mode():
        made = seconds(lambda: ours.eval()(inputs))
        torch.testing.assert_close(ours(inputs).logits, peer.eval()(inputs).logits, rtol=1e-3, atol=1e-3)
        forward = interleaved(lambda: ours(inputs), lambda: peer(inputs), rounds=3)
    steps = [training_step(network.train(), inputs, labels) for network in (ours, peer)]
    made_step = seconds(steps[0])
    step = interleaved(*steps, rounds=3)
    return [
        Result(f"{name}, forward pass, compiled", *forward, "not compiled", f"the first one {made:.0f} s"),
        Result(f"{name}, training step, compiled", *step, "not compiled", f"the first one {made_step:.0f} s"),
    ]


def training_step(network: nn.Module, inputs: CameraInputs, labels: Tensor) -> Callable[[], float]:
    """A step of AdamW, which returns the loss before it."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step() -> float:
        loss = F.cross_entropy(network(inputs).logits, labels)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step
