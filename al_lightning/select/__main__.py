"""Selects from predictions made elsewhere: ``python -m al_lightning.select --summaries pool.npz ...``."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.console import Console
from rich.table import Table

from al_lightning.acquisition import ErrorWindows, Selection
from al_lightning.acquisition.summary_files import HISTOGRAM, TokenSummaries, open_summaries
from al_lightning.acquisition.token_lists import read_tokens
from al_lightning.acquisition.trajectories import scene_summaries
from al_lightning.config import ConfigError
from al_lightning.new_files import check_new
from al_lightning.select.run_cycles import cycle_summaries
from al_lightning.select.selection import NOTHING_LABELED, configured, select
from al_lightning.select.watching import progress_bar, watched
from al_lightning.types import DataFileError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m al_lightning.select",
        description="Select the units to label next from summaries of predictions that were made elsewhere.",
        epilog="key=value changes the configuration as in train.py: acquisition.weights.intra=0, summarizer.horizon=6. "
        "The files, and the fields that each configuration reads: docs/bridge.md",
    )
    parser.add_argument(
        "--summaries", type=Path, required=True, metavar="FILE.npz|RUN/cycles/K",
        help="the pool; or RUN/cycles/K: the pool and the labeled set of a cycle of a run",
    )  # fmt: skip
    parser.add_argument(
        "--labeled", type=Path, action="append", default=[], metavar="FILE",
        help=".npz of the labeled units; or a list (.txt, .csv, .parquet) of those in the summaries that are labeled: "
        "one --labeled for each list",
    )  # fmt: skip
    parser.add_argument(
        "--config", type=Path, required=True, metavar="NAME|FILE.yaml",
        help="such as acquisition/cas (or random, entropy, coreset, value), or a file of yours",
    )  # fmt: skip
    parser.add_argument("--budget", type=int, required=True, metavar="N", help="units to select")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE",
        help="a new .csv, .parquet, or .txt (tokens only)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of what is random (default: 0)")
    parser.add_argument("words", nargs="*", metavar="key=value", help="changes of the configuration")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 files cannot be read or do not fit, 2 wrong use."""
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    if options.out.suffix not in WRITERS:
        parser.error(f"--out must end in {', '.join(WRITERS)}")
    _check_words(parser, options.words)
    start = time.perf_counter()
    try:
        check_new(options.out)
        acquisition, windows = configured(options.config, options.words)
        pool, labeled = _read(options.summaries, options.labeled, windows)
        classes = _class_names(pool)
        with progress_bar() as progress:
            watched(acquisition, progress, options.budget)
            selection = select(pool, labeled, acquisition, options.budget, options.seed)
        WRITERS[options.out.suffix](options.out, _columns(pool, selection))
    except ConfigError as error:
        print(f"configuration: {error}", file=sys.stderr)
        return 2
    except (DataFileError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    known = f", {len(labeled):,} labeled" if labeled.tokens else ""
    print(f"{options.config.stem}: {', '.join(acquisition.criteria)}")
    print(f"{options.budget:,} of {len(pool):,} units{known}, {time.perf_counter() - start:.1f} s: {options.out}")
    if classes:
        Console().print(_class_shares(classes, pool, selection))
    return 0


def _check_words(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Say what to type instead of words that change no key."""
    for word in words:
        if "=" not in word:
            parser.error(
                f"{word} is no key=value; for several lists of labeled units repeat --labeled: --labeled {word}"
            )
        if word.startswith("acquisition="):
            parser.error(f"{word} is a word of train.py; choose another --config here, such as acquisition/cas")


def _read(summaries: Path, labeled: Sequence[Path], windows: ErrorWindows) -> tuple[TokenSummaries, TokenSummaries]:
    """Pool and labeled set."""
    if summaries.is_dir():
        if labeled:
            raise DataFileError(f"{summaries} is of a run, which says itself what is labeled; leave --labeled out")
        return cycle_summaries(summaries)
    pool = _units(summaries, windows, labeled=False)
    if not labeled:
        return pool, NOTHING_LABELED
    if any(path.suffix == ".npz" for path in labeled):
        if len(labeled) > 1:
            raise DataFileError("give one --labeled .npz, or lists")
        return pool, _units(labeled[0], windows, labeled=True)
    names = {token for path in labeled for token in read_tokens(path)}
    if unknown := sorted(names - set(pool.tokens)):
        some = f"{', '.join(unknown[:3])} of {', '.join(map(str, labeled))}"
        raise DataFileError(f"{len(unknown):,} of {len(names):,} labeled units are not in {summaries}: {some}")
    known = torch.tensor([token in names for token in pool.tokens])
    unlabeled, others = pool.parts((~known).nonzero().flatten(), known.nonzero().flatten())
    return unlabeled, others


def _units(path: Path, windows: ErrorWindows, *, labeled: bool) -> TokenSummaries:
    """The units of a file: its rows, or the scenes of its trajectories."""
    rows = open_summaries(path)
    return scene_summaries(rows, windows, labeled=labeled) if "planned" in rows.names else rows


def _columns(pool: TokenSummaries, selection: Selection) -> dict[str, list[Any]]:
    """The picks in their order, with the scores that won them their picks."""
    rows = selection.units
    scores = {name: values[rows].tolist() for name, values in selection.scores.items()}
    return {"token": [pool.tokens[row] for row in rows.tolist()], "rank": list(range(1, len(rows) + 1)), **scores}


def _write_csv(path: Path, columns: dict[str, list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([columns.keys(), *zip(*columns.values(), strict=True)])


def _write_tokens(path: Path, columns: dict[str, list[Any]]) -> None:
    path.write_text("".join(f"{token}\n" for token in columns["token"]), encoding="utf-8")


WRITERS: dict[str, Callable[[Path, dict[str, list[Any]]], None]] = {
    ".csv": _write_csv,
    ".parquet": lambda path, columns: pq.write_table(pa.table(columns), path),
    ".txt": _write_tokens,
}


def _class_names(pool: TokenSummaries) -> list[str]:
    """Names of the K classes, numbers where there are none; empty where there are no histograms."""
    if HISTOGRAM not in pool.names or not len(pool):
        return []
    classes = pool[HISTOGRAM].shape[1]
    names = pool.texts.get("class_names", [str(number) for number in range(classes)])
    if len(names) != classes:
        raise DataFileError(f"{pool.source} has {len(names)} class_names for the {classes} classes of '{HISTOGRAM}'")
    return names


def _class_shares(names: Sequence[str], pool: TokenSummaries, selection: Selection) -> Table:
    """Mean share of every class over the pool and over the picks."""
    histogram = pool[HISTOGRAM]
    shares = (values.double().mean(0).tolist() for values in (histogram, histogram[selection.units]))
    table = Table("class", "pool", "picks", "times", title="mean share of the voxels", title_justify="left")
    for name, before, after in zip(names, *shares, strict=True):
        table.add_row(name, f"{before:.4%}", f"{after:.4%}", f"{after / before:.2f}" if before else "")
    return table


if __name__ == "__main__":
    sys.exit(main())
