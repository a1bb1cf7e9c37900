"""What a person wants to see of a few selected and rejected units: pictures, predictions and, once acquired, truth.

It is made beside the selection and never read by it. Labels are read of the units that were selected, after the oracle
has revealed them, and of no other.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities import move_data_to_device
from torch import Tensor

from al_lightning.acquisition import Portrayer, Selection, Summarizer
from al_lightning.data.pictures import montage, pictures_on_disk
from al_lightning.types import ActiveDataset, Batch, Summary, collate

log = logging.getLogger(__name__)

SELECTED, RUNNER_UP, LOWEST = "selected", "runner-up", "lowest"

Arrays = dict[str, NDArray[Any]]


class Exhibit(NamedTuple):
    """A unit to show.

    Attributes:
        position: among the candidates.
        kind: `SELECTED`; `RUNNER_UP`, the best of those not selected; `LOWEST`.
    """

    position: int
    kind: str


def choose(score: Tensor, step: Tensor, selected: int, rejected: int) -> list[Exhibit]:
    """The first picks, then of the rest as many of the best as of the worst (one more of the best).

    Args:
        score: (N,) of the candidates.
        step: (N,) pick number; -1 where not picked.
        selected: number of picks to show, at most.
        rejected: number of others to show, at most.
    """
    picks = torch.argsort(step)[int((step < 0).sum()) :].tolist()
    rest = [int(position) for position in score.argsort(descending=True, stable=True) if step[position] < 0]
    best = min(len(rest), rejected - rejected // 2)
    worst = min(len(rest) - best, rejected // 2)
    return [
        *(Exhibit(position, SELECTED) for position in picks[:selected]),
        *(Exhibit(position, RUNNER_UP) for position in rest[:best]),
        *(Exhibit(position, LOWEST) for position in rest[len(rest) - worst :]),
    ]


class Gallery:
    """Gathers the evidence of a cycle.

    Args:
        dataset: holds the units; where it is a `PicturedDataset`, its pictures are kept, small. Its ``class_names`` and
            ``free_class``, the class of empty voxels, are noted if there are such.
        summarizer: where it is a `Portrayer`, its portraits are kept.
        selected: number of selected units.
        rejected: number of units that were not selected.
    """

    def __init__(self, dataset: ActiveDataset, summarizer: Summarizer, selected: int = 4, rejected: int = 4) -> None:
        self.dataset, self.summarizer = dataset, summarizer
        self.selected, self.rejected = selected, rejected

    def collect(
        self, summary: Summary, candidates: NDArray[np.int64], selection: Selection, predict: Callable[[Any], Any]
    ) -> Arrays:
        """Arrays of a gallery: ``index``, the JSON that lists the units, and ``<place>/<name>`` for what each shows.

        Args:
            summary: of all units.
            candidates: (N,) numbers of the units that could be selected, ascending.
            selection: what was selected of them; their labels have been revealed.
            predict: predicts a batch; its prediction lies on the CPU.
        """
        arrays: Arrays = {}
        entries = []
        for place, exhibit in enumerate(
            choose(selection.scores["score"], selection.step, self.selected, self.rejected)
        ):
            unit = int(candidates[exhibit.position])
            shown, entry = self._show(summary.take((summary.units == unit).nonzero()[:, 0]), exhibit, predict)
            entries.append({"unit": self.dataset.units[unit], "kind": exhibit.kind, **entry})
            arrays |= {f"{place}/{name}": values for name, values in shown.items()}
        names = getattr(self.dataset, "class_names", None)
        free = getattr(self.dataset, "free_class", getattr(self.summarizer, "free_class", None))
        index = {"units": entries, "class_names": None if names is None else list(names), "free_class": free}
        return {"index": np.array(json.dumps(index)), **arrays}

    def _show(self, unit: Summary, exhibit: Exhibit, predict: Callable[[Any], Any]) -> tuple[Arrays, dict[str, Any]]:
        rows = np.flatnonzero(self.dataset.unit_of == int(unit.units)).tolist()
        portrayer = self.summarizer if isinstance(self.summarizer, Portrayer) else None
        row = portrayer.portrayed_row(unit, rows) if portrayer else rows[0]
        shown: dict[str, Tensor] = {}
        if portrayer:
            batch = self._batch(row)
            shown |= portrayer.portrait(unit, batch, lambda: predict(batch))
            if exhibit.kind == SELECTED:
                shown |= portrayer.true_portrait(unit, self.dataset.annotations(row))
        arrays: Arrays = {name: values.numpy() for name, values in shown.items()}
        pictures = pictures_on_disk(self.dataset, row)
        if pictures:
            arrays["montage"] = np.frombuffer(montage(list(pictures.values())), dtype=np.uint8)
        return arrays, {"row": row, "keyframe": rows.index(row), "keyframes": len(rows), "cameras": list(pictures)}

    def _batch(self, row: int) -> Batch[Any, Any]:
        return collate([self.dataset.sample(row, annotations=False, label_mask=self.summarizer.needs_label_mask)])


def predictor(build_task: Callable[[], LightningModule], build_trainer: Callable[[], Trainer]) -> Callable[[Any], Any]:
    """Predicts batches where the Trainer would; predictions come back to the CPU.

    Args:
        build_task: makes the task when the first batch comes.
        build_trainer: makes the Trainer whose device is used.
    """

    @cache
    def task() -> LightningModule:
        return build_task().eval().to(build_trainer().strategy.root_device)

    def predict(batch: Any) -> Any:
        prediction = task().predict_step(move_data_to_device(batch, task().device), 0)
        return move_data_to_device(prediction, torch.device("cpu"))

    return predict
