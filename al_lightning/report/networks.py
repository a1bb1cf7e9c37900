"""The occupancy network of a run, as a cycle left it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from al_lightning.config import ConfigError, check_component, instantiate
from al_lightning.models import load_checkpoint
from al_lightning.report.tables_runs import RunReadError
from al_lightning.tasks import OccupancyTask


class Trained(NamedTuple):
    """What a cycle has trained.

    Attributes:
        cycle: its number.
        task: with the cycle's weights, on the GPU if there is one.
    """

    cycle: int
    task: OccupancyTask


def occupancy_config(run: Path) -> dict[str, Any]:
    """The configuration of a run directory.

    Raises:
        RunReadError: it is no run directory, or its experiment is not one on occupancy.
    """
    try:
        config: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        check_component(config["task"], "task", kind=OccupancyTask)
        check_component(config["data"], "data", provided=("split",))
    except OSError as error:
        raise RunReadError(f"{run} is no run directory: it has no config.yaml") from error
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise RunReadError(f"cannot read {run / 'config.yaml'}: {error!r}") from error
    except ConfigError as error:
        raise RunReadError(f"{run}: {error}") from error
    return config


def trained_network(run: Path, cycle: int | None = None) -> Trained:
    """The network of a cycle; None for that of the last one that was validated: a later one may be half trained.

    Raises:
        RunReadError: see `occupancy_config`; or the cycle has left no checkpoint.
        ConfigError: a part of the task refuses its arguments.
        DataFileError: the checkpoint cannot be read.
        ValueError: the checkpoint is that of another network.
    """
    config = occupancy_config(run)
    found = sorted(int(path.parent.name) for path in (run / "cycles").glob("*/checkpoint.ckpt"))
    if not found or cycle not in (None, *found):
        which = "" if cycle is None else f" of cycle {cycle}"
        raise RunReadError(f"{run} has no checkpoint{which}; there are those of cycles {found}")
    validated = [number for number in found if (run / f"cycles/{number}/metrics.json").exists()]
    if cycle is None and not validated:
        raise RunReadError(f"{run} has validated no network yet; name a cycle, of {found}, to take one all the same")
    taken = validated[-1] if cycle is None else cycle
    task: OccupancyTask = instantiate(config["task"], "task")
    load_checkpoint(task, run / f"cycles/{taken}/checkpoint.ckpt")
    return Trained(taken, task.eval().to("cuda" if torch.cuda.is_available() else "cpu"))
