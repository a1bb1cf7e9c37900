"""A tiny OccFormer, and a batch for it."""

from __future__ import annotations

import torch

from al_lightning.models.occformer import EfficientNet, OccFormer, OccFormerSize, Run
from al_lightning.types import CameraInputs, OccupancyAnnotations, VoxelGrid

GRID = VoxelGrid((0.0, -12.8, -2.0), (25.6, 12.8, 4.4), (32, 32, 4))
IMAGE_SIZE = (64, 96)
DEPTH = (2.0, 26.0, 1.0)
CLASSES = 5
SIZE = OccFormerSize(
    neck=8,
    encoder=(32, 32, 32, 32),
    coarsening=(2, 2, 1),
    dims=24,
    sampling_heads=4,
    heads=4,
    sampling_layers=1,
    layers=2,
    queries=8,
)
RUNS = tuple((Run(1, kernel, stride, 8),) for kernel, stride in ((3, 1), (3, 2), (5, 2), (3, 2), (5, 2)))


def tiny_occformer(seed: int = 0) -> OccFormer:
    torch.manual_seed(seed)
    return occformer_tiny(GRID, CLASSES)


def occformer_tiny(grid: VoxelGrid, num_classes: int) -> OccFormer:
    return OccFormer(grid, EfficientNet(RUNS, stem=8, last=16), num_classes, IMAGE_SIZE, DEPTH, SIZE)


def occformer_inputs(samples: int = 2, seed: int = 0) -> CameraInputs:
    """Samples from cameras with slightly different calibrations, which look along x."""
    generator = torch.Generator().manual_seed(seed)
    camera2ego = torch.eye(4)
    camera2ego[:3, :3] = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    intrinsics = torch.tensor([[60.0, 0.0, 48.0], [0.0, 60.0, 30.0], [0.0, 0.0, 1.0]]).repeat(samples, 1, 1, 1)
    intrinsics[:, 0, 0, 0] += torch.arange(samples)
    return CameraInputs(
        images=torch.randn(samples, 1, 3, *IMAGE_SIZE, generator=generator),
        camera2ego=camera2ego.repeat(samples, 1, 1, 1),
        intrinsics=intrinsics,
        post_rotation=torch.eye(3).repeat(samples, 1, 1, 1),
        post_translation=torch.zeros(samples, 1, 3),
        bda=torch.eye(4).repeat(samples, 1, 1),
        projection_shift=torch.tensor([2.0, 0.1, 0.003]).repeat(samples, 1, 1),
    )


def occformer_annotations(samples: int = 2, seed: int = 0) -> OccupancyAnnotations:
    """A floor, a wall in each sample and empty space between; a third of the voxels does not count."""
    generator = torch.Generator().manual_seed(seed)
    semantics = torch.zeros(samples, *GRID.shape, dtype=torch.uint8)
    semantics[..., 0] = 1
    for sample in range(samples):
        semantics[sample, 20:, 8 * sample : 8 * sample + 10, 1:] = 2 + sample % 3
    mask = torch.rand(semantics.shape, generator=generator) < 2 / 3
    depth = 2 + 20 * torch.rand(samples, 1, *IMAGE_SIZE, generator=generator)
    seen = torch.rand(depth.shape, generator=generator) < 0.05
    return OccupancyAnnotations(semantics.masked_fill(~mask, 255), mask, depth * seen)
