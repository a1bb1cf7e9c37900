"""Selection from summaries made elsewhere, as the loop selects."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from al_lightning.acquisition import Acquisition, ErrorWindows, Selection
from al_lightning.acquisition.selection import check_budget
from al_lightning.acquisition.summary_files import MissingFieldError, TokenSummaries
from al_lightning.config import compose_parts, instantiate, named_file
from al_lightning.types import DataFileError

HEAD = 64
"""Units on which it is tried first whether every field is there."""
NO_FIELDS: dict[str, Tensor] = {}
NOTHING_LABELED = TokenSummaries("the labeled set (--labeled is not given)", [], [], NO_FIELDS.__getitem__)


def configured(file: Path, words: Sequence[str] = ()) -> tuple[Acquisition, ErrorWindows]:
    """The acquisition of a file of ``configs/acquisition``, and how trajectories become error patterns.

    Args:
        file: its YAML, or a name such as ``acquisition/cas``.
        words: ``key=value``; ``summarizer.horizon`` and its like are the error windows'.

    Raises:
        ConfigError: the file or a word is wrong.
    """
    kinds = {"acquisition": Acquisition, "summarizer": ErrorWindows}
    windows = {"_target_": "al_lightning.acquisition.ErrorWindows", "horizon": 5}
    parts = compose_parts(named_file(file), "acquisition", words, {"summarizer": windows}, kinds)
    return instantiate(parts["acquisition"], "acquisition"), instantiate(parts["summarizer"], "summarizer")


def select(
    pool: TokenSummaries,
    labeled: TokenSummaries,
    acquisition: Acquisition,
    budget: int,
    seed: int = 0,
) -> Selection:
    """Select units of the pool; the same picks as the loop's from the same summaries and random numbers.

    Args:
        pool: the candidates.
        labeled: what is labeled; `NOTHING_LABELED` for criteria that do not look at it.
        acquisition: how to select.
        budget: number of units.
        seed: of what is random.

    Returns:
        The selection, with rows of the pool for units.

    Raises:
        MissingFieldError: a criterion reads a field that is not there.
        DataFileError: there is no candidate, a unit is in both, a field is not valid or has another width in the two.
        ValueError: the budget is out of range, or a criterion refuses its input.
    """
    both = set(pool.tokens) & set(labeled.tokens)
    if both:
        raise DataFileError(
            f"{len(both):,} units are in {pool.source} and in {labeled.source}: {', '.join(sorted(both)[:3])}; "
            "where one file holds all, name the labeled ones in a list (--labeled FILE.txt)"
        )
    if not len(pool):
        raise DataFileError(f"no candidate is left in {pool.source}: all {len(labeled):,} units are labeled")
    check_budget(budget, len(pool))
    with _silent():
        check_fields(acquisition, pool, labeled)
    _check_widths(pool, labeled)
    generator = torch.Generator().manual_seed(seed)
    return acquisition.select(pool.summary(), labeled.summary(), budget, generator)


@contextmanager
def _silent() -> Iterator[None]:
    """No warnings: what is logged of the first units need not be true of all."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _check_widths(pool: TokenSummaries, labeled: TokenSummaries) -> None:
    """Refuse fields, of those that were read, whose rows have another shape in the two files."""
    for name in pool.row_shapes.keys() & labeled.row_shapes.keys():
        found, known = pool.row_shapes[name], labeled.row_shapes[name]
        if found != known:
            raise DataFileError(
                f"'{name}' of {pool.source} and of {labeled.source} must have rows of the same shape, "
                f"got {found} and {known}"
            )


def check_fields(acquisition: Acquisition, pool: TokenSummaries, labeled: TokenSummaries) -> None:
    """Let everything read the first units, so that a field that is missing shows before hours of work.

    Raises:
        MissingFieldError: fields are missing; the message names them, the files, and who reads them.
    """
    represented, known = pool.summary(HEAD), labeled.summary(HEAD)
    generator = torch.Generator().manual_seed(0)
    if acquisition.representation is not None:
        try:
            short = acquisition.representation.rehearsal()(represented, known, generator)
        except MissingFieldError as error:
            raise MissingFieldError(f"the representation needs more: {error}") from error
        except ValueError:  # what a few units are refused for may be right for all; if not, they are refused soon
            return
        represented, known = short.pool, short.labeled
    for name, criterion in acquisition.criteria.items():
        try:
            criterion.score(represented, known, generator)
        except MissingFieldError as error:
            raise MissingFieldError(f"the criterion '{name}' needs more: {error}") from error
        except ValueError:  # as above
            continue
