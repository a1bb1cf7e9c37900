"""The bookkeeping of the loop: which unit was labeled when."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

UNLABELED = -1


class LabelPool:
    """Which units are labeled, and since which cycle.

    Args:
        units: absolute ids (U,), unique.
        acquired_at: (U,) -1 unlabeled, 0 in the seed set, k acquired after cycle k - 1 and labeled in cycle k;
            None for nothing labeled yet.

    Raises:
        ValueError: ids repeat, or lengths differ.
    """

    def __init__(self, units: Sequence[str], acquired_at: NDArray[np.int64] | None = None) -> None:
        self.units = tuple(units)
        if len(set(self.units)) != len(self.units):
            raise ValueError("the ids of the units are not unique")
        self.acquired_at = (
            np.full(len(self.units), UNLABELED, dtype=np.int64) if acquired_at is None else acquired_at.astype(np.int64)
        )
        if self.acquired_at.shape != (len(self.units),):
            raise ValueError(f"{len(self.units)} units but acquired_at has shape {self.acquired_at.shape}")

    @property
    def cycle(self) -> int:
        """The cycle that the labeled set stands for: -1 before the seed set, 0 with it, one more an acquisition."""
        return int(self.acquired_at.max(initial=UNLABELED))

    @property
    def labeled(self) -> NDArray[np.int64]:
        """Numbers of the labeled units, ascending."""
        return np.flatnonzero(self.acquired_at != UNLABELED)

    @property
    def unlabeled(self) -> NDArray[np.int64]:
        """Numbers of the units still to choose from, ascending."""
        return np.flatnonzero(self.acquired_at == UNLABELED)

    def draw(self, size: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Draw units at random from the unlabeled ones, in the order drawn.

        Raises:
            ValueError: fewer units are unlabeled than wanted.
        """
        if size > len(self.unlabeled):
            raise ValueError(f"cannot draw {size} of {len(self.unlabeled)} unlabeled units")
        return generator.choice(self.unlabeled, size=size, replace=False)

    def acquire(self, units: Sequence[int] | NDArray[np.int64]) -> None:
        """Mark units as labeled from the next cycle on.

        Raises:
            ValueError: none is given, one is labeled already or given twice.
        """
        chosen = np.asarray(units, dtype=np.int64)
        if len(chosen) == 0 or len(np.unique(chosen)) != len(chosen):
            raise ValueError(f"units to acquire must be some and different, got {chosen.tolist()}")
        taken = chosen[self.acquired_at[chosen] != UNLABELED]
        if len(taken):
            raise ValueError(f"already labeled: {', '.join(self.units[unit] for unit in taken[:5])}")
        self.acquired_at[chosen] = self.cycle + 1

    def to_csv(self) -> str:
        """The pool as text: one row a unit, columns ``unit, acquired_at``."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["unit", "acquired_at"])
        writer.writerows(zip(self.units, self.acquired_at.tolist(), strict=True))
        return text.getvalue()

    @classmethod
    def from_csv(cls, text: str) -> LabelPool:
        """The reverse of `to_csv`.

        Raises:
            ValueError: the text is no such table.
        """
        rows = list(csv.reader(io.StringIO(text)))
        if not rows or rows[0] != ["unit", "acquired_at"] or any(len(row) != 2 for row in rows):
            raise ValueError("a pool file needs the columns unit and acquired_at")
        return cls([row[0] for row in rows[1:]], np.array([int(row[1]) for row in rows[1:]], dtype=np.int64))
