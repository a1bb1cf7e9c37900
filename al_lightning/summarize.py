"""Makes summaries of dumped occupancy logits: ``python -m al_lightning.summarize DIR --out pool.npz``.

One ``.npz`` file a sample, anywhere below DIR, with

- ``logits`` (X, Y, Z, K) float16 or float32: a score of every class for every voxel, the free class among them;
- ``mask`` (X, Y, Z) bool or 0 and 1, if only some voxels count, such as those that a camera sees;
- ``embedding`` (D,), if k-center is to select;
- ``token``, text, if the file is not named after the sample.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from al_lightning.acquisition.functional import voxel_statistics
from al_lightning.acquisition.summary_files import check_archive
from al_lightning.acquisition.token_lists import check_unique
from al_lightning.new_files import check_new
from al_lightning.types import DataFileError

BLOCK = 512
"""Samples after which what is done is saved."""

Row = dict[str, NDArray[Any]]


def summarize_sample(path: Path, *, classes_first: bool = False) -> Row:
    """What is kept of a sample.

    Args:
        path: its file; see the module.
        classes_first: its logits are (K, X, Y, Z).

    Returns:
        ``token``, ``class_histogram`` (K,) over the voxels that count (Eq. 1), ``entropy`` and
        ``frequency_weighted_entropy`` in nats (Eq. 4 and 7; the weights w_c are of the sample's own histogram, Eq. 5),
        and the ``embedding`` where there is one.

    Raises:
        DataFileError: the file cannot be read, its arrays do not fit, no voxel counts, or a score is not finite.
    """
    check_archive(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("token", "logits", "mask", "embedding") if name in file}
        statistics = voxel_statistics(*_voxels(arrays, classes_first))
        embedding = np.asarray(arrays.get("embedding", np.zeros(0)), np.float32)
        if embedding.ndim != 1 or not np.isfinite(embedding).all():
            raise ValueError(f"embedding must be (D,) finite numbers, got {embedding.shape}")
    except Exception as error:  # a damaged archive can fail in any way
        raise DataFileError(f"cannot summarize {path}: {error}") from error
    row = {"token": np.array(str(arrays.get("token", path.stem)))}
    row |= {
        "class_histogram": statistics.histogram[0].numpy(),
        "entropy": statistics.entropy[0].numpy(),
        "frequency_weighted_entropy": statistics.frequency_weighted_entropy[0].numpy(),
    }
    return row | ({"embedding": embedding} if "embedding" in arrays else {})


def _voxels(arrays: Row, classes_first: bool) -> tuple[Tensor, Tensor | None]:
    """Logits (1, K, X, Y, Z) float32 and mask (1, X, Y, Z) or None."""
    if "logits" not in arrays:
        raise ValueError("it has no 'logits'")
    if arrays["logits"].ndim != 4 or arrays["logits"].dtype.kind != "f":
        raise ValueError(f"logits must be 4 axes of floats, got {arrays['logits'].dtype} {arrays['logits'].shape}")
    logits = torch.from_numpy(arrays["logits"].astype(np.float32))
    logits = logits if classes_first else logits.movedim(-1, 0)
    mask = arrays.get("mask")
    if mask is None:
        return logits[None], None
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError("mask must hold 0 and 1 only")
    return logits[None], torch.from_numpy(mask.astype(bool))[None]


def summarize(folder: Path, out: Path, class_names: Sequence[str] = (), *, classes_first: bool = False) -> Row:
    """Summarize all samples below a folder, sorted by path, and write them for `al_lightning.select`.

    A run that was stopped goes on where it was: what is done is kept beside ``out`` until all is. Files that have
    changed since are read again. The result does not depend on the number of threads.

    Args:
        folder: of the samples' files.
        out: ``.npz`` to write.
        class_names: K names of the classes, to be shown.
        classes_first: the logits are (K, X, Y, Z).

    Returns:
        What was written: name -> (N, ...).

    Raises:
        DataFileError: there is no sample, one cannot be summarized, two have the same token, or they do not fit.
    """
    found = (path for path in folder.rglob("*.npz") if path.resolve() != out.resolve())
    paths = sorted(path for path in found if not path.name.startswith("."))
    if not paths:
        raise DataFileError(f"there is no .npz file in {folder}")
    partial = out.with_name(f".{out.name}.partial.npz")
    states = {str(path): _state(path, classes_first) for path in paths}
    done = {name: row for name, row in _read_partial(partial).items() if row["state"] == states.get(name)}
    left = [path for path in paths if str(path) not in done]
    blocks = [left[start : start + BLOCK] for start in range(0, len(left), BLOCK)]
    console = Console(stderr=True)
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for block in track(blocks, f"{len(left):,} samples", console=console, disable=not console.is_terminal):
            rows = threads.map(lambda path: summarize_sample(path, classes_first=classes_first), block)
            for path, row in zip(block, rows, strict=True):
                done[str(path)] = {**row, "state": np.array(states[str(path)])}
            _save(partial, {"path": np.array(list(done)), **_stacked(done)})
    summaries = _stacked({str(path): done[str(path)] for path in paths})
    del summaries["state"]
    check_unique(summaries["token"].tolist(), folder)
    if class_names:
        if len(class_names) != summaries["class_histogram"].shape[1]:
            raise DataFileError(f"{len(class_names)} class names for {summaries['class_histogram'].shape[1]} classes")
        summaries["class_names"] = np.array(class_names)
    _save(out, summaries)
    partial.unlink(missing_ok=True)
    return summaries


def _state(path: Path, classes_first: bool) -> str:
    """What shows that a file has changed, or is read in another way."""
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns} {classes_first}"


def _read_partial(path: Path) -> dict[str, Row]:
    """What a stopped run has done: path -> row, with the ``state`` of the file."""
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file}
    paths = arrays.pop("path").tolist()
    return {path: {name: values[row] for name, values in arrays.items()} for row, path in enumerate(paths)}


def _stacked(rows: Mapping[str, Row]) -> Row:
    """Fields (N, ...) of rows with the same fields.

    Raises:
        DataFileError: a row differs from the first in its fields or their shapes.
    """
    shapes = {path: {name: values.shape for name, values in row.items()} for path, row in rows.items()}
    first, expected = next(iter(shapes.items()))
    for path, found in shapes.items():
        if found != expected:
            raise DataFileError(f"{path} gives {found}, but {first} gives {expected}")
    return {name: np.stack([row[name] for row in rows.values()]) for name in expected}


def _save(path: Path, arrays: Row) -> None:
    """Write so that a crash leaves the old content or the new one."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        np.savez(file, **arrays)
    unfinished.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m al_lightning.summarize",
        description="Reduce dumped occupancy logits, one .npz a sample, to the numbers that al_lightning.select reads. "
        "The same command goes on where a stopped one was.",
        epilog="The arrays of the files: logits (X, Y, Z, K), optional mask (X, Y, Z), embedding (D,), token; "
        "see docs/bridge.md",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with the files, at any depth")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="a new file to write")
    parser.add_argument("--classes-first", action="store_true", help="the logits are (K, X, Y, Z)")
    parser.add_argument("--class-names", default="", metavar="A,B,...", help="names of the K classes, to be shown")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 files cannot be read or do not fit, 2 wrong use."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.out.suffix != ".npz":
        parser.error("--out must end in .npz")
    names = [name.strip() for name in options.class_names.split(",") if name.strip()]
    start = time.perf_counter()
    try:
        check_new(options.out)
        summaries = summarize(options.folder, options.out, names, classes_first=options.classes_first)
    except (DataFileError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    share = summaries["class_histogram"].mean(axis=0, dtype=np.float64)
    most, axis = int(share.argmax()), "first" if options.classes_first else "last"
    print(f"{len(summaries['token']):,} samples, {time.perf_counter() - start:.1f} s: {options.out}")
    print(
        f"{len(share)} classes in the order of the logits' {axis} axis, taken to hold the free class, too; "
        f"most frequent: {names[most] if names else f'class {most}'}, {share[most]:.1%} of the voxels"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
