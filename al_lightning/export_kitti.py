"""Writes predictions for SemanticKITTI's benchmark: ``python -m al_lightning.export_kitti RUN OUT``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from pytorch_lightning.utilities import move_data_to_device

from al_lightning.config import ConfigError, instantiate
from al_lightning.data import SemanticKITTI
from al_lightning.data.semantickitti import SPLITS
from al_lightning.data.semantickitti_files import write_label
from al_lightning.engine import RunDirectory, RunDirectoryError
from al_lightning.models import load_checkpoint
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
        dataset, task = _dataset(options.run, options.split), _network(options.run, options.cycle)
        export(task, dataset, options.out)
    except (ConfigError, RunDirectoryError, DataFileError, ValueError) as error:
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
    for row, unit in enumerate(dataset.units):
        batch = move_data_to_device(collate([dataset.sample(row, annotations=False)]), task.device)
        with torch.no_grad():
            semantics = task.eval().predict_step(batch, row).logits[0].argmax(dim=0)
        sequence, frame = unit.split("/")
        folder = out / "sequences" / sequence / "predictions"
        folder.mkdir(parents=True, exist_ok=True)
        write_label(folder / f"{frame}.label", semantics.cpu().numpy())


def _config(run: Path) -> dict[str, dict[str, object]]:
    config = RunDirectory(run).read_config()
    if config is None:
        raise RunDirectoryError(f"{run} is no run directory: it has no config.yaml")
    return config


def _dataset(run: Path, split: str) -> SemanticKITTI:
    dataset = instantiate(_config(run)["data"], "data", split=split)
    if not isinstance(dataset, SemanticKITTI):
        raise ConfigError(f"{run} is no experiment on SemanticKITTI: its data are {type(dataset).__name__}")
    missing = [name for name in SPLITS["test"] if name not in dataset.sequences]
    if split == "test" and missing:
        raise DataFileError(f"the benchmark wants all test sequences; {dataset.root} lacks {', '.join(missing)}")
    return dataset


def _network(run: Path, cycle: int | None) -> OccupancyTask:
    """The task of a run with the weights of a cycle, on the GPU if there is one."""
    found = sorted(int(path.parent.name) for path in (run / "cycles").glob("*/checkpoint.ckpt"))
    if not found or cycle not in (None, *found):
        raise RunDirectoryError(f"{run} has no checkpoint of cycle {cycle}; there are those of cycles {found}")
    task: OccupancyTask = instantiate(_config(run)["task"], "task")
    load_checkpoint(task, RunDirectory(run).cycle(found[-1] if cycle is None else cycle, "checkpoint.ckpt"))
    return task.to("cuda" if torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    sys.exit(main())
