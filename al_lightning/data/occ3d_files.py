"""The label files of Occ3D-nuScenes, ``gts/<scene name>/<sample token>/labels.npz``.

Arrays are indexed [x, y, z] in the ego frame: x forward, y left, z up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from al_lightning.types import DataFileError, VoxelGrid

NATIVE_GRID = VoxelGrid(lower=(-40.0, -40.0, -1.0), upper=(40.0, 40.0, 5.4), shape=(200, 200, 16))
CLASS_NAMES = (
    "others",
    "barrier",
    "bicycle",
    "bus",
    "car",
    "construction_vehicle",
    "motorcycle",
    "pedestrian",
    "traffic_cone",
    "trailer",
    "truck",
    "driveable_surface",
    "other_flat",
    "sidewalk",
    "terrain",
    "manmade",
    "vegetation",
    "free",
)
FREE = 17
VisibilityMask = Literal["camera", "lidar"]


class Occ3DLabel(NamedTuple):
    """What there is in a label file.

    Attributes:
        semantics: (200, 200, 16) uint8 classes 0..17, meaningful inside the masks and outside.
        mask_lidar: (200, 200, 16) bool, the voxels that a LiDAR ray has met.
        mask_camera: (200, 200, 16) bool, the voxels that a camera sees.
    """

    semantics: NDArray[np.uint8]
    mask_lidar: NDArray[np.bool_]
    mask_camera: NDArray[np.bool_]


def read_label(path: Path) -> Occ3DLabel:
    """Read a label file.

    Raises:
        DataFileError: the file is missing or damaged, or an array is missing, of another shape or type, or holds
            values that mean nothing.
    """
    semantics, mask_lidar, mask_camera = _read(path, semantics=FREE, mask_lidar=1, mask_camera=1)
    return Occ3DLabel(semantics, mask_lidar.view(np.bool_), mask_camera.view(np.bool_))


def read_mask(path: Path, mask: VisibilityMask) -> NDArray[np.bool_]:
    """One of the masks (200, 200, 16) of a label file; the classes in it are not read.

    Raises:
        DataFileError: as of `read_label`.
    """
    (values,) = _read(path, **{f"mask_{mask}": 1})
    return values.view(np.bool_)


def _read(path: Path, **largest: int) -> list[NDArray[np.uint8]]:
    """The arrays of these names, none of whose values may be larger than said."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in largest if name in archive.files}
    except Exception as error:  # numpy and zipfile raise almost anything on a damaged archive
        raise DataFileError(f"cannot read the label {path}: {error}") from error
    missing = [name for name in largest if name not in arrays]
    if missing:
        raise DataFileError(f"{path} lacks {', '.join(missing)}")
    return [_checked(path, name, arrays[name], limit) for name, limit in largest.items()]


def _checked(path: Path, name: str, values: NDArray[Any], largest: int) -> NDArray[np.uint8]:
    if values.shape != NATIVE_GRID.shape or values.dtype != np.uint8:
        raise DataFileError(f"{path}: {name} must be {NATIVE_GRID.shape} uint8, found {values.shape} {values.dtype}")
    if values.max() > largest:
        raise DataFileError(f"{path}: {name} must lie in 0..{largest}, found {values.max()}")
    return values
