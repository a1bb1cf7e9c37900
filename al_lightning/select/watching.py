"""A progress bar that the criteria move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from torch import Tensor

from al_lightning.acquisition import Acquisition, Criterion
from al_lightning.acquisition.lazy_selection import Falling
from al_lightning.types import Summary


def progress_bar() -> Progress:
    """What is done, how many of how many, and since when; on terminals alone."""
    console = Console(stderr=True)
    count = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    columns = (SpinnerColumn(), TextColumn("{task.description}"), *count)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def watched(acquisition: Acquisition, progress: Progress, budget: int) -> None:
    """Let the criteria of an acquisition move a progress bar."""
    task = progress.add_task("reading", total=budget)
    first, *others = acquisition.criteria

    def say(text: str) -> None:
        progress.update(task, description=text)

    acquisition.criteria = {
        first: _Watched(first, acquisition.criteria[first], say, lambda: progress.advance(task)),
        **{name: _Watched(name, acquisition.criteria[name], say, lambda: None) for name in others},
    }


class _Watched:
    """A criterion that says what it does."""

    def __init__(self, name: str, criterion: Criterion, say: Callable[[str], None], picked: Callable[[], None]) -> None:
        self.name, self.criterion, self.say, self.picked = name, criterion, say, picked
        self.falling: Falling | None = None

    def score(self, pool: Summary, labeled: Summary, generator: torch.Generator) -> Tensor:
        self.say(f"scoring: {self.name}")
        scores = self.criterion.score(pool, labeled, generator)
        falling = getattr(self.criterion, "falling", None)
        self.falling = falling and _WatchedFalling(falling, self.picked)
        self.say("picking")
        return scores

    def update(self, position: int) -> Tensor | None:
        self.picked()
        return self.criterion.update(position)


class _WatchedFalling(NamedTuple):
    """Scores of a criterion that fall, counting the picks."""

    falling: Falling
    picked: Callable[[], None]

    def notice(self, position: int) -> None:
        self.picked()
        self.falling.notice(position)

    def refresh(self, positions: Any) -> Any:
        return self.falling.refresh(positions)
