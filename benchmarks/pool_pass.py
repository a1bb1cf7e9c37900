"""FlashOcc-nano over a pool with the summaries that selection needs, beside inference alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from al_lightning.acquisition import VoxelSummarizer, frustum_visibility
from al_lightning.models import flashocc_nano
from al_lightning.types import Batch, CameraInputs, OccupancyPrediction, Summary, VoxelGrid
from benchmarks.harness import Result, interleaved, peak_bytes
from benchmarks.rig import OCC3D, camera_inputs
from benchmarks.voxel_statistics import plain_statistics

FREE_CLASS = 17


@torch.inference_mode()
def run(full: bool) -> list[Result]:
    """Occ3D's grid and six cameras, or few voxels and small images."""
    grid, image_size = (OCC3D, (192, 608)) if full else (VoxelGrid(OCC3D.lower, OCC3D.upper, (16, 16, 8)), (32, 48))
    torch.manual_seed(0)
    network = flashocc_nano(grid, image_size=image_size).eval()
    # A flat street under free space, so that cameras see what they see in a drive.
    last = network.occ_head.predicter[-1]
    assert isinstance(last, nn.Linear)
    by_height = last.bias.view(grid.shape[2], -1)
    by_height[grid.shape[2] // 8 :, FREE_CLASS] += 10
    by_height[: grid.shape[2] // 8, FREE_CLASS] -= 10
    inputs = camera_inputs(image_size)
    results = []
    for visibility in ("all", "frustum"):
        summarizer = VoxelSummarizer(grid, visibility, FREE_CLASS)
        _check(summarizer, network(inputs), inputs)

        def summarize(frames: int, summarizer: VoxelSummarizer = summarizer) -> Summary:
            batches = [Batch[CameraInputs, None](torch.tensor([row]), inputs) for row in range(frames)]
            return Summary.concatenate([Summary(b.index, summarizer(b, network(b.inputs))) for b in batches])

        results.append(_compare(f"a frame, visibility '{visibility}'", summarize, lambda: network(inputs), full))
    return results


def _check(summarizer: VoxelSummarizer, prediction: OccupancyPrediction, inputs: CameraInputs) -> None:
    """Hold a summary equal to the plain statistics of the same voxels."""
    logits = prediction.logits
    if summarizer.visibility == "frustum":
        seen = frustum_visibility(logits.max(1).indices != FREE_CLASS, summarizer.grid, inputs)
        logits = logits.flatten(2)[:, :, seen.flatten()]
    found = summarizer(Batch[CameraInputs, None](torch.tensor([0]), inputs), prediction)
    fields = ("class_histogram", "entropy", "frequency_weighted_entropy")
    expected = tuple(plain_statistics(logits))
    torch.testing.assert_close(tuple(found[name] for name in fields), expected, rtol=1e-5, atol=1e-6)


def _compare(name: str, summarize: Callable[[int], Summary], infer: Callable[[], object], full: bool) -> Result:
    summarize(2)
    few, many = (2, 6)
    growth = (peak_bytes(lambda: summarize(many)) - peak_bytes(lambda: summarize(few))) / (many - few)
    ours, peer = interleaved(lambda: summarize(1), infer, rounds=15 if full else 3)
    return Result(
        name, ours, peer, "inference alone", f"{ours / peer - 1:+.1%}; peak memory {growth / 2**20:+.1f} MiB a frame"
    )
