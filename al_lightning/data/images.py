"""Camera images as the networks want them, and the geometry of what was done to them.

Resize, crop, flip, rotate as in BEVDet, which FlashOcc and OccFormer share. Sizes are (H, W) in pixels. Pixel
coordinates are (u, v), u to the right, v down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from al_lightning.types import DataFileError

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
ChannelOrder = Literal["rgb", "bgr"]


@dataclass(frozen=True)
class ImageJitter:
    """Ranges of the random image augmentation; the defaults are those of FlashOcc and OccFormer.

    Args:
        resize: added to the ratio that makes the image as wide as the input, uniform.
        rotation: degrees, counter-clockwise, uniform.
        flip: probability of a left-right flip.

    Raises:
        ValueError: a range is not (low, high), or a probability lies outside [0, 1].
    """

    resize: tuple[float, float] = (-0.06, 0.11)
    rotation: tuple[float, float] = (-5.4, 5.4)
    flip: float = 0.5

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("resize", "rotation"):
            values = tuple(getattr(self, name))
            if len(values) != 2 or values[0] > values[1]:
                raise ValueError(f"ImageJitter.{name} must be (low, high), got {values}")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"ImageJitter.flip must be a probability, got {self.flip}")


@dataclass(frozen=True)
class ImageAugmentation:
    """One choice of what to do with an image; the steps are done in this order.

    Attributes:
        ratio: nominal resize ratio.
        resized: (H, W) after the resize.
        top: row of the resized image where the crop begins; negative adds black rows.
        left: column where the crop begins.
        size: (H, W) of the crop, the input of the network.
        flip: mirror left and right.
        angle: rotation about the middle, degrees, counter-clockwise.
    """

    ratio: float
    resized: tuple[int, int]
    top: int
    left: int
    size: tuple[int, int]
    flip: bool = False
    angle: float = 0.0


def evaluation_image_augmentation(source_size: tuple[int, int], image_size: tuple[int, int]) -> ImageAugmentation:
    """Without chance: resize to the input's width, keep the bottom rows.

    Args:
        source_size: (H, W) of the image on disk.
        image_size: (H, W) of the input.
    """
    ratio = image_size[1] / source_size[1]
    resized = _resized(source_size, ratio)
    left = max(0, resized[1] - image_size[1]) // 2
    return ImageAugmentation(ratio, resized, resized[0] - image_size[0], left, image_size)


def draw_image_augmentation(
    generator: np.random.Generator,
    source_size: tuple[int, int],
    image_size: tuple[int, int],
    jitter: ImageJitter,
) -> ImageAugmentation:
    """Draw an augmentation; the crop stays at the bottom, where the road is.

    Args:
        generator: source of the four random numbers.
        source_size: (H, W) of the image on disk.
        image_size: (H, W) of the input.
        jitter: the ranges.

    Raises:
        ValueError: the jitter can shrink this image to nothing.
    """
    ratio = image_size[1] / source_size[1] + generator.uniform(*jitter.resize)
    if min(_resized(source_size, ratio)) < 1:
        raise ValueError(
            f"ImageJitter.resize {jitter.resize} leaves nothing of an image that is resized from {source_size} to "
            f"{image_size}: the ratio became {ratio:.3f}"
        )
    resized = _resized(source_size, ratio)
    left = int(generator.uniform(0, max(0, resized[1] - image_size[1])))
    flip = bool(generator.random() < jitter.flip)
    angle = generator.uniform(*jitter.rotation)
    return ImageAugmentation(ratio, resized, resized[0] - image_size[0], left, image_size, flip, angle)


def _resized(source_size: tuple[int, int], ratio: float) -> tuple[int, int]:
    """Truncated as in BEVDet, except that 1280 / 1241 * 1241 = 1279.9999... is 1280, not a black column."""
    return int(source_size[0] * ratio + 1e-6), int(source_size[1] * ratio + 1e-6)


def augment_image(image: Image.Image, augmentation: ImageAugmentation) -> NDArray[np.uint8]:
    """Resize (bicubic, antialiased), crop (black outside), flip and rotate (nearest, black corners).

    Args:
        image: RGB, of the size that the augmentation was made for.
        augmentation: what to do.

    Returns:
        (H, W, 3) uint8.
    """
    height, width = augmentation.size
    image = image.resize(augmentation.resized[::-1], Image.Resampling.BICUBIC)
    left, top = augmentation.left, augmentation.top
    image = image.crop((left, top, left + width, top + height))
    if augmentation.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if augmentation.angle:
        image = image.rotate(augmentation.angle)
    return np.asarray(image)


def image_homography(augmentation: ImageAugmentation) -> tuple[Tensor, Tensor]:
    """Where `augment_image` moves pixels: ``R @ (u, v, d) + t`` (`CameraInputs.post_rotation`, ``post_translation``).

    The nominal ratio is used, although the real ones differ by the truncation of the resized size, as in BEVDet.

    Returns:
        R (3, 3) and t (3,), float32; they leave the third coordinate alone.
    """
    height, width = augmentation.size
    rotation = augmentation.ratio * np.eye(2)
    translation = -np.array([augmentation.left, augmentation.top], dtype=np.float64)
    if augmentation.flip:
        mirror = np.diag([-1.0, 1.0])
        rotation, translation = mirror @ rotation, mirror @ translation + (width, 0)
    angle = math.radians(augmentation.angle)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    middle = np.array([width, height]) / 2
    rotation, translation = turn @ rotation, turn @ (translation - middle) + middle
    R, t = torch.eye(3), torch.zeros(3)
    R[:2, :2], t[:2] = torch.from_numpy(rotation), torch.from_numpy(translation)
    return R, t


def normalize_image(pixels: NDArray[np.uint8], channel_order: ChannelOrder = "rgb") -> Tensor:
    """RGB (H, W, 3) uint8 to (3, H, W) float32, minus ImageNet's mean, over its standard deviation.

    TRAP: ``bgr`` is what BEVDet and FlashOcc do to nuScenes. They tell the normaliser to turn BGR into RGB, but the
    image is RGB already: blue comes first, and it is blue from which the mean of red is taken. Their weights need this.

    Args:
        pixels: RGB.
        channel_order: order of the channels of the result; the means keep the order of RGB.
    """
    ordered = pixels if channel_order == "rgb" else pixels[..., ::-1]
    values: NDArray[np.float32] = ordered.transpose(2, 0, 1).astype(np.float32)
    scale = 1 / np.array(IMAGENET_STD, dtype=np.float64)
    values -= np.array(IMAGENET_MEAN, dtype=np.float32)[:, None, None]
    values *= scale.astype(np.float32)[:, None, None]
    return torch.from_numpy(np.ascontiguousarray(values))


def read_image(path: Path) -> Image.Image:
    """Decode an image to RGB.

    Raises:
        DataFileError: the file is missing, truncated or no image.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, UnidentifiedImageError) as error:  # a damaged PNG is a SyntaxError to Pillow
        raise DataFileError(f"cannot read the image {path}: {error}") from error


def checked_image_size(image_size: Any) -> tuple[int, int]:
    """An image size from a config as (H, W).

    Raises:
        ValueError: not two positive integers.
    """
    values = tuple(image_size)
    if len(values) != 2 or any(int(value) != value or value < 1 for value in values):
        raise ValueError(f"image_size must be (H, W) in pixels, got {image_size!r}")
    return int(values[0]), int(values[1])
