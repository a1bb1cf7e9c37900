"""The terms of a loss: added up and logged."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pytorch_lightning import LightningModule
from torch import Tensor


def logged_sum(task: LightningModule, terms: Mapping[str, Tensor], size: int) -> Tensor:
    """The loss of a training step, logged as ``train/loss``; of several terms each, too, as ``train/<term>``.

    Args:
        task: in its training step.
        terms: name -> weighted scalar.
        size: number of samples in the batch.
    """
    loss = torch.stack(list(terms.values())).sum()
    task.log("train/loss", loss, prog_bar=True, batch_size=size)
    if len(terms) > 1:
        task.log_dict({f"train/{name}": value for name, value in terms.items()}, batch_size=size)
    return loss
