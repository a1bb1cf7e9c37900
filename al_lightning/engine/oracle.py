"""Where labels come from: the disk, or annotators who are asked and answer later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from al_lightning.engine.processes import barrier, write_once
from al_lightning.engine.run_directory import RunDirectory, RunDirectoryError
from al_lightning.types import ActiveDataset


class LabelsRequested(Exception):  # noqa: N818
    """Not an error: labels were asked for, and the run ends until they are there."""

    def __init__(self, request: Path, count: int) -> None:
        super().__init__(
            f"labels of {count} units are requested in {request}; "
            "put them where its columns say and start the same command again"
        )


class MissingLabelsError(RuntimeError):
    """Labels are missing or unreadable; the message names each."""

    def __init__(self, problems: Sequence[str]) -> None:
        shown = "\n  ".join(problems[:20])
        rest = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        super().__init__(f"{len(problems)} labels cannot be used; the pool is left as it was:\n  {shown}{rest}")


class LabelOracle(Protocol):
    """Reveals labels."""

    def requested(self, name: str) -> list[int] | None:
        """Numbers of the units that annotators were asked for by this name, in pick order; None if they were not.

        Raises:
            RunDirectoryError: the request cannot be read, or names a unit that there is not.
        """
        ...

    def reveal(self, name: str, units: Sequence[int], reasons: Sequence[Mapping[str, Any]]) -> None:
        """Return when all labels of the units can be read.

        Args:
            name: of the request.
            units: numbers of the units, in pick order; those that were requested, if they were.
            reasons: scores of each unit.

        Raises:
            LabelsRequested: they were asked for just now.
            MissingLabelsError: some are missing or unreadable.
        """
        ...


def check_labels(dataset: ActiveDataset, units: Sequence[int]) -> None:
    """Read the labels of units.

    Raises:
        MissingLabelsError: one is missing or unreadable.
    """
    problems = [f"{dataset.units[unit]}: {problem}" for unit in units for problem in dataset.label_problems(unit)]
    if problems:
        raise MissingLabelsError(problems)


class DatasetOracle:
    """Labels are on disk already: experiments.

    Args:
        dataset: the rows to label.
    """

    def __init__(self, dataset: ActiveDataset) -> None:
        self.dataset = dataset

    def requested(self, name: str) -> None:
        """Nobody is asked."""

    def reveal(self, name: str, units: Sequence[int], reasons: Sequence[Mapping[str, Any]]) -> None:
        """Check that the labels can be read."""
        check_labels(self.dataset, units)


class ExternalOracle:
    """Labels are made by others: asked for by a file, awaited by ending the run.

    Args:
        dataset: the rows to label.
        run: where requests are written.
    """

    def __init__(self, dataset: ActiveDataset, run: RunDirectory) -> None:
        self.dataset, self.run = dataset, run

    def requested(self, name: str) -> list[int] | None:
        """What the request names, in its order."""
        requested = self.run.read_request(name)
        barrier()  # no process may see the request of another one as an old one
        if requested is None:
            return None
        number = {unit: position for position, unit in enumerate(self.dataset.units)}
        unknown = [unit for unit in requested if unit not in number]
        if unknown:
            raise RunDirectoryError(f"{self.run.request(name)} asks for unknown units: {', '.join(unknown[:5])}")
        return [number[unit] for unit in requested]

    def reveal(self, name: str, units: Sequence[int], reasons: Sequence[Mapping[str, Any]]) -> None:
        """Write the request the first time, check the labels from the second time on."""
        if self.requested(name) is not None:
            check_labels(self.dataset, units)
            return
        rows = [
            {"unit": self.dataset.units[unit], **self.dataset.paths(unit), **reason}
            for unit, reason in zip(units, reasons, strict=True)
        ]
        write_once(self.run.write_request, name, rows)
        raise LabelsRequested(self.run.request(name), len(rows))
