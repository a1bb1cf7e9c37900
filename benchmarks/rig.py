"""Six cameras around a car, as those of nuScenes, and random images of them."""

from __future__ import annotations

import torch
from torch import Tensor

from al_lightning.driving import STRAIGHT, DrivingInputs
from al_lightning.types import CameraInputs, VoxelGrid

OCC3D = VoxelGrid((-40.0, -40.0, -1.0), (40.0, 40.0, 5.4), (200, 200, 16))
YAWS = torch.tensor([0.0, 55.0, -55.0, 110.0, -110.0, 180.0]).deg2rad()
HEIGHT = 1.5  # metres above the origin of the ego frame


def camera_inputs(image_size: tuple[int, int], batch: int = 1) -> CameraInputs:
    """What FlashOcc is given; the images are not augmented."""
    return CameraInputs(
        images=_images(batch, image_size),
        camera2ego=_camera2ego().repeat(batch, 1, 1, 1),
        intrinsics=_intrinsics(image_size).repeat(batch, len(YAWS), 1, 1),
        post_rotation=torch.eye(3).repeat(batch, len(YAWS), 1, 1),
        post_translation=torch.zeros(batch, len(YAWS), 3),
        bda=torch.eye(4).repeat(batch, 1, 1),
    )


def driving_inputs(image_size: tuple[int, int]) -> DrivingInputs:
    """What VAD is given: one frame that begins a scene."""
    turn = torch.eye(4)  # LiDAR: x right, y forward
    turn[:2, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    projection = torch.eye(4).repeat(len(YAWS), 1, 1)
    projection[:, :3, :3] = _intrinsics(image_size)
    return DrivingInputs(
        images=_images(1, image_size),
        lidar2img=(projection @ torch.linalg.inv(turn @ _camera2ego()))[None],
        can_bus=torch.zeros(1, 18),
        new_scene=torch.tensor([True]),
        command=torch.tensor([STRAIGHT]),
        ego_history=torch.zeros(1, 2, 2),
        ego_status=torch.zeros(1, 9),
    )


def _images(batch: int, image_size: tuple[int, int]) -> Tensor:
    return torch.randn(batch, len(YAWS), 3, *image_size, generator=torch.Generator().manual_seed(0))


def _intrinsics(image_size: tuple[int, int]) -> Tensor:
    height, width = image_size
    focal = 0.8 * width  # 64 degrees from side to side
    return torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def _camera2ego() -> Tensor:
    """Poses (6, 4, 4): the camera's x to the right, y down, z forward; the car's x forward, y left, z up."""
    pose = torch.zeros(len(YAWS), 4, 4)
    pose[:, 0, 0], pose[:, 1, 0] = YAWS.sin(), -YAWS.cos()
    pose[:, 2, 1] = -1.0
    pose[:, 0, 2], pose[:, 1, 2] = YAWS.cos(), YAWS.sin()
    pose[:, 0, 3], pose[:, 1, 3] = YAWS.cos(), YAWS.sin()
    pose[:, 2, 3] = HEIGHT
    pose[:, 3, 3] = 1.0
    return pose
