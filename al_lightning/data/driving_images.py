"""Camera images and projections as VAD wants them: resize, normalize, pad with rows of zeros below.

Shape letters: C cameras, H W pixels of the network's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.data.images import IMAGENET_MEAN, IMAGENET_STD, read_image
from al_lightning.data.photometric import PhotometricDistortion, change_colours, draw_colours

Normalization = Literal["imagenet", "caffe"]
CAFFE_MEAN = (103.53, 116.28, 123.675)  # of blue, green, red


def read_images(
    paths: Sequence[Path],
    image_size: tuple[int, int],
    normalization: Normalization,
    distortion: PhotometricDistortion | None = None,
    generator: np.random.Generator | None = None,
) -> tuple[Tensor, NDArray[np.float64]]:
    """Images of a keyframe, as wide as the input, at its top.

    TRAP: VAD's released checkpoints were trained with ``caffe``, its present configurations with ``imagenet``.

    Args:
        paths: C files.
        image_size: (H, W) of the input, pixels.
        normalization: ``imagenet``, or ``caffe``: blue first, minus the mean, not divided.
        distortion: ranges of random colours, drawn for each image, as on disk; None for none.
        generator: source of the draws; None for no random colours.

    Returns:
        Images (C, 3, H, W) float32 and the factors (C,) by which pixel coordinates shrink.

    Raises:
        DataFileError: an image is missing or unreadable.
        ValueError: an image of this width is higher than the input.
    """
    images, ratios = [], []
    for path in paths:
        image = read_image(path)
        ratio = image_size[1] / image.width
        pixels: NDArray[np.uint8] | NDArray[np.float32] = np.array(image)
        if distortion is not None and generator is not None:
            pixels = change_colours(pixels, draw_colours(generator, distortion))
        resized = resize(pixels, ratio, image_size)
        images.append(F.pad(normalize(resized, normalization), (0, 0, 0, image_size[0] - resized.shape[1])))
        ratios.append(ratio)
    return torch.stack(images), np.array(ratios)


def no_views(image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Images (0, 3, H, W) and lidar2img (0, 4, 4) of no camera."""
    return torch.zeros(0, 3, *image_size), torch.zeros(0, 4, 4)


def resize(pixels: NDArray[np.uint8] | NDArray[np.float32], ratio: float, image_size: tuple[int, int]) -> Tensor:
    """Resize bilinearly, without antialiasing.

    VAD normalizes first, which makes no difference but costs more.

    Args:
        pixels: (h, w, 3).
        ratio: of the width to the one on disk.
        image_size: (H, W) of the network's input.

    Returns:
        (3, h * ratio, W) float32, 0 to 255.

    Raises:
        ValueError: the result is higher than H.
    """
    height = int(pixels.shape[0] * ratio + 1e-6)
    if height > image_size[0]:
        raise ValueError(
            f"image_size {image_size} cannot hold an image of {pixels.shape[0]} x {pixels.shape[1]} pixels: "
            f"as wide as that it is {height} pixels high"
        )
    image = torch.from_numpy(pixels).permute(2, 0, 1).float()
    return F.interpolate(image[None], (height, image_size[1]), mode="bilinear", align_corners=False)[0]


def normalize(image: Tensor, normalization: Normalization) -> Tensor:
    """Normalize an RGB image (3, h, w), 0 to 255; see `read_images`."""
    if normalization == "caffe":
        return image.flip(0) - torch.tensor(CAFFE_MEAN)[:, None, None]
    return (image - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]


def projections(
    intrinsics: NDArray[np.float64], camera2lidar: NDArray[np.float64], ratios: NDArray[np.float64]
) -> Tensor:
    """`DrivingInputs.lidar2img`.

    Args:
        intrinsics: (C, 3, 3) of the images on disk.
        camera2lidar: (C, 4, 4).
        ratios: (C,) by which pixel coordinates shrink.

    Returns:
        (C, 4, 4) float32.
    """
    view = np.zeros((len(ratios), 4, 4))
    view[:, :3, :3], view[:, 3, 3] = intrinsics, 1.0
    view[:, :2] *= ratios[:, None, None]
    return torch.from_numpy((view @ np.linalg.inv(camera2lidar)).astype(np.float32))
