"""What networks want of an image backbone and of the neck behind it, so that either can be exchanged."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class ImageTrunk(nn.Module):
    """Images (B, 3, H, W) to feature maps, each coarser than the one before.

    Attributes:
        out_channels: channels of the maps.
        strides: image pixels per pixel of each map.
    """

    out_channels: tuple[int, ...]
    strides: tuple[int, ...]

    @abstractmethod
    def freeze(self) -> None:
        """Let norms, stem and first stage learn nothing."""


class ImageMerger(nn.Module):
    """The last feature maps of a trunk, as arguments, to a single one.

    Attributes:
        in_channels: channels of the maps that it takes, the finest first.
        out_channels: channels of the result.
        scale: pixels of the finest map per pixel of the result.
    """

    in_channels: tuple[int, ...]
    out_channels: int
    scale: int


def last_maps(stages: Sequence[Tensor], neck: ImageMerger) -> Sequence[Tensor]:
    """As many of a trunk's maps as a neck takes."""
    return stages[-len(neck.in_channels) :]


def check_fit(trunk: ImageTrunk, neck: ImageMerger, channels: int, stride: int) -> None:
    """Refuse a neck that does not fit its trunk, or the network that reads it.

    Args:
        trunk: comes before the neck.
        neck: the neck.
        channels: channels that the network wants.
        stride: image pixels per feature pixel that the network wants.

    Raises:
        ValueError: channels or strides differ.
    """
    levels = len(neck.in_channels)
    given = trunk.out_channels[-levels:]
    if given != neck.in_channels:
        raise ValueError(f"the neck takes maps of {neck.in_channels} channels, the backbone's last ones have {given}")
    reached = trunk.strides[-levels] * neck.scale
    if (neck.out_channels, reached) != (channels, stride):
        raise ValueError(
            f"the neck must give {channels} channels at stride {stride}, it gives {neck.out_channels} at {reached}: "
            f"the backbone's maps have strides {trunk.strides}"
        )
