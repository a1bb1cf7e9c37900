"""The same samples as several runs predict them, side by side, as in Fig. 3 of the occupancy paper.

``python -m al_lightning.report.qualitative RUN RUN`` looks at runs from outside, after the fact: it reads the labels of
the samples. Nothing that it computes or writes is read by a selection.

Shape letters: K classes, R runs, X Y Z voxels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pytorch_lightning.utilities import move_data_to_device
from rich.console import Console
from rich.progress import track
from torch import Tensor

from al_lightning.config import ConfigError, differing_keys, instantiate
from al_lightning.metrics.functional import occ3d_miou, voxel_confusion
from al_lightning.report.html_qualitative import FIGURE, Comparison, Contestant, qualitative_page
from al_lightning.report.networks import occupancy_config, trained_network
from al_lightning.report.tables_groups import method_name
from al_lightning.report.tables_runs import RunReadError, read_run
from al_lightning.tasks import OccupancyTask
from al_lightning.types import IGNORE, ActiveDataset, DataFileError, collate

APART = (
    "The samples are those of the split {split} in which the runs' mIoU lie farthest apart (largest minus smallest): "
    "extremes, no typical samples."
)
FIRST = "The samples are the first ones of the split {split}."
NAMED = "The samples were named by hand."


def sample_miou(prediction: Tensor, truth: Tensor, num_classes: int, free: int | None) -> float:
    """Mean IoU of one sample over the classes in its truth, the free class excepted; NaN if the truth has no other.

    Args:
        prediction: (X, Y, Z) classes.
        truth: (X, Y, Z) classes, `IGNORE` where a voxel does not count.
        num_classes: K.
        free: the class of empty voxels; None if there is none.
    """
    iou = occ3d_miou(voxel_confusion(prediction, truth, num_classes), mean_over="in_truth").iou
    if free is not None:
        iou[free] = torch.nan
    return float(iou.nanmean())


def compare(dataset: ActiveDataset, row: int, tasks: Sequence[OccupancyTask]) -> Comparison:
    """Predict a sample with every network, from its sensors alone.

    Raises:
        DataFileError: a file of the sample, or its labels, cannot be read.
        ValueError: a prediction has another shape than the truth.
    """
    sample = dataset.sample(row)
    assert sample.annotations is not None
    batch = collate([replace(sample, annotations=None)])
    truth = torch.where(sample.annotations.mask, sample.annotations.semantics, IGNORE)
    predictions, miou = [], []
    for task in tasks:
        with torch.no_grad():
            logits = task.predict_step(move_data_to_device(batch, task.device), 0).logits[0]
        prediction = logits.argmax(0).cpu()
        miou.append(sample_miou(prediction, truth, len(logits), getattr(dataset, "free_class", None)))
        predictions.append(torch.where(truth == IGNORE, IGNORE, prediction).numpy().astype(np.uint8))
    return Comparison(row, truth.numpy().astype(np.uint8), predictions, miou)


def most_different(compared: Iterable[Comparison], count: int) -> list[Comparison]:
    """The samples with the largest spread, the largest first; the earlier one of equals."""
    best: list[Comparison] = []
    for each in compared:  # no more than these are kept: a sample's volumes are large
        best = sorted([*best, each], key=lambda one: -one.spread)[:count]
    return best


def find_rows(dataset: ActiveDataset, names: Iterable[str]) -> list[int]:
    """Rows of the units or numbers of rows, each once; where a unit's id is a number, it is the unit.

    Raises:
        RunReadError: there is neither such a unit nor such a row.
    """
    units, found = list(dataset.units), []
    for name in names:
        if name in units:
            found += np.flatnonzero(dataset.unit_of == units.index(name)).tolist()
        elif name.isdecimal() and int(name) < len(dataset):
            found.append(int(name))
        else:
            raise RunReadError(
                f"there is no sample '{name}': it is none of the {len(units):,} units, such as {units[0]}, and no row "
                f"from 0 to {len(dataset) - 1}"
            )
    return list(dict.fromkeys(found))


def read_contestants(paths: Sequence[Path], cycle: int | None) -> list[Contestant]:
    """Runs on the same data with their networks; labeled by what acquired, and by their seed where several share that.

    Raises:
        RunReadError: a folder is no occupancy run, the data differ, or a run has no such cycle.
        ConfigError, DataFileError, ValueError: see `trained_network`.
    """
    configs = [occupancy_config(path) for path in paths]
    for path, config in zip(paths, configs, strict=True):
        if differences := differing_keys(configs[0]["data"], config["data"]):
            raise RunReadError(f"{paths[0]} and {path} are on different data: {'; '.join(differences)}")
    runs = [read_run(path) for path in paths]
    labels = [method_name(run) for run in runs]
    for more in ([f"seed {run.seed}" for run in runs], map(str, paths)):
        shared = {label for label in labels if labels.count(label) > 1}
        labels = [f"{own}, {word}" if own in shared else own for own, word in zip(labels, more, strict=True)]
    return [
        Contestant(label, run, *trained_network(path, cycle))
        for label, run, path in zip(labels, runs, paths, strict=True)
    ]


# --- command ----------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m al_lightning.report.qualitative",
        description="Predict the same samples with the networks of several runs and write one page: cameras, truth and "
        "predictions from above, each with the sample's own mIoU.",
        epilog=FIGURE,
    )
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="run directories of occupancy experiments on the same data"
    )
    parser.add_argument(
        "--sample", nargs="+", metavar="UNIT_OR_ROW",
        help="ids of units, or numbers of rows (default: those in which the runs' mIoU lie farthest apart)",
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=4, help="samples to show where none is named (default: 4)")
    parser.add_argument(
        "--cycle", type=int, metavar="K", help="whose networks to take (default: that of the last cycle that trained)"
    )
    parser.add_argument("--split", default="val", help="split that holds the samples (default: val)")
    parser.add_argument("--out", type=Path, default=Path("qualitative.html"), help="default: qualitative.html")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 runs or data cannot be read or compared, 2 wrong use."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.count < 1:
        parser.error(f"--count must be positive, got {options.count}")
    if options.out.is_dir():
        parser.error(f"--out must be a file, {options.out} is a folder")
    try:
        contestants = read_contestants(options.runs, options.cycle)
        dataset: ActiveDataset = instantiate(contestants[0].run.config["data"], "data", split=options.split)
        if not len(dataset):
            raise RunReadError(f"the split {options.split} has no samples")
        rows = find_rows(dataset, options.sample) if options.sample else range(len(dataset))
        options.out.parent.mkdir(parents=True, exist_ok=True)
        console = Console(stderr=True)
        shown = track(rows, f"{len(rows):,} samples", console=console, disable=not console.is_terminal)
        made = (compare(dataset, row, [one.task for one in contestants]) for row in shown)
        compared = list(made) if options.sample else most_different(made, options.count)
        chosen = NAMED if options.sample else APART if len(contestants) > 1 else FIRST
        why = chosen.format(split=options.split)
        options.out.write_text(qualitative_page(dataset, contestants, compared, why), encoding="utf-8")
    except (ConfigError, RunReadError, DataFileError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
