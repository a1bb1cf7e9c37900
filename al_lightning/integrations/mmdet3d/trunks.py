"""Image backbones and necks of mmdet and mmdet3d as parts of this framework's networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from al_lightning.integrations.mmdet3d.configs import build_model
from al_lightning.integrations.mmdet3d.libraries import require
from al_lightning.integrations.mmdet3d.weights import initialize
from al_lightning.models.image_trunk import ImageMerger, ImageTrunk

PROBE = 128
"""Side of the image on which a part is tried when it is built, pixels."""


class MMBackbone(ImageTrunk):
    """An image backbone; its maps are measured on a small image when it is built.

    Args:
        type: name in OpenMMLab's registries with its library in front, such as "mmdet.SwinTransformer" or
            "mmdet3d.DLANet".
        arguments: its arguments; ``init_cfg: {type: Pretrained, checkpoint: ...}`` loads weights.

    Attributes:
        out_channels: channels of the maps.
        strides: image pixels per pixel of each map.

    Raises:
        MissingLibraryError: mmdet3d is not installed.
        ValueError: there is no such type, it refuses its arguments, or it makes no maps of growing stride.
    """

    def __init__(self, type: str, arguments: Mapping[str, Any] | None = None) -> None:  # noqa: A002  # OpenMMLab's key
        super().__init__()
        self.body = _built(type, arguments)
        maps = _tried(self.body, torch.zeros(1, 3, PROBE, PROBE), type)
        self.out_channels = tuple(made.shape[1] for made in maps)
        self.strides = tuple(PROBE // made.shape[2] for made in maps)
        if list(self.strides) != sorted(set(self.strides)):
            raise ValueError(f"{type} must make maps of growing stride, it makes them at {self.strides}")

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to the backbone's maps, the finest first."""
        return list(self.body(images))

    def freeze(self) -> None:
        """Let batch norms learn nothing; for stages there is the backbone's own argument ``frozen_stages``."""
        for module in self.body.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.requires_grad_(False)


class MMNeck(ImageMerger):
    """A neck, of whose maps one is used.

    Args:
        type: name in OpenMMLab's registries, such as "mmdet.FPN".
        arguments: its arguments.
        level: which of its maps is used, from the finest, 0.

    Attributes:
        in_channels: channels of the maps that it takes.
        out_channels: channels of the map that is used.
        scale: pixels of the finest map per pixel of the one that is used.

    Raises:
        MissingLibraryError: mmdet3d is not installed.
        ValueError: there is no such type, it has no such level, or it refuses its arguments or the shapes.
    """

    def __init__(self, type: str, arguments: Mapping[str, Any], level: int = 0) -> None:  # noqa: A002
        super().__init__()
        self.body, self.level = _built(type, arguments), level
        channels = arguments["in_channels"]
        self.in_channels = tuple(channels) if isinstance(channels, Sequence) else (channels,)
        sides = [PROBE // 2**position for position in range(len(self.in_channels))]
        given = [torch.zeros(1, count, side, side) for count, side in zip(self.in_channels, sides, strict=True)]
        maps = _tried(self.body, given, type)
        if not 0 <= level < len(maps):
            raise ValueError(f"{type} makes {len(maps)} maps, there is no level {level}")
        self.out_channels = maps[level].shape[1]
        self.scale = PROBE // maps[level].shape[2]

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps of the backbone, the finest first, to one (B, C, h, w)."""
        merged: Tensor = _as_list(self.body(list(maps)))[self.level]
        return merged


def _built(name: str, arguments: Mapping[str, Any] | None) -> nn.Module:
    require(f"type '{name}'")
    if not name.startswith(("mmdet.", "mmdet3d.")):
        raise ValueError(f"type must begin with 'mmdet.' or 'mmdet3d.', got '{name}'")
    part = build_model({"type": name, **(arguments or {})}, name)
    initialize(part)
    return part  # type: ignore[no-any-return]


@torch.no_grad()
def _tried(part: nn.Module, given: Any, name: str) -> list[Tensor]:
    """The maps that a part makes, without a trace in its norms."""
    mode = part.training
    part.eval()  # of some backbones it returns nothing
    try:
        maps = _as_list(part(given))
    except (AssertionError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{name} fails on a small input: {error}") from error
    finally:
        part.train(mode)
    if not maps or not all(isinstance(made, Tensor) and made.dim() == 4 for made in maps):
        raise ValueError(f"{name} must make feature maps (B, C, H, W)")
    return maps


def _as_list(maps: Any) -> list[Tensor]:
    return list(maps) if isinstance(maps, (list, tuple)) else [maps]
