"""W&B sweep files: read, checked against W&B's own schema, and turned into the words that `wandb agent` runs."""

from __future__ import annotations

import random
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from al_lightning.engine.seeding import derive_seed

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Valid config keys have changed")  # sweeps 0.3 with pydantic 2
    from sweeps.config import schema_violations_from_proposed_config
    from sweeps.run import SweepRun, next_runs

WORDS = "${args_no_hyphens}"
ALL = 1_000_000
"""More runs than any grid has: W&B's engine stops at the end of the grid."""

Parameters = dict[str, dict[str, Any]]
"""What a run is given, as W&B writes it: name -> {"value": value}."""


class SweepFileError(ValueError):
    """A sweep file cannot be walked; the message says why."""


@dataclass(frozen=True)
class Sweep:
    """A sweep file.

    Attributes:
        path: the file.
        config: its content.
    """

    path: Path
    config: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Sweep:
        """Read and check a file.

        Raises:
            SweepFileError: it cannot be read, W&B refuses it, or it needs a server.
        """
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise SweepFileError(f"{path}: {error}") from error
        if not isinstance(config, dict):
            raise SweepFileError(f"{path} must hold a mapping of keys to values")
        sweep = cls(path, config)
        if problems := [*schema_violations_from_proposed_config(config), *sweep._unwalkable()]:
            raise SweepFileError(f"{path}: " + "; ".join(problems))
        return sweep

    def _unwalkable(self) -> list[str]:
        """What W&B accepts and this package does not."""
        problems = []
        command = self.config.get("command")
        if not isinstance(command, list) or command.count(WORDS) != 1 or "train.py" not in map(_file_name, command):
            problems.append(f"command must be a list of words with train.py and {WORDS}")
        if self.config.get("early_terminate"):
            problems.append("early_terminate needs W&B's server")
        if self.config.get("method") == "custom":
            problems.append("method: custom needs W&B's server")
        for name, parameter in self.config.get("parameters", {}).items():
            if "parameters" in parameter:
                problems.append(f"write nested parameters with dots, as '{name}.<name>'")
        return problems

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def is_grid(self) -> bool:
        """Whether the runs are all known beforehand."""
        return bool(self.config["method"] == "grid")

    @property
    def cap(self) -> int | None:
        """The largest number of runs that the file asks for."""
        cap: int | None = self.config.get("run_cap")
        return cap

    def grid(self) -> list[Parameters]:
        """All runs of a grid, in the order in which W&B's server hands them out."""
        return [run.config for run in next_runs(self.config, [], n=ALL) if run is not None][: self.cap]

    def suggest(self, before: Sequence[tuple[Parameters, str, Mapping[str, float]]]) -> Parameters:
        """The next run of a random or Bayesian search; the same for the same runs before.

        Args:
            before: of each run so far its parameters, its state (pending, running, finished or failed) and, if it is
                finished, its metrics.
        """
        runs = [
            SweepRun(config=parameters, state=state, summary_metrics=dict(metrics))
            for parameters, state, metrics in before
        ]
        seed = derive_seed("sweep", self.name, len(before))
        random.seed(seed)  # W&B's engine draws from both global streams
        np.random.seed(seed % 2**32)  # noqa: NPY002
        suggested = next_runs(self.config, runs)[0]
        assert suggested is not None
        config: Parameters = suggested.config
        return config

    def command(self, words: Sequence[str]) -> list[str]:
        """The command line of a run; a leading ``python`` is this one."""
        command = [word for part in self.config["command"] for word in (words if part == WORDS else [str(part)])]
        return [sys.executable if command[0] in ("python", "python3") else command[0], *command[1:]]

    @property
    def program(self) -> Path:
        """Where the file says that ``train.py`` is."""
        return next(Path(part) for part in self.config["command"] if _file_name(part) == "train.py")

    def run_name(self, parameters: Parameters) -> str:
        """A name for a run's directory: the values of what the sweep varies, such as ``acquisition-cas_seed-0``."""
        varied = [name for name, entry in self.config["parameters"].items() if "value" not in entry]
        texts = [f"{name.rpartition('.')[2]}-{parameters[name]['value']}" for name in varied]
        return "_".join(re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-") for text in texts)


def words_of(parameters: Parameters) -> list[str]:
    """``name=value`` words, as ``${args_no_hyphens}`` writes them, but for ``null``, which that writes as ``None``."""
    return [f"{name}={'null' if entry['value'] is None else entry['value']}" for name, entry in parameters.items()]


def _file_name(word: object) -> str:
    return Path(str(word)).name
