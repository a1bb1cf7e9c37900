"""Writes small but valid SemanticKITTI trees: full-size volumes, tiny images in which a class has a colour."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull

SHAPE, VOXEL, LOWER = (256, 256, 32), 0.2, np.array([0.0, -25.6, -2.0])
IMAGE_SIZE = (48, 152)  # (H, W)
_SCALE = 152 / 1226
P2 = np.diag([_SCALE, _SCALE, 1.0]) @ np.array(
    [[707.0, 0.0, 602.0, 46.9], [0.0, 707.0, 183.0, 0.12], [0.0, 0.0, 1.0, 0.006]]
)
TR = np.array([[0.0, -1.0, 0.0, -0.005], [0.0, 0.0, -1.0, -0.073], [1.0, 0.0, 0.0, -0.334]])
GROUND = {
    40: (0.0, 4.0),
    48: (4.0, 8.0),
    72: (8.0, 25.6),
}  # raw id -> from and to which |y| (metres): road, sidewalk, ...
OBJECTS = (10, 252, 18, 30, 31, 50, 51, 70, 71, 80, 99)
COLORS = {
    0: (120, 170, 230),
    40: (128, 64, 128),
    48: (244, 35, 232),
    72: (152, 251, 152),
    10: (0, 0, 142),
    252: (0, 0, 142),
    18: (0, 0, 70),
    30: (220, 20, 60),
    31: (255, 0, 0),
    50: (70, 70, 70),
    51: (190, 153, 153),
    70: (107, 142, 35),
    71: (110, 60, 20),
    80: (240, 240, 90),
    99: (255, 255, 255),
}


def write_semantickitti(root: Path | str, frames_per_sequence: Mapping[str, int], seed: int = 0) -> None:
    """Write ``root/sequences/...``; frame numbers go in steps of five, as in the benchmark.

    Every frame has a road, sidewalks, terrain and a few boxes, drawn into the image in the colour of their class, far
    to near. Frames differ in which classes are frequent. What lies outside the camera's view is invalid.
    """
    invalid = np.packbits(~_in_view()).tobytes()
    for sequence, frames in frames_per_sequence.items():
        folder = Path(root) / "sequences" / sequence
        for name in ("image_2", "voxels"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        _write_calibration(folder / "calib.txt")
        for frame in range(0, 5 * frames, 5):
            rng = np.random.default_rng([seed, *sequence.encode(), frame])
            boxes = _draw_boxes(rng)
            volume, stem = _volume(boxes), folder / "voxels" / f"{frame:06d}"
            stem.with_suffix(".label").write_bytes(volume.astype("<u2").tobytes())
            stem.with_suffix(".bin").write_bytes(np.packbits(volume != 0).tobytes())
            stem.with_suffix(".invalid").write_bytes(invalid)
            _image(boxes, rng).save(folder / "image_2" / f"{frame:06d}.png", compress_level=1)


def _in_view() -> np.ndarray:
    x, y = (VOXEL * (np.arange(256) + 0.5) + low for low in LOWER[:2])
    return np.broadcast_to((np.abs(y)[None, :] < 0.87 * x[:, None] + 1.0)[:, :, None], SHAPE)


def _write_calibration(path: Path) -> None:
    matrices = {"P0": P2, "P1": P2, "P2": P2, "P3": P2, "Tr": TR}
    path.write_text("".join(f"{k}: {' '.join(f'{v:.12e}' for v in m.ravel())}\n" for k, m in matrices.items()))


def _draw_boxes(rng: np.random.Generator) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(raw id, first voxel, end voxel) of each object, far to near."""
    frequency = rng.dirichlet(np.full(len(OBJECTS), 0.4))
    boxes = []
    for _ in range(rng.integers(6, 13)):
        size = rng.integers((6, 6, 4), (25, 25, 16))
        first = np.array([*rng.integers((30, 60), (230, 190)), 2])
        boxes.append((int(rng.choice(OBJECTS, p=frequency)), first, np.minimum(first + size, SHAPE)))
    return sorted(boxes, key=lambda box: -box[1][0])


def _volume(boxes: list[tuple[int, np.ndarray, np.ndarray]]) -> np.ndarray:
    volume = np.zeros(SHAPE, dtype=np.uint16)
    y = np.abs(VOXEL * (np.arange(256) + 0.5) + LOWER[1])
    for raw_id, (near, far) in GROUND.items():
        volume[:, (y >= near) & (y < far), 1] = raw_id
    for raw_id, first, end in boxes:
        volume[tuple(slice(a, b) for a, b in zip(first, end, strict=True))] = raw_id
    return volume


def _pixels(points: np.ndarray) -> list[tuple[float, float]]:
    projected = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ (P2 @ np.vstack([TR, [0, 0, 0, 1]])).T
    return [(u / d, v / d) for u, v, d in projected]


def _image(boxes: list[tuple[int, np.ndarray, np.ndarray]], rng: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", IMAGE_SIZE[::-1], COLORS[0])
    draw = ImageDraw.Draw(image)
    for raw_id, (near, far) in GROUND.items():
        for side in (-1, 1):
            quad = [(1.0, near), (1.0, far), (51.2, far), (51.2, near)]
            draw.polygon(_pixels(np.array([(x, side * y, -1.7) for x, y in quad])), fill=COLORS[raw_id])
    for raw_id, first, end in boxes:
        low, high = VOXEL * first + LOWER, VOXEL * end + LOWER
        corners = _pixels(
            np.array([(x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
        )
        draw.polygon([corners[vertex] for vertex in ConvexHull(corners).vertices], fill=COLORS[raw_id])
    noisy = np.asarray(image) + rng.normal(0.0, 6.0, (*IMAGE_SIZE, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
