"""The composition root: the one place where the parts are wired together."""

from __future__ import annotations

import logging
import math
import signal
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import (  # type: ignore[attr-defined]
    MisconfigurationException,
    SIGTERMException,
)
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table

from al_lightning.acquisition import Acquisition, Summarizer
from al_lightning.config import (
    ConfigError,
    ExperimentConfig,
    Oracle,
    compose,
    describe_keys,
    differing_keys,
    instantiate,
    load,
    options,
    shipped_configs,
)
from al_lightning.data import ActiveLearningDataModule, LabelPool
from al_lightning.engine import (
    ActiveLearningCallback,
    ActiveLearningLoop,
    AtomicCheckpointIO,
    DatasetOracle,
    Devices,
    ExternalOracle,
    Gallery,
    LabelsRequested,
    MissingLabelsError,
    RehearsalError,
    RunDirectory,
    RunDirectoryError,
    Tracker,
    cluster_environment,
    rehearse,
)
from al_lightning.engine.console import console
from al_lightning.engine.memory import keep_freed_memory
from al_lightning.engine.reuse import result_settings
from al_lightning.report import learning_curve, write_run_report
from al_lightning.simulation.claim import GenerationError
from al_lightning.tasks import compile_network, network_to_compile
from al_lightning.types import ActiveDataset, DataFileError

log = logging.getLogger(__name__)

KINDS = {
    "data": ActiveDataset,
    "task": LightningModule,
    "summarizer": Summarizer,
    "acquisition": Acquisition,
    "callbacks": Callback,
}

USAGE = """[bold]python train.py experiment=NAME key=value ...[/bold]   (where it is installed: python -m al_lightning)

Runs an active-learning experiment, by default on a simulated world that is generated first.
The same command on an existing run directory resumes it.
A word like acquisition=random takes configs/acquisition/random.yaml; dots lead into sections and components:
loop.budget=10 acquisition.weights.intra=0 task.lr=1e-4. Options: --help, --print-config.
"""


def main(arguments: Sequence[str], config_dir: Path | None = None) -> int:
    """Run the command line.

    Args:
        arguments: words after the program's name.
        config_dir: folder of the configuration files; None for those that come with the package.

    Returns:
        Exit status: 0 done (or waiting for an external oracle), 1 failed, 2 wrong use or configuration, 130 and 143
        stopped by SIGINT and SIGTERM.
    """
    logging.basicConfig(level="INFO", format="%(message)s", handlers=[RichHandler(console=console, show_path=False)])
    words = [word for word in arguments if word != "--print-config"]
    try:
        config_dir = config_dir or shipped_configs()
        if {"--help", "-h"} & set(arguments):
            print_help(config_dir)
            return 0
        config, resolved = compose(config_dir, words, KINDS)
        if "--print-config" in arguments:
            print(yaml.safe_dump(resolved, sort_keys=False), end="")
            return 0
        run(config, resolved)
    except LabelsRequested as request:
        console.print(escape(str(request)))
    except (ConfigError, RehearsalError) as error:
        console.print(f"[red]configuration:[/red] {escape(str(error))}")
        return 2
    except (RunDirectoryError, MissingLabelsError, DataFileError, GenerationError) as error:
        console.print(f"[red]error:[/red] {escape(str(error))}")
        return 1
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, SIGTERMException):  # a SystemExit that would say all went well
            console.print("terminated; the same command goes on from here")
            return 128 + signal.SIGTERM
        if not isinstance(stop.__context__ or stop, KeyboardInterrupt):  # the Trainer turns it into a SystemExit
            raise
        console.print("interrupted; the same command goes on from here")
        return 128 + signal.SIGINT
    return 0


