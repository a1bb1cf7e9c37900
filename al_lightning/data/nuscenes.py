"""nuScenes with the occupancy labels of Occ3D as an `ActiveDataset`; a unit is a keyframe.

Files: the tables of nuScenes in ``v1.0-trainval`` (or another version), ``samples`` and ``maps``, and
``gts/<scene name>/<sample token>/labels.npz``. The ego frame is the vehicle's: x forward, y left, z up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.data.cameras import camera_inputs
from al_lightning.data.file_lists import missing_files
from al_lightning.data.images import ChannelOrder, ImageJitter, checked_image_size
from al_lightning.data.nuscenes_tables import CAMERAS, read_keyframes, weather_subsets
from al_lightning.data.occ3d_files import CLASS_NAMES, FREE, NATIVE_GRID, VisibilityMask, read_label, read_mask
from al_lightning.data.splits import OfficialSplit, SplitStrategy
from al_lightning.data.voxels import Pooling, check_grid, flip_matrix, flip_volume, pool_any, pool_semantics
from al_lightning.types import IGNORE, CameraInputs, DataFileError, OccupancyAnnotations, Sample, VoxelGrid

logger = logging.getLogger(__name__)

SPLITS = ("train", "val")
DEFAULT_JITTER = ImageJitter()
NO_JITTER = ImageJitter((0.0, 0.0), (0.0, 0.0), 0.0)
DEFAULT_SPLITS = OfficialSplit()
T = TypeVar("T")


class Occ3DNuScenes:
    """Keyframes of nuScenes, six cameras each, labeled one by one.

    Args:
        root: folder that holds the tables' folder, ``samples``, ``maps`` and ``gts``.
        grid: voxels of the labels; the range of Occ3D, its 200 x 200 x 16 voxels or a divisor of each.
        version: name of the tables' folder.
        split: ``train`` or ``val``.
        splits: what these two are.
        image_size: (H, W) of the network's input, pixels.
        pooling: how fine labels become coarse ones (`voxels.pool_semantics`).
        mask: the visibility mask that counts in loss, metrics and `Sample.label_mask`: of the ``camera`` or the
            ``lidar``.
        jitter: ranges of the image augmentation, drawn for every camera anew.
        flip_x: probability of mirroring the ego frame along x.
        flip_y: probability of mirroring it along y.
        channel_order: ``bgr`` is what official FlashOcc weights need (`images.normalize_image`).
        gts: folder of the labels; None for ``gts`` in the root.
        keep_in_memory: read every keyframe once and keep it, where no augmentation is drawn; for small sets and
            ``loader.num_workers=0``, since reader processes forget at the end of an epoch.
        labels_later: of the training split only the images have to be there (``oracle=external``).

    Attributes:
        units: sample tokens, by scene name and then by time.
        unit_of: (rows,) every row is its own unit.
        class_names: the 18 classes.
        free_class: 17, the class of empty voxels.
        subsets: ``night`` and ``rain``, each (units,) bool.

    Raises:
        ValueError: an argument is not valid, or the split leaves no keyframe.
        DataFileError: the tables cannot be read, or an image or a label is missing.
    """

    CLASS_NAMES = CLASS_NAMES
    free_class = FREE

    def __init__(
        self,
        root: str,
        grid: VoxelGrid,
        version: str = "v1.0-trainval",
        split: str = "train",
        splits: SplitStrategy = DEFAULT_SPLITS,
        image_size: tuple[int, int] = (256, 704),
        pooling: Pooling = "majority",
        mask: VisibilityMask = "camera",
        jitter: ImageJitter = DEFAULT_JITTER,
        flip_x: float = 0.5,
        flip_y: float = 0.5,
        channel_order: ChannelOrder = "bgr",
        gts: str | None = None,
        keep_in_memory: bool = False,
        labels_later: bool = False,
    ) -> None:
        self.root, self.grid, self.split, self.jitter = Path(root).expanduser(), grid, split, jitter
        self.pooling, self.mask, self.channel_order = pooling, mask, channel_order
        self.image_size = checked_image_size(image_size)
        self.flip = (flip_x, flip_y)
        if keep_in_memory and (any(self.flip) or jitter != NO_JITTER):
            raise ValueError("keep_in_memory needs flip_x = flip_y = 0 and a jitter of nothing: what is kept is fixed")
        self.class_names = CLASS_NAMES
        self._check_arguments()
        keyframes = read_keyframes(self.root, version)
        rows = np.flatnonzero(splits(keyframes.samples)[split])
        self._keyframes = keyframes.take(rows)
        samples = self._keyframes.samples
        self.units = tuple(samples.tokens)
        self.unit_of: NDArray[np.int64] = np.arange(len(self.units), dtype=np.int64)
        self.subsets = weather_subsets(samples.descriptions)
        self._gts = self.root / "gts" if gts is None else Path(gts).expanduser()
        self._check_files(labels=split == "val" or not labels_later)
        self._kept: dict[tuple[str, int], Any] | None = {} if keep_in_memory else None
        logger.info("%s: %d keyframes of %d scenes", self.root / version, len(rows), len(set(samples.scenes)))

    def _check_arguments(self) -> None:
        check_grid(self.grid, NATIVE_GRID)
        for name, options in (
            ("split", SPLITS),
            ("pooling", get_args(Pooling)),
            ("mask", get_args(VisibilityMask)),
            ("channel_order", get_args(ChannelOrder)),
        ):
            if getattr(self, name) not in options:
                raise ValueError(f"{name} must be one of {', '.join(options)}, got '{getattr(self, name)}'")
        for name, probability in zip(("flip_x", "flip_y"), self.flip, strict=True):
            if not 0 <= probability <= 1:
                raise ValueError(f"{name} must be a probability, got {probability}")

    def _check_files(self, labels: bool) -> None:
        """That the images are there and, where they are wanted, the labels."""
        images = [name for names in self._keyframes.images for name in names]
        self._refuse_missing("images", self.root, images)
        if labels:
            self._refuse_missing("labels", self._gts, [self._label(unit) for unit in range(len(self))])

    def _refuse_missing(self, what: str, folder: Path, names: Sequence[str]) -> None:
        missing = missing_files(folder, names)
        if missing:
            raise DataFileError(
                f"{len(missing):,} of {len(names):,} {what} of the {self.split} split are missing; the first: "
                f"{folder / missing[0]}"
                + ("; data.labels_later=true lets them come later" * (what == "labels" and self.split == "train"))
            )

    def __len__(self) -> int:
        """Number of keyframes."""
        return len(self.units)

    def sample(
        self,
        row: int,
        *,
        annotations: bool = True,
        label_mask: bool = False,
        generator: np.random.Generator | None = None,
    ) -> Sample[CameraInputs, OccupancyAnnotations]:
        """Read one keyframe; see `ActiveDataset.sample`.

        ``label_mask`` lies in the label file; without ``annotations`` the classes in that file are not read.
        """
        flips = [] if generator is None else [generator.random() < probability for probability in self.flip]
        axes = [axis for axis, flip in enumerate(flips) if flip]
        sample: Sample[CameraInputs, OccupancyAnnotations] = Sample(
            row, self._once("inputs", row, lambda: self._inputs(row, axes, generator))
        )
        if annotations:
            sample.annotations = self._once("annotations", row, lambda: self._annotations(row, axes))
        if label_mask:
            sample.label_mask = self._once("label_mask", row, lambda: self._label_mask(row, axes))
        return sample

    def annotations(self, row: int) -> OccupancyAnnotations:
        """Labels of a keyframe; see `ActiveDataset.annotations`."""
        return self._once("annotations", row, lambda: self._annotations(row, ()))

    def _once(self, part: str, row: int, read: Callable[[], T]) -> T:
        """What is kept of a keyframe, or what is read now."""
        if self._kept is None:
            return read()
        if (part, row) not in self._kept:
            self._kept[part, row] = read()
        kept: T = self._kept[part, row]
        return kept

    def _inputs(self, row: int, axes: Sequence[int], generator: np.random.Generator | None) -> CameraInputs:
        rig, bda = self._keyframes.rig(row, self.root), flip_matrix(self.grid, axes)
        return camera_inputs(rig, self.image_size, bda, self.jitter, generator, self.channel_order)

    def _label_mask(self, row: int, axes: Sequence[int]) -> Tensor:
        mask = read_mask(self._gts / self._label(row), self.mask)
        return flip_volume(pool_any(mask, self.grid.shape), axes)

    def _annotations(self, row: int, axes: Sequence[int]) -> OccupancyAnnotations:
        """A coarse voxel counts where any of its fine ones does, and those vote; where none does, all of them vote."""
        label = read_label(self._gts / self._label(row))
        mask = label.mask_camera if self.mask == "camera" else label.mask_lidar
        visible = self._pooled(np.where(mask, label.semantics, np.uint8(IGNORE)))
        counts = visible != IGNORE
        semantics = np.where(counts, visible, self._pooled(label.semantics))
        return OccupancyAnnotations(flip_volume(semantics, axes), flip_volume(counts, axes))

    def _pooled(self, semantics: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return pool_semantics(semantics, self.grid.shape, len(CLASS_NAMES), self.pooling, FREE)

    def _label(self, unit: int) -> str:
        """Name of a label file in the folder of the labels."""
        samples = self._keyframes.samples
        return f"{samples.scenes[unit]}/{samples.tokens[unit]}/labels.npz"

    def pictures(self, row: int) -> dict[str, Path]:
        """The image of each camera: front left, front, front right, then the same at the back."""
        return {name: self.root / image for name, image in zip(CAMERAS, self._keyframes.images[row], strict=True)}

    def paths(self, unit: int) -> dict[str, str]:
        """The image of each camera and ``label``, relative to the root."""
        label = self._gts / self._label(unit)
        name = label.relative_to(self.root) if label.is_relative_to(self.root) else label.absolute()
        return {**dict(zip(CAMERAS, self._keyframes.images[unit], strict=True)), "label": name.as_posix()}

    def label_problems(self, unit: int) -> list[str]:
        """What is wrong with the label file of a keyframe: missing, unreadable, or not as Occ3D's."""
        try:
            read_label(self._gts / self._label(unit))
        except DataFileError as error:
            return [str(error)]
        return []
