"""Summaries made elsewhere: ``.npz`` files of named arrays with a row for each unit, read field by field.

``token`` (N,) text names the units; in the files of a run, ``units`` (N,) numbers them. Every other array is a field:
(N, ...) float16, float32, float64 or bool.
Two more lists of text are no fields: ``class_names`` (K,) names the classes of ``class_histogram``, ``scene`` (N,) the
scenes of keyframes (`trajectories`). docs/bridge.md lists the fields that the criteria read.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.acquisition.token_lists import check_unique
from al_lightning.types import DataFileError, Summary

TEXTS = ("token", "class_names", "scene")
HISTOGRAM = "class_histogram"


class MissingFieldError(DataFileError):
    """A field is not there; the message names it and the file."""


@dataclass
class TokenSummaries:
    """Fields of units that have tokens; each is read when it is first asked for, and kept.

    Attributes:
        source: where they come from, for messages.
        tokens: names of the units, all different.
        names: of the fields.
        read: reads a field (N, ...) of these names.
        texts: name -> text of the file; see the module.
    """

    source: str
    tokens: Sequence[str]
    names: Sequence[str]
    read: Callable[[str], Tensor]
    texts: Mapping[str, list[str]] = field(default_factory=dict)
    _kept: dict[str, Tensor] = field(default_factory=dict, init=False)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, name: str) -> Tensor:
        """A field (N, ...), float32, float64 or bool.

        Raises:
            MissingFieldError: it is not there.
            DataFileError: it has another length or dtype, or a value is not finite.
        """
        if name not in self.names:
            raise MissingFieldError(f"{self.source} has no '{name}'; it has {', '.join(self.names) or 'no field'}")
        if name not in self._kept:
            self._kept[name] = self.read(name)
        return self._kept[name]

    @property
    def row_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every field that was read so far, the shape of a row."""
        return {name: tuple(values.shape[1:]) for name, values in self._kept.items()}

    def parts(self, *rows: Tensor) -> list[TokenSummaries]:
        """The units in each of these lists of rows (M,); a field is read once for all, and not kept as a whole."""
        made: list[TokenSummaries] = []

        def read(name: str, number: int) -> Tensor:
            whole = self.read(name)
            for part, chosen in zip(made, rows, strict=True):
                part._kept[name] = whole[chosen]
            return made[number]._kept[name]

        for number, chosen in enumerate(rows):
            tokens = [self.tokens[row] for row in chosen.tolist()]
            made.append(TokenSummaries(self.source, tokens, self.names, partial(read, number=number), self.texts))
        return made

    def summary(self, most: int | None = None) -> Summary:
        """The first units, or all, as criteria want them: numbered from 0."""
        return _FileSummary(torch.arange(len(self) if most is None else min(most, len(self))), source=self)


@dataclass
class _FileSummary(Summary):
    """A summary that reads fields when it is asked for them."""

    source: TokenSummaries | None = None

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.fields and self.source is not None:
            self.fields[name] = self.source[name][: len(self)]
        return super().__getitem__(name)


def open_summaries(path: Path) -> TokenSummaries:
    """Open an ``.npz`` file; of its arrays only the text is read at once.

    Raises:
        DataFileError: the file cannot be read, has no tokens or repeated ones, or its text is no text.
    """
    arrays = _open(path)
    if "token" not in arrays:
        hint = "; of a run, give the folder of the cycle" if "units" in arrays else ""
        raise MissingFieldError(f"{path} has no 'token', the names of its units; it has {', '.join(arrays)}{hint}")
    texts = {name: _text(_array(arrays, name, path), name, path) for name in TEXTS if name in arrays}
    check_unique(texts["token"], path)
    return _summaries(path, arrays, texts["token"], texts)


def open_run_summaries(path: Path, units: Sequence[str]) -> TokenSummaries:
    """Open the ``summaries.npz`` of a cycle of a run, where ``units`` (N,) holds numbers instead of names.

    Args:
        path: the file.
        units: names of all units of the run.

    Raises:
        DataFileError: the file cannot be read, or does not hold every unit once.
    """
    arrays = _open(path)
    numbers = _array(arrays, "units", path).tolist() if "units" in arrays else None
    if numbers is None or sorted(numbers) != list(range(len(units))):
        raise DataFileError(f"{path} does not hold each of the {len(units):,} units of its run once")
    return _summaries(path, arrays, [units[number] for number in numbers], {})


