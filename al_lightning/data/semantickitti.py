"""SemanticKITTI's semantic scene completion as an `ActiveDataset`; a unit is a frame.

Files: ``sequences/SS/`` with ``calib.txt``, ``image_2/NNNNNN.png`` (left colour camera) and ``voxels/NNNNNN`` as
``.bin`` (occupancy of the scan: which frames belong to the benchmark), ``.label`` (raw class ids) and ``.invalid``
(never seen). The ego frame is the velodyne's: x forward, y left, z up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from al_lightning.data.depth_maps import depth_maps
from al_lightning.data.file_lists import missing_files
from al_lightning.data.images import (
    ImageJitter,
    augment_image,
    checked_image_size,
    draw_image_augmentation,
    evaluation_image_augmentation,
    image_homography,
    normalize_image,
    read_image,
)
from al_lightning.data.semantickitti_files import (
    CLASS_NAMES,
    NATIVE_GRID,
    read_calibration,
    read_invalid,
    read_label,
    read_scan,
    read_scan_voxels,
)
from al_lightning.data.voxels import Pooling, check_grid, flip_matrix, flip_volume, pool_any, pool_semantics
from al_lightning.types import IGNORE, CameraInputs, DataFileError, OccupancyAnnotations, Sample, VoxelGrid

logger = logging.getLogger(__name__)

SPLITS = {
    "train": ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10"),
    "val": ("08",),
    "test": tuple(f"{number}" for number in range(11, 22)),
}
DEFAULT_JITTER = ImageJitter()
DepthSource = Literal["scan", "voxels"]
_DEPTH_SOURCES = {"scan": ("velodyne", read_scan), "voxels": ("voxels", read_scan_voxels)}  # folder, reader


class SemanticKITTI:
    """Frames of SemanticKITTI, one camera each, labeled one by one.

    Finding the frames needs no label file, so a pool may wait for its labels.

    Args:
        root: folder that holds ``sequences`` (or ``dataset/sequences``, as the official archive does).
        grid: voxels of the labels; the range of the benchmark, its 256 x 256 x 32 voxels or a divisor of each.
        split: ``train`` (00-07, 09, 10), ``val`` (08) or ``test`` (11-21, without labels); sequences that are not on
            disk are passed over, with a warning.
        image_size: (H, W) of the network's input, pixels.
        pooling: how fine labels become coarse ones (`voxels.pool_semantics`).
        jitter: ranges of the image augmentation.
        flip_x: probability of mirroring the ego frame along x, about the middle of the grid.
        flip_y: probability of mirroring it along y.
        flip_z: probability of mirroring it along z.
        depth: what measured depth is made from (`OccupancyAnnotations.depth`): ``scan``, the LiDAR scan of the frame in
            ``velodyne/NNNNNN.bin``; ``voxels``, the middles of the voxels that the scan touches, for want of the scan
            itself; None for no depth.

    Attributes:
        units: frames, such as "08/000003", sorted.
        unit_of: (rows,) every row is its own unit.
        subsets: none.
        class_names: the 20 classes.
        free_class: 0, the class of empty voxels.
        sequences: names of the sequences found.

    Raises:
        ValueError: an argument is not valid.
        DataFileError: no frame is found; a frame has no image, no measured depth where that is wanted, or, in the split
            ``val``, no labels; or a calibration cannot be read.
    """

    CLASS_NAMES = CLASS_NAMES
    free_class = 0

    def __init__(
        self,
        root: str,
        grid: VoxelGrid,
        split: str = "train",
        image_size: tuple[int, int] = (192, 608),
        pooling: Pooling = "majority",
        jitter: ImageJitter = DEFAULT_JITTER,
        flip_x: float = 0.0,
        flip_y: float = 0.5,
        flip_z: float = 0.0,
        depth: DepthSource | None = None,
    ) -> None:
        self.root, self.grid, self.split = Path(root).expanduser(), grid, split
        self.pooling, self.jitter = pooling, jitter
        self.image_size = checked_image_size(image_size)
        self.flip, self.depth = (flip_x, flip_y, flip_z), depth
        self.class_names = CLASS_NAMES
        self._check_arguments()
        self._folder, found = self._find_frames()
        self.sequences = tuple(sorted(found))
        self.units = tuple(f"{sequence}/{frame}" for sequence in self.sequences for frame in found[sequence])
        self.unit_of: NDArray[np.int64] = np.arange(len(self.units), dtype=np.int64)
        self.subsets: dict[str, NDArray[np.bool_]] = {}
        self._calibration = {name: read_calibration(self._folder / name / "calib.txt") for name in self.sequences}
        self._check_files()
        logger.info("%s: %d frames of sequences %s", self._folder, len(self.units), ", ".join(self.sequences))

    def _check_arguments(self) -> None:
        check_grid(self.grid, NATIVE_GRID)
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got '{self.split}'")
        if self.pooling not in get_args(Pooling):
            raise ValueError(f"pooling must be one of {', '.join(get_args(Pooling))}, got '{self.pooling}'")
        if self.depth is not None and self.depth not in _DEPTH_SOURCES:
            raise ValueError(f"depth must be one of {', '.join(_DEPTH_SOURCES)} or null, got '{self.depth}'")
        for name, probability in zip(("flip_x", "flip_y", "flip_z"), self.flip, strict=True):
            if not 0 <= probability <= 1:
                raise ValueError(f"{name} must be a probability, got {probability}")

    def _find_frames(self) -> tuple[Path, dict[str, list[str]]]:
        """The folder of the sequences, and the frames of each one found."""
        folders = [self.root / "sequences", self.root / "dataset" / "sequences"]
        folder = next((path for path in folders if path.is_dir()), folders[0])
        frames = {
            name: sorted(path.stem for path in (folder / name / "voxels").glob("*.bin")) for name in SPLITS[self.split]
        }
        found = {name: stems for name, stems in frames.items() if stems}
        missing = [name for name in frames if name not in found]
        if not found:
            raise DataFileError(
                f"no frame of sequence {', '.join(missing)} under {self.root}: expected files such as "
                f"{folder / missing[0] / 'voxels' / '000000.bin'}"
            )
        if missing:
            logger.warning("%s has no frame of sequence %s of the %s split", folder, ", ".join(missing), self.split)
        return folder, found

    def _check_files(self) -> None:
        """That there are images, what depth is made from and, for validation, labels: pools may wait for theirs."""
        kinds = ["image", *(["label", "invalid"] if self.split == "val" else [])]
        if self.depth is not None and self.split != "test":
            kinds.append(self.depth)
        paths = [self.paths(unit) for unit in range(len(self))]
        for kind in kinds:
            missing = missing_files(self.root, [files[kind] for files in paths])
            if missing:
                raise DataFileError(
                    f"{len(missing):,} of {len(self):,} frames of the {self.split} split have no {kind}; the first: "
                    f"{self.root / missing[0]}" + "; data.depth=voxels makes do without scans" * (kind == "scan")
                )

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.units)

    def sample(
        self,
        row: int,
        *,
        annotations: bool = True,
        label_mask: bool = False,
        generator: np.random.Generator | None = None,
    ) -> Sample[CameraInputs, OccupancyAnnotations]:
        """Read one frame; see `ActiveDataset.sample`.

        ``label_mask`` (seen by a scan) is made from the ``.invalid`` file alone; the ``.label`` file stays closed.
        """
        files = self._files(row)
        image = read_image(files["image"])
        source_size = (image.height, image.width)
        if generator is None:
            augmentation, axes = evaluation_image_augmentation(source_size, self.image_size), []
        else:
            augmentation = draw_image_augmentation(generator, source_size, self.image_size, self.jitter)
            axes = [axis for axis, probability in enumerate(self.flip) if generator.random() < probability]
        post_rotation, post_translation = image_homography(augmentation)
        calibration = self._calibration[self.units[row].split("/")[0]]
        inputs = CameraInputs(
            images=normalize_image(augment_image(image, augmentation))[None],
            camera2ego=calibration.camera2ego[None],
            intrinsics=calibration.intrinsics[None],
            post_rotation=post_rotation[None],
            post_translation=post_translation[None],
            bda=flip_matrix(self.grid, axes),
            projection_shift=calibration.projection_shift[None],
        )
        sample: Sample[CameraInputs, OccupancyAnnotations] = Sample(row, inputs)
        if annotations or label_mask:
            invalid = read_invalid(files["invalid"])
            if annotations:
                sample.annotations = self._annotations(files["label"], invalid, axes)
                if self.depth is not None:
                    _, read_points = _DEPTH_SOURCES[self.depth]
                    sample.annotations.depth = depth_maps(read_points(files[self.depth]), inputs)
            if label_mask:
                sample.label_mask = flip_volume(pool_any(~invalid, self.grid.shape), axes)
        return sample

    def annotations(self, row: int) -> OccupancyAnnotations:
        """Labels of a frame without depth; see `ActiveDataset.annotations`."""
        files = self._files(row)
        return self._annotations(files["label"], read_invalid(files["invalid"]), ())

    def _annotations(self, label: Path, invalid: NDArray[np.bool_], axes: Sequence[int]) -> OccupancyAnnotations:
        semantics = read_label(label)
        semantics[invalid] = IGNORE
        semantics = pool_semantics(semantics, self.grid.shape, len(CLASS_NAMES), self.pooling)
        return OccupancyAnnotations(flip_volume(semantics, axes), flip_volume(semantics != IGNORE, axes))

    def _files(self, unit: int) -> dict[str, Path]:
        sequence, frame = self.units[unit].split("/")
        folder = self._folder / sequence
        files = {
            "image": folder / "image_2" / f"{frame}.png",
            "calibration": folder / "calib.txt",
            "label": folder / "voxels" / f"{frame}.label",
            "invalid": folder / "voxels" / f"{frame}.invalid",
        }
        if self.depth is not None:
            files[self.depth] = folder / _DEPTH_SOURCES[self.depth][0] / f"{frame}.bin"
        return files

    def pictures(self, row: int) -> dict[str, Path]:
        """The image of the camera."""
        return {"image_2": self._files(row)["image"]}

    def paths(self, unit: int) -> dict[str, str]:
        """``image``, ``calibration``, ``label``, ``invalid`` and the source of depth, relative to the root."""
        return {name: path.relative_to(self.root).as_posix() for name, path in self._files(unit).items()}

    def label_problems(self, unit: int) -> list[str]:
        """What is wrong with what is trained with: missing, unreadable, of the wrong size, unknown raw ids."""
        files, problems = self._files(unit), []
        readers: dict[str, Callable[[Path], object]] = {"label": read_label, "invalid": read_invalid}
        if self.depth is not None:
            readers[self.depth] = _DEPTH_SOURCES[self.depth][1]
        for name, read in readers.items():
            try:
                read(files[name])
            except DataFileError as error:
                problems.append(str(error))
        return problems
