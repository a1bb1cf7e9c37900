"""Writes what a run labeled for other code bases: ``python -m al_lightning.export RUN --format vad --infos FILE``."""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import yaml

from al_lightning.acquisition.token_lists import check_unique, read_tokens
from al_lightning.data import UNLABELED, LabelPool
from al_lightning.data.info_files import LAYOUTS, InfoFile, keyframe_units, read_info_file, read_scenes
from al_lightning.new_files import check_new
from al_lightning.types import DataFileError

Part = Literal["labeled", "new", "pool"]
SUFFIXES = {"tokens": ".txt", "csv": ".csv"}


@dataclass(frozen=True)
class Units:
    """Units to export.

    Attributes:
        name: where they come from, for messages.
        acquired_at: unit -> the cycle that is the first to train on it, -1 for none; in the order of the pool.
        known: all units of the run, from which those of this part were taken.
        whole: what `known` holds is the whole run, not a list.
        rows: unit -> number of its keyframes; empty where that is not known.
        tables: folder of nuScenes' tables, as the run's configuration names it, or None.
    """

    name: str
    acquired_at: Mapping[str, int]
    known: Sequence[str]
    whole: bool = True
    rows: Mapping[str, int] = field(default_factory=dict)
    tables: Path | None = None


def run_units(run: Path, cycle: int | None = None, part: Part = "labeled") -> Units:
    """Units of a run directory, by the column ``acquired_at`` of its ``pool.csv``.

    Args:
        run: the directory.
        cycle: k; None for the last one that has labels.
        part: "labeled": what cycle k trains on, 0 <= acquired_at <= k. "new": what was labeled for it,
            acquired_at = k; k = 0 is the seed set. "pool": all that cycle k does not train on.

    Raises:
        DataFileError: there is no pool, or the run has not come to that cycle.
    """
    path = run / "pool.csv"
    try:
        pool = LabelPool.from_csv(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataFileError(f"{run} is no run with labels: cannot read {path}: {error}") from error
    last = pool.cycle
    cycle = last if cycle is None else cycle
    if not 0 <= cycle <= last:
        raise DataFileError(f"{run} has labels of the cycles 0 to {last}, none of cycle {cycle}")
    since = dict(zip(pool.units, pool.acquired_at.tolist(), strict=True))
    labeled = {unit: at for unit, at in since.items() if UNLABELED < at <= cycle}
    parts = {
        "labeled": labeled,
        "new": {unit: at for unit, at in labeled.items() if at == cycle},
        "pool": dict.fromkeys((unit for unit in since if unit not in labeled), UNLABELED),
    }
    name = {
        "labeled": f"{run}, what cycle {cycle} trains on",
        "new": f"{run}, labeled for cycle {cycle}",
        "pool": f"{run}, unlabeled in cycle {cycle}",
    }[part]
    return Units(name, parts[part], pool.units, rows=_rows(run), tables=_tables(run))


def _rows(run: Path) -> dict[str, int]:
    """How many keyframes each unit of a run has, where the run kept it."""
    path = run / "rows.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["unit"]: int(row["rows"]) for row in csv.DictReader(file)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataFileError(f"cannot read {path}: {error!r}") from error


def _tables(run: Path) -> Path | None:
    """Folder of nuScenes' tables in the configuration of a run, if it has any and they are still there."""
    path = run / "config.yaml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))["data"] if path.is_file() else {}
    if not (data.get("root") and data.get("version")):
        return None
    tables = Path(data["root"]).expanduser() / data["version"]
    return tables if (tables / "sample.json").is_file() else None


def listed_units(files: Sequence[Path]) -> Units:
    """Units of lists of tokens (`token_lists.read_tokens`), all different.

    Raises:
        DataFileError: a list cannot be read, or a token is in two of them.
    """
    tokens = [token for file in files for token in read_tokens(file)]
    name = ", ".join(map(str, files))
    check_unique(tokens, name)
    return Units(name, dict.fromkeys(tokens, 0), tokens, whole=False)


def keyframes_of(units: Units, file: InfoFile, tables: Path | None = None, others: bool = False) -> InfoFile:
    """The info file with the keyframes of these units alone.

    Args:
        units: keyframes, scenes or clips.
        file: the keyframes to choose from.
        tables: folder of nuScenes' tables, for scenes whose keyframes do not say theirs.
        others: take the keyframes of no unit instead.

    Raises:
        DataFileError: a unit has no keyframe in the file, nothing is left, a list names clips, or scenes of clips lack
            keyframes.
    """
    if not units.whole and (clips := [unit for unit in units.known if "/" in unit]):
        raise DataFileError(f"{clips[0]} in {units.name} is a clip: what clips hold only the run directory tells")
    found = keyframe_units(file, units.known)
    if tables is not None and not any(found):
        found = keyframe_units(file, units.known, read_scenes(tables))
    missing = sorted(units.acquired_at.keys() - set(found))
    if missing:
        raise DataFileError(_missing(units, file, missing, tables))
    _check_clips(units, file, Counter(unit for unit in found if unit is not None and "/" in unit))
    rows = [row for row, unit in enumerate(found) if (unit in units.acquired_at) != others]
    if not rows:
        raise DataFileError(f"no keyframe of {file.path} is left of {units.name}")
    return file.take(rows)


def _check_clips(units: Units, file: InfoFile, found: Mapping[str, int]) -> None:
    """Refuse a file in which clips are not those of the run: clips are cut anew, from the scenes as they are there."""
    for clip, count in found.items():
        if units.rows.get(clip) != count:
            raise DataFileError(
                f"clip {clip} would have {count:,} keyframes of {file.path}, but it has "
                f"{units.rows.get(clip, 'a number that is in no rows.csv')} in the run: clips need the info file with "
                "all keyframes of their scenes"
            )


def _missing(units: Units, file: InfoFile, missing: Sequence[str], tables: Path | None) -> str:
    message = (
        f"{len(missing):,} of {len(units.acquired_at):,} units ({units.name}) have no keyframe among the "
        f"{len(file.keyframes):,} of {file.path}: {', '.join(missing[:3])}{', ...' * (len(missing) > 3)}"
    )
    if len(missing) == len(units.acquired_at) and tables is None:
        message += (
            "; if these are scenes, their keyframes do not say it: --nuscenes FOLDER names nuScenes' tables, which do"
        )
    return message


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m al_lightning.export",
        description="Write the labeled subset of a run, or the keyframes of token lists, for another code base: an "
        "info file cut down to them, with all fields in the same order, or a list; also one list of several.",
        epilog="Cycle k trains on the units of pool.csv with 0 <= acquired_at <= k. How-to: docs/bridge.md",
    )
    parser.add_argument(
        "source", type=Path, nargs="+", metavar="RUN|LIST",
        help="a run directory; or token lists: .csv or .parquet with a column token or unit, .txt with a token a line",
    )  # fmt: skip
    parser.add_argument("--format", required=True, choices=(*LAYOUTS, *SUFFIXES), help="what to write")
    parser.add_argument("--infos", type=Path, metavar="FILE", help="info file (.pkl) to take the keyframes from")
    parser.add_argument("--cycle", type=int, metavar="K", help="whose labels (default: the last that has any)")
    parser.add_argument(
        "--part", default="labeled", choices=get_args(Part),
        help="labeled: what cycle K trains on; new: what was labeled for it; pool: everything else (default: labeled)",
    )  # fmt: skip
    parser.add_argument(
        "--nuscenes", type=Path, metavar="FOLDER",
        help="nuScenes' root or tables, for runs on scenes where the info file does not name them",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="FILE",
        help="a new file to write (default: named after run or infos, cycle and part, in this folder)",
    )  # fmt: skip
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 a file cannot be read or does not fit, 2 wrong use."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for source in options.source:
        if not source.exists():
            parser.error(f"{source} is neither a run directory nor a file")
    listed = options.format in SUFFIXES
    if listed == (options.infos is not None):
        parser.error(f"--format {options.format} {'takes no' if listed else 'needs'} --infos FILE")
    lists = not options.source[0].is_dir()
    if lists and (wrong := _no_use_for_lists(options)):
        parser.error(f"{wrong} needs a run directory; {options.source[0]} is none")
    if not lists and len(options.source) > 1:
        parser.error("give one run directory, or token lists")
    try:
        check_new(out := options.out or _default_out(options))
        units = listed_units(options.source) if lists else run_units(options.source[0], options.cycle, options.part)
        (_write_list if listed else _write_infos)(units, out, options)
    except (DataFileError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _no_use_for_lists(options: argparse.Namespace) -> str:
    """The option that asks of token lists what they do not tell; empty if there is none."""
    if options.cycle is not None:
        return f"--cycle {options.cycle}"
    if options.part == "new" or (options.part == "pool" and options.format in SUFFIXES):
        return f"--part {options.part}"
    return "--format csv" if options.format == "csv" else ""


def _default_out(options: argparse.Namespace) -> Path:
    """A name for what is written; of runs/occupancy_sim/0 it begins with ``occupancy_sim-0``."""
    source = options.source[0].resolve()
    name = f"{source.parent.name}-{source.name}" if source.is_dir() else source.stem
    cycle = "" if options.cycle is None else f"_cycle{options.cycle}"
    suffix = SUFFIXES.get(options.format, ".pkl")
    return Path(f"{options.infos.stem if options.infos else name}{cycle}_{options.part}{suffix}")


def _write_list(units: Units, out: Path, options: argparse.Namespace) -> None:
    with out.open("w", newline="", encoding="utf-8") as file:
        if options.format == "csv":
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([("unit", "acquired_at"), *units.acquired_at.items()])
        else:
            file.writelines(f"{unit}\n" for unit in units.acquired_at)
    print(f"{len(units.acquired_at):,} units ({units.name}): {out}")


def _write_infos(units: Units, out: Path, options: argparse.Namespace) -> None:
    infos = read_info_file(options.infos, options.format)
    tables = _tables_folder(options.nuscenes, infos.version) if options.nuscenes else units.tables
    kept = keyframes_of(units, infos, tables, others=not units.whole and options.part == "pool")
    kept.write(out)
    _say_counts(units, infos, kept, out)


def _tables_folder(folder: Path, version: str) -> Path:
    """The tables, in this folder or in that of the version below it."""
    below = folder / version
    return folder if (folder / "sample.json").is_file() or not version else below


def _say_counts(units: Units, infos: InfoFile, kept: InfoFile, out: Path) -> None:
    cycles = Counter(units.acquired_at.values())
    since = ", ".join(f"{cycles[at]:,} in cycle {at}" for at in sorted(cycles) if units.whole and at != UNLABELED)
    print(f"{len(units.acquired_at):,} units ({units.name}){': ' * bool(since)}{since}")
    print(f"{len(kept.keyframes):,} of {len(infos.keyframes):,} keyframes of {infos.path}: {out}")


if __name__ == "__main__":
    sys.exit(main())
