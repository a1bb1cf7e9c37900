"""Ways to divide the keyframes of a nuScenes-format set into training and validation.

A strategy looks at where and when the samples were taken and at nothing else. Shape letters: N samples.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from al_lightning.data.pickles import read_pickle
from al_lightning.types import DataFileError

Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class SampleIndex:
    """Keyframes as columns of equal length N.

    Attributes:
        tokens: sample tokens, all different.
        scenes: names of the scenes, such as "scene-0061".
        descriptions: what the annotators wrote about the scenes.
        locations: names of the maps.
        positions: (N, 2) x, y of the ego vehicle on its map, metres.
    """

    tokens: Sequence[str]
    scenes: Sequence[str]
    descriptions: Sequence[str]
    locations: Sequence[str]
    positions: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: NDArray[np.int64]) -> SampleIndex:
        """The samples with these numbers."""
        columns = (self.tokens, self.scenes, self.descriptions, self.locations)
        tokens, scenes, descriptions, locations = ([column[row] for row in rows] for column in columns)
        return SampleIndex(tokens, scenes, descriptions, locations, self.positions[rows])


class SplitStrategy(Protocol):
    """Says which samples to train on and which to validate on."""

    def __call__(self, samples: SampleIndex) -> dict[str, Rows]:
        """``train`` and ``val``, each (N,) bool, disjoint, neither empty; a sample may be in none.

        Raises:
            ValueError: a part is empty.
        """
        ...


class OfficialSplit:
    """nuScenes' own: by the names of the scenes. A set that uses these names is divided like nuScenes.

    The ten scenes of v1.0-mini are divided as nuScenes' ``mini_train`` and ``mini_val``; two of the former are of the
    ``val`` of the whole.
    """

    def __call__(self, samples: SampleIndex) -> dict[str, Rows]:
        """See `SplitStrategy`."""
        from nuscenes.utils.splits import create_splits_scenes  # takes a second: it imports matplotlib and OpenCV

        official = create_splits_scenes()
        mini = set(samples.scenes) == {*official["mini_train"], *official["mini_val"]}
        scenes = {name: official[f"mini_{name}" if mini else name] for name in ("train", "val")}
        return _parts({name: np.isin(samples.scenes, own) for name, own in scenes.items()}, self)


class GeographicSplit:
    """Places that are seen in training are not validated on: the split of Lilja et al., from their published tokens.

    Restricted to v1.0-trainval it has 23,574 training and 5,118 validation samples; the 5,457 of the test part are
    used for neither.

    Args:
        tokens: their file ``nusc_samples_geo.pkl``, a pickled dict: sample token -> train, val or test.

    Raises:
        DataFileError: the file is missing, or is not such a table.
    """

    def __init__(self, tokens: str) -> None:
        self.path = Path(tokens).expanduser()
        self.part_of = _read_tokens(self.path)

    def __call__(self, samples: SampleIndex) -> dict[str, Rows]:
        """See `SplitStrategy`."""
        parts = np.array([self.part_of.get(token, "") for token in samples.tokens])
        if not np.any(parts != ""):
            raise ValueError(f"none of the {len(self.part_of):,} tokens of {self.path} is in this data set")
        return _parts({name: parts == name for name in ("train", "val")}, self)


def _read_tokens(path: Path) -> dict[str, str]:
    content = read_pickle(path, "tokens")
    wanted = f"{path} must be a pickled dict, sample token -> 'train', 'val' or 'test'"
    if not isinstance(content, dict):
        raise DataFileError(f"{wanted}; it is a {type(content).__name__}")
    for token, part in content.items():
        if not (isinstance(token, str) and isinstance(part, str) and part in ("train", "val", "test")):
            raise DataFileError(f"{wanted}; it holds {_shortened(token)}: {_shortened(part)}")
    if not content:
        raise DataFileError(f"{wanted}; it is empty")
    return content


def _shortened(value: object) -> str:
    shown = reprlib.repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."


class RandomSceneSplit:
    """Whole scenes by lot.

    Args:
        val_share: share of the scenes to validate on.
        seed: seed of the lot.

    Raises:
        ValueError: the share is not between 0 and 1.
    """

    def __init__(self, val_share: float, seed: int = 0) -> None:
        self.val_share, self.seed = _checked_share(val_share), seed

    def __call__(self, samples: SampleIndex) -> dict[str, Rows]:
        """See `SplitStrategy`; at least one scene goes to ``val``."""
        scenes = np.unique(np.array(samples.scenes))
        shuffled = np.random.default_rng(self.seed).permutation(scenes)
        val = np.isin(samples.scenes, shuffled[: max(1, round(self.val_share * len(scenes)))])
        return _parts({"train": ~val, "val": val}, self)


class RegionSplit:
    """Square tiles of the maps by lot: the training samples come from other places than those to validate on.

    Tiles go to ``val``, whole and in random order, until it has its share of the samples. Of the others, those within
    the margin of a sample of ``val`` on the same map are used for neither.

    Args:
        tile: edge of a tile, metres.
        val_share: share of the samples to validate on; the last tile may overshoot it.
        seed: seed of the lot.
        margin: least distance between samples of ``train`` and ``val`` on a map, metres; 0 for none.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, tile: float, val_share: float, seed: int = 0, margin: float = 0.0) -> None:
        if not tile > 0 or not margin >= 0:
            raise ValueError(f"RegionSplit needs tile > 0 and margin >= 0 (metres), got {tile} and {margin}")
        self.tile, self.val_share, self.seed, self.margin = tile, _checked_share(val_share), seed, margin

    def __call__(self, samples: SampleIndex) -> dict[str, Rows]:
        """See `SplitStrategy`."""
        _, maps = np.unique(np.array(samples.locations), return_inverse=True)
        corners = np.floor(samples.positions / self.tile).astype(np.int64)
        _, tiles, sizes = np.unique(np.column_stack([maps, corners]), axis=0, return_inverse=True, return_counts=True)
        order = np.random.default_rng(self.seed).permutation(len(sizes))
        before = np.cumsum(sizes[order]) - sizes[order]  # samples in val when a tile's turn comes
        val = np.isin(tiles.reshape(-1), order[before < self.val_share * len(samples)])
        return _parts({"train": ~val & ~self._near(samples.positions, maps, val), "val": val}, self)

    def _near(self, positions: NDArray[np.float64], maps: NDArray[np.int64], val: Rows) -> Rows:
        """(N,) within the margin of a sample of ``val`` on the same map."""
        near = np.zeros(len(val), dtype=bool)
        for number in np.unique(maps[val]):
            here = maps == number
            distance, _ = cKDTree(positions[here & val]).query(positions[here])
            near[here] = distance < self.margin
        return near


def _checked_share(val_share: float) -> float:
    if not 0 < val_share < 1:
        raise ValueError(f"val_share must lie between 0 and 1, got {val_share}")
    return val_share


def _parts(parts: dict[str, Rows], strategy: SplitStrategy) -> dict[str, Rows]:
    """The parts, none of them empty."""
    empty = [name for name, rows in parts.items() if not rows.any()]
    if empty:
        raise ValueError(f"{type(strategy).__name__} leaves no sample for {' and '.join(empty)}")
    return parts
