"""Summaries that a run of ``train.py`` keeps, to select from them anew."""

from __future__ import annotations

from pathlib import Path

import torch

from al_lightning.acquisition.summary_files import TokenSummaries, open_run_summaries
from al_lightning.data import UNLABELED, LabelPool
from al_lightning.types import DataFileError


def cycle_summaries(folder: Path) -> tuple[TokenSummaries, TokenSummaries]:
    """What a cycle of a run selected from: its pool and its labeled set, both in the order of the run's units.

    Args:
        folder: ``RUN/cycles/K``.

    Raises:
        DataFileError: it is no such folder, its cycle has no summaries (or not yet), or files do not fit each other.
    """
    resolved, file = folder.resolve(), folder / "summaries.npz"
    table = resolved.parents[1] / "pool.csv" if resolved.parent.name == "cycles" else None
    if table is None or not resolved.name.isdecimal() or not file.is_file():
        raise DataFileError(f"{folder} must be the folder of a cycle that kept summaries: RUN/cycles/K/summaries.npz")
    try:
        pool = LabelPool.from_csv(table.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataFileError(f"cannot read {table}, which names the units of {file}: {error}") from error
    summaries = open_run_summaries(file, pool.units)
    row_of = {unit: row for row, unit in enumerate(summaries.tokens)}
    rows = torch.tensor([row_of[unit] for unit in pool.units])
    labeled = torch.from_numpy((pool.acquired_at > UNLABELED) & (pool.acquired_at <= int(resolved.name)))
    candidates, known = summaries.parts(rows[~labeled], rows[labeled])
    return candidates, known
