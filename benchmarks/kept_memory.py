"""Training steps of FlashOcc on the CPU with freed memory kept, as a run keeps it, beside giving it back."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys

import torch

from al_lightning.engine.memory import keep_freed_memory
from al_lightning.models import flashocc_nano, flashocc_r50
from al_lightning.types import VoxelGrid
from benchmarks.harness import Result, seconds
from benchmarks.rig import OCC3D, camera_inputs
from benchmarks.training import CLASSES, training_step


def run(full: bool) -> list[Result]:
    """FlashOcc-R50 and nano on Occ3D's grid, or nano on a small one, each in processes of its own."""
    results = []
    for name in ("FlashOcc-R50", "FlashOcc-nano") if full else ("FlashOcc-nano",):
        (ours, loss, size), (peer, other, usual) = (_elsewhere(name, full, keep) for keep in (True, False))
        if loss != other:
            raise AssertionError(f"{name}: the loss is {loss} with memory kept, {other} without")
        note = f"{size / 2**30:.2f} in place of {usual / 2**30:.2f} GiB in all"
        results.append(Result(f"{name}, training step, memory kept", ours, peer, "memory given back", note))
    return results


def _elsewhere(name: str, full: bool, keep: bool) -> tuple[float, float, int]:
    """Seconds of a step, the loss after the first ones, and bytes of the process at its largest."""
    words = [sys.executable, "-m", "benchmarks.kept_memory", json.dumps([name, full, keep])]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    took, loss, size = json.loads(done.stdout)
    return took, loss, size


def _here(name: str, full: bool, keep: bool) -> tuple[float, float, int]:
    if keep:
        keep_freed_memory()
    grid = OCC3D if full else VoxelGrid(OCC3D.lower, OCC3D.upper, (16, 16, 4))
    image_size = (32, 48) if not full else (256, 704) if name == "FlashOcc-R50" else (192, 608)
    torch.manual_seed(0)
    network = (flashocc_r50 if name == "FlashOcc-R50" else flashocc_nano)(grid, CLASSES, image_size).train()
    labels = torch.randint(CLASSES, (1, *grid.shape))
    step = training_step(network, camera_inputs(image_size), labels)
    loss = [step() for _ in range(3)][-1]
    took = statistics.median(seconds(step) for _ in range(3))
    return took, loss, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(json.dumps(_here(*json.loads(sys.argv[1]))))
