"""How large a simulated data set is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Size of a data set.

    Attributes:
        name: tells data sets apart.
        train_scenes: scenes of nuScenes' official training split, at most 700.
        val_scenes: scenes of the validation split, at most 150.
        keyframes: keyframes a scene, half a second apart.
        image_size: (H, W) of all camera images, pixels.
        blocks: size of a town in blocks of houses.
        towns: how many of nuScenes' four locations there are.

    Raises:
        ValueError: a size is out of range.
    """

    name: str
    train_scenes: int
    val_scenes: int
    keyframes: int
    image_size: tuple[int, int]
    blocks: int
    towns: int

    def __post_init__(self) -> None:
        """Refuse what the official splits and maps cannot hold."""
        limits = {
            "train_scenes": (0, 700),
            "val_scenes": (0, 150),
            "towns": (1, 4),
            "keyframes": (3, 1000),
            "blocks": (2, 20),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be between {low} and {high}, got {getattr(self, name)}")
        if self.train_scenes + self.val_scenes == 0:
            raise ValueError("a data set needs at least one scene")
        if len(self.image_size) != 2 or min(self.image_size) < 16:
            raise ValueError(f"image_size must be (H, W) of at least 16 pixels each, got {self.image_size}")


_PRESETS = (
    Preset("tiny", train_scenes=3, val_scenes=1, keyframes=3, image_size=(90, 160), blocks=2, towns=2),
    Preset("mini", train_scenes=72, val_scenes=18, keyframes=8, image_size=(180, 320), blocks=4, towns=4),
    Preset("small", train_scenes=700, val_scenes=150, keyframes=10, image_size=(180, 320), blocks=6, towns=4),
    Preset("full", train_scenes=700, val_scenes=150, keyframes=40, image_size=(900, 1600), blocks=6, towns=4),
)
PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in _PRESETS}


def find_preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got '{name}'")
    return PRESETS[name]