def check_archive(path: Path) -> None:
    """Refuse what is no ``.npz`` file at first sight.

    Raises:
        DataFileError: the file cannot be opened, or does not begin as zip archives do.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise DataFileError(f"cannot read {path}: {error}") from error
    if not start.startswith(b"PK"):
        raise DataFileError(
            f"{path} must be an .npz file of named arrays, as np.savez writes it; it begins with {start!r}"
        )


def _open(path: Path) -> Mapping[str, NDArray[Any]]:
    check_archive(path)
    try:
        arrays: Mapping[str, NDArray[Any]] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataFileError(f"cannot read the summaries of {path}: {error}") from error
    return arrays


def _summaries(
    path: Path, arrays: Mapping[str, NDArray[Any]], tokens: Sequence[str], texts: Mapping[str, list[str]]
) -> TokenSummaries:
    def read(name: str) -> Tensor:
        return _field(_array(arrays, name, path), name, tokens, path)

    names = [name for name in arrays if name not in (*TEXTS, "units")]
    return TokenSummaries(str(path), tokens, names, read, texts)


def _array(arrays: Mapping[str, NDArray[Any]], name: str, path: Path) -> NDArray[Any]:
    try:
        return arrays[name]
    except Exception as error:  # a damaged archive can fail in any way
        raise DataFileError(f"cannot read '{name}' of {path}: {error}") from error


def _text(array: NDArray[Any], name: str, path: Path) -> list[str]:
    if array.shape == (0,):
        raise DataFileError(f"'{name}' of {path} is empty")
    if array.ndim != 1 or array.dtype.kind != "U":
        raise DataFileError(
            f"'{name}' of {path} must be a list of text, as np.array(names, dtype=str) makes it, "
            f"got {array.dtype} {array.shape}"
        )
    texts: list[str] = array.tolist()
    return texts


def _field(array: NDArray[Any], name: str, tokens: Sequence[str], path: Path) -> Tensor:
    """A field as a tensor, if it is one of finite numbers with a row for each token."""
    if array.dtype.kind not in "fb" or array.shape[:1] != (len(tokens),):
        raise DataFileError(
            f"'{name}' of {path} must be float16, float32, float64 or bool with a row for each of {len(tokens):,} "
            f"tokens, got {array.dtype} {array.shape}"
        )
    half = array.dtype == np.float16
    if array.dtype.kind == "f":
        array = np.asarray(array, np.float64 if array.dtype.itemsize >= 8 else np.float32)
    values = torch.from_numpy(np.ascontiguousarray(array))
    finite = values.isfinite().flatten(1).all(1) if values.dim() > 1 else values.isfinite()
    _check_rows(finite, "is not finite", name, tokens, path)
    return _shares(values, half, tokens, path) if name == HISTOGRAM else values


def _shares(values: Tensor, half: bool, tokens: Sequence[str], path: Path) -> Tensor:
    """Class histograms; those in half precision, whose sums are up to 0.01 off, are brought back to sum 1."""
    if values.dim() != 2 or not values.shape[1] or values.dtype == torch.bool:
        raise DataFileError(f"'{HISTOGRAM}' of {path} must be (N, K) shares, got {values.dtype} {tuple(values.shape)}")
    sums = values.sum(1, dtype=torch.float64)
    right = (values >= 0).all(1) & ((sums - 1).abs() <= (1e-2 if half else 1e-4))
    hint = "" if bool(right.all()) else _wrong_shares(values[~right][0])
    _check_rows(right, "is no histogram (not negative, sum 1)", HISTOGRAM, tokens, path, hint)
    return values / sums[:, None].float() if half else values


def _wrong_shares(first: Tensor) -> str:
    """What is wrong with a class histogram (K,), the first of those that are."""
    if float(first.min()) < 0:
        return f"; the least share of the first is {float(first.min()):.6g}"
    return f"; the sum of the first is {float(first.sum()):.6g}: divide the counts of each unit by their sum"


def _check_rows(right: Tensor, wrong: str, name: str, tokens: Sequence[str], path: Path, hint: str = "") -> None:
    if not bool(right.all()):
        bad = (~right).nonzero().flatten().tolist()
        named = ", ".join(tokens[row] for row in bad[:3])
        raise DataFileError(f"'{name}' of {path} {wrong} for {len(bad):,} of {len(tokens):,} tokens: {named}{hint}")
