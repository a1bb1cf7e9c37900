"""The loop: fit, validate, predict over labeled and pool, acquire, expand, next cycle.

Every stage leaves its result in the run directory before the next one begins, and every cycle ends with one atomic
replacement of the pool file. A run that was killed and started again repeats at most the epochs since its last
checkpoint and ends with the same selections and metrics, bit for bit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from al_lightning.acquisition import Represented, Selection
from al_lightning.data import ActiveLearningDataModule
from al_lightning.engine.callback import ActiveLearningCallback
from al_lightning.engine.console import print_cycle
from al_lightning.engine.gallery import Gallery, predictor
from al_lightning.engine.oracle import LabelOracle, MissingLabelsError, check_labels
from al_lightning.engine.processes import StartedProcesses, end_if_any, write_once
from al_lightning.engine.run_directory import RunDirectory, RunDirectoryError
from al_lightning.engine.seeding import BatchSeed, derive_seed
from al_lightning.engine.tracking import CycleProgress, Tracker
from al_lightning.types import Summary

log = logging.getLogger(__name__)


class ActiveLearningLoop:
    """Runs the cycles of an experiment, from wherever its run directory stands.

    Args:
        run: the run directory.
        datamodule: labeled rows, pool and validation rows; its pool is the committed one.
        build_task: makes a task with fresh weights.
        active_learning: collects summaries and selects.
        oracle: reveals labels.
        tracker: Weights & Biases.
        build_trainer: makes a Trainer from the number of a cycle and the callbacks that the loop adds.
        cycles: number of cycles; the last one does not acquire.
        seed_size: units labeled at random before cycle 0.
        budget: units acquired after every other cycle.
        weights: ``scratch`` starts each cycle with fresh weights, ``previous`` with the last cycle's.
        seed: seed of the run.
        checkpoint_every_n_epochs: epochs between two checkpoints.
        class_names: names of the classes of a ``class_histogram`` in the summaries, for tracking; may be empty.
        gallery: keeps what a person wants to see of a few units; None to keep nothing.
    """

    def __init__(
        self,
        run: RunDirectory,
        datamodule: ActiveLearningDataModule,
        build_task: Callable[[], LightningModule],
        active_learning: ActiveLearningCallback,
        oracle: LabelOracle,
        tracker: Tracker,
        build_trainer: Callable[[int, list[Callback]], Trainer],
        *,
        cycles: int,
        seed_size: int,
        budget: int,
        weights: Literal["scratch", "previous"] = "scratch",
        seed: int = 0,
        checkpoint_every_n_epochs: int = 1,
        class_names: Sequence[str] = (),
        gallery: Gallery | None = None,
    ) -> None:
        self.run_dir, self.datamodule, self.pool = run, datamodule, datamodule.pool
        self.build_task, self.active_learning, self.oracle = build_task, active_learning, oracle
        self.tracker, self.build_trainer = tracker, build_trainer
        self.cycles, self.seed_size, self.budget = cycles, seed_size, budget
        self.weights, self.seed, self.class_names = weights, seed, tuple(class_names)
        self.checkpoint_every_n_epochs, self.gallery = checkpoint_every_n_epochs, gallery
        self._processes = StartedProcesses()

    def run(self) -> None:
        """Run all cycles that are not done yet.

        Raises:
            LabelsRequested: an external oracle was asked, and the run has to wait for its answer.
            MissingLabelsError: labels that are needed now cannot be read.
            SIGTERMException: the process was told to end.
        """
        with self._processes.end_with_this():
            self._run()

    def _run(self) -> None:
        if self.pool.cycle < 0:
            self._label_seed_set()
        else:
            check_labels(self.datamodule.train, self.pool.labeled.tolist())
        while self.pool.cycle < self.cycles - 1:
            metrics = self._train_and_report(self.pool.cycle, last=False)
            self._acquire(self.pool.cycle, metrics)
        metrics = self._train_and_report(self.pool.cycle, last=True)
        write_once(print_cycle, metrics, self.cycles, [])

    def _label_seed_set(self) -> None:
        drawn = self.pool.draw(self.seed_size, np.random.default_rng(derive_seed("seed set", self.seed))).tolist()
        units = self._requested("seed", self.seed_size) or drawn
        try:
            check_labels(self.datamodule.train, units)
        except MissingLabelsError:
            self.oracle.reveal("seed", units, [{} for _ in units])
        self._commit(units)

    def _requested(self, name: str, count: int) -> list[int] | None:
        """The units that annotators were asked for, which stand whatever is selected now: their labels are paid for.

        Raises:
            RunDirectoryError: these cannot be the ones that were asked for.
        """
        units = self.oracle.requested(name)
        if units is None:
            return None
        if not len(units) == len(set(units)) == count or (self.pool.acquired_at[units] >= 0).any():
            raise RunDirectoryError(f"{self.run_dir.request(name)} must ask for {count} unlabeled units, each once")
        return units

    def _commit(self, units: Sequence[int]) -> None:
        self.datamodule.expand(units)
        write_once(self.run_dir.write_pool, self.pool)

    # --- fit, validate, predict ---------------------------------------------------------------------------------------

    def _train_and_report(self, cycle: int, *, last: bool) -> dict[str, float]:
        """Fit, validate and (unless it is the last cycle) predict, each only if its result is not there yet."""
        metrics = self.run_dir.read_metrics(cycle)
        predict = not last and self.run_dir.read_summaries(cycle) is None
        if metrics is not None:
            write_once(self.run_dir.write_metrics_table, cycle)
        if metrics is None or predict:
            task, trainer = self._fit(cycle)
            if metrics is None:
                metrics = self._validate(cycle, trainer, task)
                write_once(self.run_dir.write_metrics, cycle, metrics)
                end_if_any(trainer, trainer.received_sigterm)
            if predict:
                trainer.predict(task, datamodule=self.datamodule, return_predictions=False)
                write_once(self.run_dir.write_summaries, cycle, self.active_learning.summary)
                end_if_any(trainer, trainer.received_sigterm)
        write_once(self.tracker.cycle, metrics)
        return metrics

    def _fit(self, cycle: int) -> tuple[LightningModule, Trainer]:
        checkpoint = self.run_dir.checkpoint(cycle)
        resume = checkpoint.exists()
        torch.manual_seed(derive_seed("weights", self.seed, cycle))
        task = self.build_task()
        if self.weights == "previous" and cycle > 0:
            self._load(task, cycle - 1)
        saver = ModelCheckpoint(
            dirpath=checkpoint.parent,
            filename=checkpoint.stem,
            every_n_epochs=self.checkpoint_every_n_epochs,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        callbacks = [BatchSeed(self.seed, cycle), CycleProgress(cycle), saver, self.active_learning]
        trainer = self.build_trainer(cycle, callbacks)
        self._processes.share(trainer)
        if resume:
            log.info("cycle %d goes on from %s", cycle, checkpoint)
        trainer.fit(task, datamodule=self.datamodule, ckpt_path=str(checkpoint) if resume else None, weights_only=True)
        if trainer.current_epoch % self.checkpoint_every_n_epochs:
            trainer.save_checkpoint(checkpoint, weights_only=False)  # all processes take part
        end_if_any(trainer, trainer.received_sigterm)
        return task, trainer

    def _load(self, task: LightningModule, cycle: int) -> None:
        """Give a task the weights of a cycle."""
        path = self.run_dir.checkpoint(cycle)
        if not path.exists():
            raise RunDirectoryError(
                f"{path} is missing, where what comes next starts: restore it, or start another run"
            )
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        task.load_state_dict(checkpoint["state_dict"])

    def _trained(self, cycle: int) -> LightningModule:
        task = self.build_task()
        self._load(task, cycle)
        return task

    def _validate(self, cycle: int, trainer: Trainer, task: LightningModule) -> dict[str, float]:
        trainer.validate(task, datamodule=self.datamodule, verbose=False)
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        values = {name: found[name] for name in sorted(found, key=lambda name: "/" in name)}  # headline numbers first
        for name, value in values.items():
            if not np.isfinite(value):
                raise RuntimeError(f"validation of cycle {cycle} gave {name} = {value}; nothing was written for it")
        labeled, acquired = len(self.pool.labeled), self.pool.acquired_at == cycle
        subsets = self.datamodule.train.subsets.items()
        counts = {f"acquired/{name}": int((acquired & members).sum()) for name, members in subsets}
        return {"cycle": cycle, "labeled": labeled, "share": labeled / len(self.pool.units), **values, **counts}

    # --- acquire ------------------------------------------------------------------------------------------------------

    def _acquire(self, cycle: int, metrics: Mapping[str, float]) -> None:
        summary = self.run_dir.read_summaries(cycle)
        assert summary is not None
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(derive_seed("acquisition", self.seed, cycle))
        selection = self.active_learning.select(summary, self.pool, self.budget, generator)
        log.info(
            "selected %d of %d units in %.1f s", self.budget, len(self.pool.unlabeled), time.perf_counter() - start
        )
        rows, name = self._selection_rows(selection), f"cycle_{cycle}"
        requested = self._requested(name, self.budget)
        if requested is None:  # else what is written is about what was asked for
            self._write_selection(cycle, selection, summary, rows, metrics["labeled"])
        units = requested or selection.units.tolist()
        write_once(print_cycle, metrics, self.cycles, [self.pool.units[unit] for unit in units])
        self.oracle.reveal(name, units, rows)
        write_once(self._fill_gallery, cycle, summary, selection, units)
        self._commit(units)

    def _write_selection(
        self, cycle: int, selection: Selection, summary: Summary, rows: Sequence[Mapping[str, Any]], labeled: float
    ) -> None:
        if selection.curves:
            write_once(self.run_dir.write_representation, cycle, selection.curves, selection.metrics)
            write_once(self.tracker.representation, cycle, labeled, selection.metrics, selection.curves)
        if selection.represented is not None:
            write_once(self.run_dir.write_embeddings, cycle, _learned(selection.represented, summary))
        write_once(self.run_dir.write_scores, cycle, self._score_columns(selection))
        write_once(self.run_dir.write_selection, cycle, rows)
        write_once(self.tracker.selection, cycle, rows, self._class_share(summary, selection.units))

    def _fill_gallery(self, cycle: int, summary: Summary, selection: Selection, units: Sequence[int]) -> None:
        """Keep what a person wants to see. Whatever is wrong with pictures, the run goes on."""
        if set(units) != set(selection.units.tolist()):
            log.warning(
                "cycle %d: now another selection was found than the one whose labels were asked for, as on another "
                "machine or with other versions of libraries; what was asked for stands, and there is no gallery",
                cycle,
            )
            return
        if self.gallery is None or self.run_dir.cycle(cycle, "gallery.npz").exists():
            return
        start = time.perf_counter()
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                predict = predictor(lambda: self._trained(cycle), lambda: self.build_trainer(cycle, []))
                arrays = self.gallery.collect(summary, self.pool.unlabeled, selection, predict)
            self.run_dir.write_gallery(cycle, arrays)
        except Exception:
            log.warning("cycle %d: its gallery could not be made; the run goes on without it", cycle, exc_info=True)
        else:
            log.info("gallery of cycle %d in %.1f s", cycle, time.perf_counter() - start)

    def _score_columns(self, selection: Selection) -> dict[str, Any]:
        """Scores of every candidate as columns, in the order of the unit numbers."""
        columns: dict[str, Any] = {"unit": [self.pool.units[unit] for unit in self.pool.unlabeled]}
        columns |= {name: values.numpy() for name, values in selection.scores.items()}
        return columns | {"pick": selection.step.numpy()}

    def _selection_rows(self, selection: Selection) -> list[dict[str, Any]]:
        """The selected units in pick order with their scores at the step of their selection."""
        position = {int(unit): index for index, unit in enumerate(self.pool.unlabeled)}
        return [
            {"pick": pick, "unit": self.pool.units[unit]}
            | {name: float(values[position[unit]]) for name, values in selection.scores.items()}
            for pick, unit in enumerate(selection.units.tolist())
        ]

    def _class_share(self, summary: Summary, units: torch.Tensor) -> dict[str, float] | None:
        """Mean predicted share of every class over the selected units, where the summaries hold class histograms."""
        if "class_histogram" not in summary.fields or not self.class_names:
            return None
        share = summary["class_histogram"][torch.isin(summary.units, units)].double().mean(dim=0)
        return dict(zip(self.class_names, share.tolist(), strict=True))


def _learned(represented: Represented, summary: Summary) -> dict[str, NDArray[Any]]:
    """The vectors and numbers of units that are not in their summaries: ``pool_<field>`` and ``labeled_<field>``."""
    arrays = {}
    for part in ("pool", "labeled"):
        units: Summary = getattr(represented, part)
        arrays[f"{part}_units"] = units.units.numpy()
        new = {name: values for name, values in units.fields.items() if name not in summary.fields}
        arrays |= {f"{part}_{name}": values.numpy() for name, values in new.items() if values.dim() <= 2}
    return arrays