def run(config: ExperimentConfig, resolved: dict[str, Any]) -> None:
    """Run an experiment from where its run directory stands.

    Raises:
        ConfigError: a component refuses its arguments, the pool is too small, or the run has another configuration.
        RunDirectoryError: the run directory is in use, holds something else or cannot be written.
        LabelsRequested: an external oracle was asked.
        MissingLabelsError: labels that are needed cannot be read.
        DataFileError: a data file is missing or broken.
    """
    _quiet()
    directory = RunDirectory(Path(config.run_dir))
    main_process = rank_zero_only.rank == 0  # type: ignore[attr-defined]  # from RANK, LOCAL_RANK, SLURM_PROCID, ...
    with directory.lock() if main_process else nullcontext():
        if main_process:
            _check_same_run(directory, resolved)
        task, summarizer, acquisition, devices = _build_parts(config, resolved)
        if devices.kind == "cpu":
            keep_freed_memory()
        if resolved["prepare"]:
            instantiate(resolved["prepare"], "prepare")
        train, val = (instantiate(resolved["data"], "data", split=split) for split in ("train", "val"))
        _check_sizes(config, len(train.units))
        _check_batches(config, task, train, devices)
        pool = directory.read_pool(train.units) or LabelPool(train.units)
        if pool.cycle == config.loop.cycles - 1 and directory.read_metrics(pool.cycle) is not None:
            _finish(directory, pool.cycle, "finished before", main_process)
            return
        rehearse(task, summarizer, acquisition, val)
        if main_process:
            _check_same_devices(directory, devices)
            directory.write_config(resolved)  # first: what makes a directory that of a run
            directory.write_devices(devices)
            directory.write_rows(dict(zip(train.units, np.bincount(train.unit_of).tolist(), strict=True)))
            _say_batch(config, devices)
        datamodule = ActiveLearningDataModule(
            train,
            val,
            pool,
            batch_size=config.loader.batch_size,
            predict_batch_size=config.loader.predict_batch_size,
            samples_per_epoch=config.loader.samples_per_epoch,
            num_workers=config.loader.num_workers,
            seed=config.seed,
            label_mask=summarizer.needs_label_mask,
            past_frames=config.loader.past_frames,
        )
        tracker = _tracker(config, resolved, directory.root)
        loop = ActiveLearningLoop(
            directory,
            datamodule,
            lambda: _new_task(config, resolved),
            ActiveLearningCallback(summarizer, acquisition, train),
            DatasetOracle(train) if config.oracle is Oracle.dataset else ExternalOracle(train, directory),
            tracker,
            lambda cycle, callbacks: _trainer(config, tracker.logger, callbacks + _callbacks(resolved), cycle),
            cycles=config.loop.cycles,
            seed_size=config.loop.seed_size,
            budget=config.loop.budget,
            weights=config.loop.weights.value,
            seed=config.seed,
            checkpoint_every_n_epochs=config.trainer.checkpoint_every_n_epochs,
            class_names=getattr(train, "class_names", ()),
            gallery=Gallery(train, summarizer, config.gallery.selected, config.gallery.rejected),
        )
        try:
            loop.run()
        except LabelsRequested:
            tracker.finish()
            if main_process and directory.read_metrics(0) is not None:
                _report(directory)
            raise
        except BaseException:
            tracker.finish(exit_code=1)
            raise
        tracker.finish()
        _finish(directory, pool.cycle, "finished", main_process)


def _finish(directory: RunDirectory, last: int, word: str, main_process: bool) -> None:
    """Draw the learning curve, write the report, and say where the results are."""
    if main_process:
        directory.write_metrics_table(last)  # a run killed after its last metrics may lack their row
        directory.write_curve(learning_curve(directory.read_metrics_table(last)))
        console.print(escape(f"{word}: {directory.root / 'metrics.csv'}, {directory.root / 'curve.svg'}"))
        _report(directory)


def _report(directory: RunDirectory) -> None:
    """Write the report; all results are saved, whatever happens here."""
    try:
        console.print(escape(f"report: {write_run_report(directory.root)}"))
    except Exception:
        command = f"python -m al_lightning.report {directory.root}"
        log.warning("the report could not be written; try again by: %s", command, exc_info=True)


