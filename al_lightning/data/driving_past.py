"""Which frames of the past a planner is shown in training.

Shape letters: N rows, F frames of the past.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from al_lightning.data.driving_motion import EgoPoses, Rows, can_bus_vectors
from al_lightning.data.driving_samples import EgoColumns
from al_lightning.driving import DrivingInputs


@dataclass(frozen=True)
class DrawnPast:
    """As in VAD's training: of the keyframes right before the current one some are drawn.

    The vehicle then seems to have moved fast or slowly since the frame before.

    Args:
        frames: F, frames that are shown.
        window: keyframes before the current one, of which they are drawn.

    Raises:
        ValueError: there is no frame, or fewer keyframes than frames.
    """

    frames: int = 2
    window: int = 3

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 1 <= self.frames <= self.window:
            raise ValueError(
                f"DrawnPast.frames must be positive and at most window, got {self.frames} frames of {self.window}"
            )

    def draw(self, row: int, first: int, generator: np.random.Generator) -> Rows:
        """Rows (F,) of the past, the oldest first.

        A keyframe before ``first``, with which the drive begins, is replaced by a copy of the next newer one that is
        shown, which may be the current one.
        """
        rows, newer = [], row
        for back in np.sort(generator.choice(self.window, self.frames, replace=False)) + 1:
            newer = row - int(back) if row - back >= first else newer
            rows.append(newer)
        return np.array(rows[::-1], dtype=np.int64)


def drawn_frames(
    read: Callable[[int], DrivingInputs],
    row: int,
    past: DrawnPast,
    ego: EgoColumns,
    poses: EgoPoses,
    generator: np.random.Generator,
) -> list[DrivingInputs]:
    """The frames of the past that are drawn for a row, the oldest first, and at last the row itself.

    Each says how the vehicle moved since the frame before it in this list. TRAP: the first keyframe of a scene has a
    past here, copies of itself, although it has none in validation.

    Args:
        read: inputs of a row; called once for each row.
        row: number of the row.
        past: how frames are drawn.
        ego: of the N rows.
        poses: of the N rows.
        generator: source of the draw.
    """
    first = int(np.flatnonzero(~ego.follows[: row + 1])[-1])
    rows = np.append(past.draw(row, first, generator), row)
    inputs = {number: read(number) for number in dict.fromkeys(rows[::-1].tolist())}
    later = np.arange(len(rows)) > 0
    vectors = can_bus_vectors(poses.take(rows), ego.can_bus[rows, 7:16].astype(np.float64), later)
    return [
        replace(inputs[number], can_bus=torch.from_numpy(vector), new_scene=torch.tensor(not bool(follows)))
        for number, vector, follows in zip(rows.tolist(), vectors, later, strict=True)
    ]
