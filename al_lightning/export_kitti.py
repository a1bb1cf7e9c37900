"""Writes predictions for SemanticKITTI's benchmark: ``python -m al_lightning.export_kitti RUN OUT``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from pytorch_lightning.utilities import move_data_to_device
from rich.console import Console
from rich.progress import track

from al_lightning.config import ConfigError, check_component, instantiate
from al_lightning.data import SemanticKITTI
from al_lightning.data.semantickitti import SPLITS
from al_lightning.data.semantickitti_files import write_label
from al_lightning.report.networks import occupancy_config, trained_network
from al_lightning.tasks import OccupancyTask
from al_lightning.types import DataFileError, collate


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m al_lightning.export_kitti",
        description="Predict every frame of a split with the network of a run and write OUT/sequences/SS/predictions/"
        "NNNNNN.label, as the benchmark for semantic scene completion takes them.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory of an experiment on SemanticKITTI")
    parser.add_argument("out", type=Path, metavar="OUT", help="where to write")
    parser.add_argument("--split", default="test", help="train, val or test (default: test)")
    parser.add_argument(
        "--cycle", type=int, help="whose network to take (default: that of the last cycle that trained)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 run, network or data cannot be read."""
    options = _parser().parse_args(arguments)
    try:
        dataset, task = _dataset(options.run, options.split), trained_network(options.run, options.cycle).task
        export(task, dataset, options.out)
    except (ConfigError, DataFileError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(dataset)} predictions: {options.out / 'sequences'}")
    return 0


def export(task: OccupancyTask, dataset: SemanticKITTI, out: Path) -> None:
    """Predict all frames of a dataset from their sensors, and write one file a frame.

    Args:
        task: predicts on the device where it lies.
        dataset: the frames.
        out: root of the tree that is written.
    """
    console = Console(stderr=True)
    units = track(dataset.units, f"{len(dataset):,} frames", console=console, disable=not console.is_terminal)
    for row, unit in enumerate(units):
        batch = move_data_to_device(collate([dataset.sample(row, annotations=False)]), task.device)
        with torch.no_grad():
            semantics = task.eval().predict_step(batch, row).logits[0].argmax(dim=0)
        sequence, frame = unit.split("/")
        folder = out / "sequences" / sequence / "predictions"
        folder.mkdir(parents=True, exist_ok=True)
        write_label(folder / f"{frame}.label", semantics.cpu().numpy())


def _dataset(run: Path, split: str) -> SemanticKITTI:
    config = occupancy_config(run)["data"]
    try:
        check_component(config, "data", ("split",), SemanticKITTI)
    except ConfigError as error:
        raise ConfigError(f"{run} is no experiment on SemanticKITTI: {error}") from error
    dataset: SemanticKITTI = instantiate(config, "data", split=split)
    missing = [name for name in SPLITS["test"] if name not in dataset.sequences]
    if split == "test" and missing:
        raise DataFileError(f"the benchmark wants all test sequences; {dataset.root} lacks {', '.join(missing)}")
    return dataset


if __name__ == "__main__":
    sys.exit(main())
