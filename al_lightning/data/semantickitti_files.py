"""The files of SemanticKITTI's semantic scene completion, one reader each.

Arrays are indexed [x, y, z] in the velodyne frame: x forward, y left, z up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.types import IGNORE, DataFileError, VoxelGrid

NATIVE_GRID = VoxelGrid(lower=(0.0, -25.6, -2.0), upper=(51.2, 25.6, 4.4), shape=(256, 256, 32))
CLASS_NAMES = (
    "empty",
    "car",
    "bicycle",
    "motorcycle",
    "truck",
    "other-vehicle",
    "person",
    "bicyclist",
    "motorcyclist",
    "road",
    "parking",
    "sidewalk",
    "other-ground",
    "building",
    "fence",
    "vegetation",
    "trunk",
    "terrain",
    "pole",
    "traffic-sign",
)
# Raw ids of each class (the benchmark's learning_map); predictions are written as the first one (learning_map_inv).
# Raw 0 is empty space; 1 (outlier), 52 (other structure) and 99 (other object) are occupied by something outside the
# classes, and so are not labels at all.
RAW_IDS: dict[int, tuple[int, ...]] = {
    0: (0,),
    1: (10, 252),
    2: (11,),
    3: (15,),
    4: (18, 258),
    5: (20, 13, 16, 256, 257, 259),
    6: (30, 254),
    7: (31, 253),
    8: (32, 255),
    9: (40, 60),
    10: (44,),
    11: (48,),
    12: (49,),
    13: (50,),
    14: (51,),
    15: (70,),
    16: (71,),
    17: (72,),
    18: (80,),
    19: (81,),
    IGNORE: (1, 52, 99),
}
_UNKNOWN = 254


def _class_of_raw_id() -> NDArray[np.uint8]:
    table = np.full(2**16, _UNKNOWN, dtype=np.uint8)
    for class_id, raw_ids in RAW_IDS.items():
        table[list(raw_ids)] = class_id
    return table


_CLASS_OF_RAW_ID = _class_of_raw_id()


def _read_exactly(path: Path, size: int) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataFileError(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) != size:
        raise DataFileError(f"{path} must have {size:,} bytes, found {len(data):,}")
    return data


def read_label(path: Path) -> NDArray[np.uint8]:
    """Classes (256, 256, 32) of a ``.label`` file; `IGNORE` for what belongs to no class.

    Raises:
        DataFileError: the file is missing, has the wrong size, or holds a raw id that SemanticKITTI does not define.
    """
    raw = np.frombuffer(_read_exactly(path, 2 * 256 * 256 * 32), dtype="<u2")
    semantics: NDArray[np.uint8] = _CLASS_OF_RAW_ID[raw]
    unknown = semantics == _UNKNOWN
    if unknown.any():
        raise DataFileError(f"{path} holds unknown raw class ids: {np.unique(raw[unknown])[:5].tolist()}")
    return np.reshape(semantics, NATIVE_GRID.shape)


def write_label(path: Path, semantics: NDArray[Any]) -> None:
    """Write predicted classes as the benchmark takes them: raw ids in a ``.label`` file, which `read_label` reads back.

    Args:
        path: the file; its folder must exist.
        semantics: (X, Y, Z) classes; coarse voxels are cut into those of the benchmark.

    Raises:
        ValueError: a value is no class, or the voxels do not divide into those of the benchmark.
    """
    if semantics.ndim != 3 or any(
        fine % coarse for fine, coarse in zip(NATIVE_GRID.shape, semantics.shape, strict=True)
    ):
        raise ValueError(f"predictions must have a shape that divides {NATIVE_GRID.shape}, got {semantics.shape}")
    if semantics.min() < 0 or semantics.max() >= len(CLASS_NAMES):
        raise ValueError(f"predictions must be classes 0..{len(CLASS_NAMES) - 1}")
    raw = np.array([RAW_IDS[class_id][0] for class_id in range(len(CLASS_NAMES))], dtype="<u2")[semantics]
    for axis, (fine, coarse) in enumerate(zip(NATIVE_GRID.shape, semantics.shape, strict=True)):
        raw = raw.repeat(fine // coarse, axis=axis)
    path.write_bytes(raw.tobytes())


def _read_bits(path: Path) -> NDArray[np.bool_]:
    packed = np.frombuffer(_read_exactly(path, 256 * 256 * 32 // 8), dtype=np.uint8)
    return np.unpackbits(packed, bitorder="big").view(np.bool_).reshape(NATIVE_GRID.shape)


def read_invalid(path: Path) -> NDArray[np.bool_]:
    """The voxels (256, 256, 32) that no scan has seen, from an ``.invalid`` file.

    Raises:
        DataFileError: the file is missing or has the wrong size.
    """
    return _read_bits(path)


def read_scan(path: Path) -> NDArray[np.float32]:
    """Points (P, 3) of a LiDAR scan in metres, from a ``.bin`` file of ``velodyne``.

    Raises:
        DataFileError: the file is missing or holds no whole number of points.
    """
    try:
        values = np.fromfile(path, dtype="<f4")
    except OSError as error:
        raise DataFileError(f"cannot read {path}: {error.strerror or error}") from error
    if not values.size or values.size % 4:
        raise DataFileError(f"{path} must hold points of four numbers, found {values.size:,} numbers")
    points: NDArray[np.float32] = values.reshape(-1, 4)[:, :3]
    return points


def read_scan_voxels(path: Path) -> NDArray[np.float32]:
    """Middles (P, 3) of the voxels in which a scan has points, metres, from a ``.bin`` file of ``voxels``.

    Raises:
        DataFileError: the file is missing or has the wrong size.
    """
    middles = np.argwhere(_read_bits(path)) + 0.5
    return (middles * NATIVE_GRID.voxel_size + NATIVE_GRID.lower).astype(np.float32)


class Calibration(NamedTuple):
    """Calibration of the left colour camera.

    Attributes:
        intrinsics: (3, 3) float32, pixels.
        camera2ego: (4, 4) float32, camera frame to velodyne frame.
        projection_shift: (3,) float32, the fourth column of P2.
    """

    intrinsics: Tensor
    camera2ego: Tensor
    projection_shift: Tensor


def read_calibration(path: Path) -> Calibration:
    """Read ``P2`` and ``Tr`` of a ``calib.txt``.

    ``P2 = K [I | t]`` projects from the frame of camera 0: its fourth column is the camera's place in the stereo rig.
    It is moved into the extrinsics, so that K alone projects from the camera's own frame.

    Raises:
        DataFileError: the file is missing, a matrix is missing or has not 12 numbers, or cannot be inverted.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataFileError(f"cannot read the calibration {path}: {error}") from error
    entries = dict(line.split(":", 1) for line in lines if ":" in line)
    matrices = {}
    for name in ("P2", "Tr"):
        try:
            values = np.array(entries.get(name, "").split(), dtype=np.float64)
        except ValueError as error:
            raise DataFileError(f"{path}: '{name}' holds something that is no number: {error}") from error
        if values.size != 12 or not np.isfinite(values).all():
            raise DataFileError(f"{path}: expected 12 finite numbers after '{name}:', found {values.size}")
        matrices[name] = np.vstack([values.reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])
    K, camera_from_rig = matrices["P2"][:3, :3], np.eye(4)
    try:
        camera_from_rig[:3, 3] = np.linalg.solve(K, matrices["P2"][:3, 3])
        camera2ego = np.linalg.inv(camera_from_rig @ matrices["Tr"])
    except np.linalg.LinAlgError as error:
        raise DataFileError(f"{path}: P2 or Tr cannot be inverted") from error
    numbers = (K, camera2ego, matrices["P2"][:3, 3])
    return Calibration(*(torch.from_numpy(values).float() for values in numbers))
