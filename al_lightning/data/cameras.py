"""The cameras of a keyframe: from image files and calibration to what a network sees.

Shape letters: N cameras, H W pixels of the network's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.data.images import (
    ChannelOrder,
    ImageJitter,
    augment_image,
    draw_image_augmentation,
    evaluation_image_augmentation,
    image_homography,
    normalize_image,
    read_image,
)
from al_lightning.types import CameraInputs


@dataclass(frozen=True)
class CameraRig:
    """Cameras of one keyframe, each at the time of its own exposure.

    Attributes:
        images: N image files.
        intrinsics: (N, 3, 3) float64 pinhole matrix of the image on disk, pixels.
        sensor2ego: (N, 4, 4) float64 camera to ego frame.
        ego2global: (N, 4, 4) float64 ego to global frame.
    """

    images: Sequence[Path]
    intrinsics: NDArray[np.float64]
    sensor2ego: NDArray[np.float64]
    ego2global: NDArray[np.float64]


def camera_inputs(
    rig: CameraRig,
    image_size: tuple[int, int],
    bda: Tensor,
    jitter: ImageJitter,
    generator: np.random.Generator | None = None,
    channel_order: ChannelOrder = "rgb",
) -> CameraInputs:
    """Read, augment and normalize the images of a keyframe; every camera draws its own augmentation.

    Args:
        rig: the cameras; the first one's ego pose is the reference (`key_ego_transforms`).
        image_size: (H, W) of the network's input, pixels.
        bda: (4, 4) augmentation of the ego frame.
        jitter: ranges of the image augmentation.
        generator: source of four random numbers a camera; None for no augmentation.
        channel_order: see `normalize_image`.

    Raises:
        DataFileError: an image is missing or unreadable.
    """
    views = [_view(path, image_size, jitter, generator, channel_order) for path in rig.images]
    images, post_rotation, post_translation = (torch.stack(part) for part in zip(*views, strict=True))
    sensor2ego, ego2global = torch.from_numpy(rig.sensor2ego), torch.from_numpy(rig.ego2global)
    return CameraInputs(
        images=images,
        camera2ego=key_ego_transforms(sensor2ego, ego2global),
        intrinsics=torch.from_numpy(rig.intrinsics).float(),
        post_rotation=post_rotation,
        post_translation=post_translation,
        bda=bda,
    )


def _view(
    path: Path,
    image_size: tuple[int, int],
    jitter: ImageJitter,
    generator: np.random.Generator | None,
    channel_order: ChannelOrder,
) -> tuple[Tensor, Tensor, Tensor]:
    """One camera: image (3, H, W), post_rotation (3, 3) and post_translation (3,)."""
    image = read_image(path)
    source_size = (image.height, image.width)
    if generator is None:
        augmentation = evaluation_image_augmentation(source_size, image_size)
    else:
        augmentation = draw_image_augmentation(generator, source_size, image_size, jitter)
    return normalize_image(augment_image(image, augmentation), channel_order), *image_homography(augmentation)


def key_ego_transforms(sensor2ego: Tensor, ego2global: Tensor, reference: int = 0) -> Tensor:
    """Camera poses in the ego frame of one reference camera's exposure.

    The cameras of a keyframe fire up to 0.1 s apart while the vehicle moves, so every camera has its own ego pose:
    ``inv(ego2global[reference]) @ ego2global @ sensor2ego`` (FlashOcc, `get_sensor_transforms`).

    Global translations are hundreds of metres, of which float32 would keep centimetres only where they cancel: the
    product is formed in float64. Pass float64 poses if you have them.

    Args:
        sensor2ego: (..., N, 4, 4) camera to ego frame at the camera's own time.
        ego2global: (..., N, 4, 4) ego to global frame at the camera's own time.
        reference: the camera whose time counts. TRAP: the official reference is the first camera of the fixed order,
            CAM_FRONT_LEFT, neither CAM_FRONT nor LIDAR_TOP, although the labels are drawn in the frame of LIDAR_TOP.

    Returns:
        (..., N, 4, 4) float32 `CameraInputs.camera2ego`.
    """
    ego2global = ego2global.double()
    global2key = torch.linalg.inv(ego2global[..., reference : reference + 1, :, :])
    camera2key: Tensor = global2key @ ego2global @ sensor2ego.double()
    return camera2key.float()
