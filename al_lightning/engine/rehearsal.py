"""One sample through prediction, summary and selection, before training shows what does not fit too late."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pytorch_lightning import LightningModule

from al_lightning.acquisition import Acquisition, Summarizer
from al_lightning.types import ActiveDataset, Summary, collate


class RehearsalError(ValueError):
    """The parts of an experiment do not fit each other; the message says what failed."""


def rehearse(task: LightningModule, summarizer: Summarizer, acquisition: Acquisition, dataset: ActiveDataset) -> None:
    """Predict the first row from its sensors, summarize it as a unit and select it, on the CPU.

    Args:
        task: predicts.
        summarizer: summarizes.
        acquisition: selects the row out of a pool of its own; it also stands, twice, for the labeled set.
        dataset: all labeled: the validation set.

    Raises:
        RehearsalError: a part refuses what the part before it made.
        DataFileError: the row cannot be read.
    """
    batch = collate([dataset.sample(0, annotations=False, label_mask=summarizer.needs_label_mask)])
    try:
        with torch.no_grad():
            fields = summarizer(batch, task.eval().predict_step(batch, 0))
        alone = summarizer.group(Summary(torch.zeros(1, dtype=torch.int64), fields))
        _check_classes(alone, task, getattr(dataset, "class_names", ()))
        twice = alone.take(torch.zeros(2, dtype=torch.int64))
        labeled = summarizer.with_labels(twice, dataset.annotations)
        acquisition.rehearsal().select(alone, labeled, 1, torch.Generator().manual_seed(0))
    except (ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
        raise RehearsalError(f"the parts do not fit each other, tried on one sample: {error}") from error


def _check_classes(summary: Summary, task: LightningModule, names: Sequence[str]) -> None:
    """Refuse another number or order of classes than that of the data, whose labels would then be swapped."""
    histogram = summary.fields.get("class_histogram")
    if histogram is not None and names and histogram.shape[1] != len(names):
        raise ValueError(
            f"the network predicts {histogram.shape[1]} classes, the data set has {len(names)}: {', '.join(names)}"
        )
    for part in ("network", "metric"):
        said = tuple(getattr(getattr(task, part, None), "class_names", ()))
        if names and said != tuple(names[: len(said)]):
            raise ValueError(
                f"the {part}'s classes are {', '.join(said)}, the data set's {', '.join(names)}: they must be the same "
                "in the same order"
            )