def _callbacks(resolved: dict[str, Any]) -> list[Callback]:
    """Fresh callbacks of the configuration."""
    return [instantiate(node, f"callbacks.{name}") for name, node in resolved["callbacks"].items()]


def _build_parts(
    config: ExperimentConfig, resolved: dict[str, Any]
) -> tuple[LightningModule, Summarizer, Acquisition, Devices]:
    """Build what needs no data, and a Trainer for trial, so that a wrong value shows before any are read."""
    task, summarizer, acquisition = (
        instantiate(resolved[name], name) for name in ("task", "summarizer", "acquisition")
    )
    if config.trainer.compile:
        try:
            network_to_compile(task)
        except TypeError as error:
            raise ConfigError(f"trainer.compile: {error}") from error
    try:
        devices = Devices.of(_trainer(config, None, _callbacks(resolved)))
    except (ValueError, TypeError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {error}") from error
    if config.oracle is Oracle.external and summarizer.needs_label_mask:
        raise ConfigError(
            "'oracle=external' has no label files to read a visibility mask from before they are asked for: "
            "choose another summarizer.visibility"
        )
    return task, summarizer, acquisition, devices


def _new_task(config: ExperimentConfig, resolved: dict[str, Any]) -> LightningModule:
    """A task with fresh weights."""
    task: LightningModule = instantiate(resolved["task"], "task")
    if config.trainer.compile:
        compile_network(task)
    return task


def _check_same_run(directory: RunDirectory, resolved: dict[str, Any]) -> None:
    """Refuse to go on with another configuration, unless nothing is earned or it is that of the same results."""
    old = directory.read_config()
    if old is None:
        return
    differing = differing_keys(result_settings(old), result_settings(resolved))
    if differing and not directory.earned:
        log.warning("%s has earned nothing yet and starts anew with another configuration", directory.root)
        directory.forget()
    elif differing:
        raise ConfigError(
            f"{directory.root} holds a run with another configuration; choose another run_dir, or undo:\n  "
            + "\n  ".join(differing)
        )


def _check_same_devices(directory: RunDirectory, devices: Devices) -> None:
    """Refuse to go on over other devices than those that the run was begun on."""
    begun = directory.read_devices()
    if directory.earned and begun not in (None, devices):
        raise ConfigError(
            f"{directory.root} was begun with {begun}, and this would go on with {devices}: the split of the batches "
            "is part of the result; set trainer.devices and trainer.accelerator as before, or choose another run_dir"
        )


def _say_batch(config: ExperimentConfig, devices: Devices) -> None:
    """Say how many samples an optimizer step sees: with ``devices: auto``, the machine has a say in it."""
    size, batches = config.loader.batch_size, config.trainer.accumulate_grad_batches
    samples = size * devices.processes * batches
    log.info("%s, %d samples to an optimizer step: %d x %d x %d batches", devices, samples, size, devices.processes,
             batches)  # fmt: skip


def _check_sizes(config: ExperimentConfig, units: int) -> None:
    """Refuse a seed set or budgets that the pool cannot fill."""
    loop = config.loop
    if loop.seed_size > units:
        raise ConfigError(f"'loop.seed_size' is {loop.seed_size}, but the dataset has only {units} units to label")
    wanted = loop.seed_size + loop.budget * (loop.cycles - 1)
    if wanted > units:
        raise ConfigError(
            f"'loop.budget' is too large: {loop.seed_size} + {loop.budget} x {loop.cycles - 1} cycles = {wanted}, but "
            f"the dataset has only {units}; lower loop.budget or loop.cycles"
        )


def _check_batches(config: ExperimentConfig, task: LightningModule, train: ActiveDataset, devices: Devices) -> None:
    """Refuse sizes at which an epoch, in this cycle or a later one, ends with a batch too small for the norms."""
    least = getattr(getattr(task, "network", None), "least_images", 1)
    rows = np.unique(np.bincount(train.unit_of))
    if (
        least == 1
        or (len(rows) > 1 and not config.loader.samples_per_epoch)
        or (config.trainer.sync_batchnorm and devices.processes > 1)
    ):
        return
    cameras = len(train.sample(0, annotations=False).inputs.images)
    others = "loader.samples_per_epoch" if config.loader.samples_per_epoch else "loop.seed_size or loop.budget"
    for cycle in range(config.loop.cycles):
        units = config.loop.seed_size + cycle * config.loop.budget
        share = math.ceil((config.loader.samples_per_epoch or units * int(rows[0])) / devices.processes)
        last = share % config.loader.batch_size or config.loader.batch_size
        if last * cameras < least:
            raise ConfigError(
                f"in cycle {cycle} the last batch of {share} samples, {config.loader.batch_size} to a batch, would be "
                f"{last}, and this network's norms need {least} images in training: change loader.batch_size, "
                f"{others}, "
                "or train with several processes and trainer.sync_batchnorm=true"
            )


def _tracker(config: ExperimentConfig, resolved: dict[str, Any], root: Path) -> Tracker:
    tracking = config.tracking
    return Tracker(
        root,
        tracking.mode.value,
        resolved,
        project=tracking.project,
        entity=tracking.entity,
        group=tracking.group,
        name=str(root),
        timeout=tracking.timeout,
    )


def _trainer(config: ExperimentConfig, logger: Logger | None, callbacks: list[Callback], cycle: int = 0) -> Trainer:
    options = config.trainer
    epochs = options.max_epochs if cycle == 0 or options.later_epochs is None else options.later_epochs
    bars = [RichProgressBar()] if options.progress_bar else []
    environment = cluster_environment()
    return Trainer(
        # Not run_dir: under SLURM, Lightning would load a hpc_ckpt_*.ckpt that an earlier job left there.
        default_root_dir=Path(config.run_dir, "cycles"),
        max_epochs=epochs,
        accelerator=options.accelerator,
        devices=options.devices,
        strategy=options.strategy,
        precision=options.precision,  # type: ignore[arg-type]  # a plain string here, checked by Lightning
        gradient_clip_val=options.gradient_clip_val,
        accumulate_grad_batches=options.accumulate_grad_batches,
        sync_batchnorm=options.sync_batchnorm,
        log_every_n_steps=options.log_every_n_steps,
        deterministic=options.deterministic,
        enable_progress_bar=options.progress_bar,
        enable_model_summary=False,
        logger=logger or False,
        callbacks=[*callbacks, *bars],
        plugins=[AtomicCheckpointIO(), *([environment] if environment else [])],
        num_sanity_val_steps=1,
        check_val_every_n_epoch=epochs + 1,  # validation is a stage of its own
        reload_dataloaders_every_n_epochs=1,
    )


def _quiet() -> None:
    """Silence what Lightning says in every cycle and what cannot be acted on here."""
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*recommended to use `self.log.*sync_dist=True.*")  # metrics do sync
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")  # Lightning with torch 2.13
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")


def print_help(config_dir: Path) -> None:
    """Print how to use it: experiments, groups of files, and all typed keys with defaults."""
    console.print(USAGE)
    experiments = Table("experiment", "what it does", title="Experiments", title_justify="left")
    for name in options(config_dir, "experiment"):
        experiments.add_row(name, load(config_dir, "experiment", name).get("description", ""))
    console.print(experiments)
    groups = Table("group", "files", title="Groups", title_justify="left")
    for folder in sorted(path.name for path in config_dir.iterdir() if path.is_dir() and path.name != "experiment"):
        groups.add_row(folder, ", ".join(options(config_dir, folder)))
    console.print(groups)
    keys = Table("key", "default", "meaning", title="Keys", title_justify="left")
    for key, default, text in describe_keys():
        keys.add_row(escape(key), escape(default), escape(text))
    console.print(keys)
    console.print(
        "Components (data, task, ...) are shown by: python train.py experiment=NAME data.root=. --print-config"
    )
