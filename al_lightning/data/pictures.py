"""Camera images of a row, small, for a person to look at."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from PIL import Image

WIDTH, COLUMNS, QUALITY = 672, 3, 75
"""Pixels of a montage, cameras side by side in it, and quality of its JPEG."""


@runtime_checkable
class PicturedDataset(Protocol):
    """A dataset whose rows have camera images on disk."""

    def pictures(self, row: int) -> Mapping[str, Path]:
        """Name of a camera -> file, in the order in which a person wants to see them."""
        ...


def pictures_on_disk(dataset: object, row: int) -> dict[str, Path]:
    """The pictures that are there: a planner without cameras does not ask for any."""
    if not isinstance(dataset, PicturedDataset):
        return {}
    return {name: file for name, file in dataset.pictures(row).items() if file.is_file()}


def montage(files: Sequence[Path]) -> bytes:
    """Images side by side, row by row, as one JPEG; all as large as the first one would be."""
    columns = min(len(files), COLUMNS)
    width = WIDTH // columns
    cells: list[Image.Image] = []
    for file in files:
        with Image.open(file) as image:
            height = cells[0].height if cells else max(1, round(image.height * width / image.width))
            image.draft("RGB", (width, height))  # decodes a large JPEG at a fraction of its size
            cells.append(image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
    sheet = Image.new("RGB", (columns * width, -(-len(cells) // columns) * cells[0].height))
    for number, cell in enumerate(cells):
        sheet.paste(cell, (number % columns * width, number // columns * cell.height))
    target = io.BytesIO()
    sheet.save(target, "JPEG", quality=QUALITY, optimize=True)
    return target.getvalue()
