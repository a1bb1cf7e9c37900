"""Weights of OpenMMLab's files, read without running code from them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from al_lightning.data.pickles import MAKERS
from al_lightning.integrations.mmdet3d.libraries import require
from al_lightning.types import DataFileError


@contextmanager
def plain_records_allowed() -> Iterator[None]:
    """Within it, ``torch.load(weights_only=True)`` also reads what mmengine stores beside the weights.

    These are the curves of the training (`HistoryBuffer`), NumPy arrays of numbers and NumPy scalars. Everything else
    that is no tensor or plain value is refused as ever.
    """
    require("a checkpoint of mmengine")
    from mmengine.logging import HistoryBuffer

    def statistic(owner: Any, name: str) -> Any:
        """In place of `getattr`, which such a file asks for four harmless methods, and another one for anything."""
        if owner is not HistoryBuffer or name not in ("current", "max", "mean", "min"):
            raise pickle.UnpicklingError(f"it asks for the attribute '{name}' of {owner!r}")
        return getattr(owner, name)

    kinds = {type(np.dtype(kind)) for kind in "?bhilqBHILQefd"}
    arrays = [(maker, name) for name, maker in MAKERS.items()]
    with torch.serialization.safe_globals([HistoryBuffer, (statistic, "builtins.getattr"), *arrays, *kinds]):
        yield


def initialize(module: Any) -> None:
    """Initialize a module of OpenMMLab as configured, pretrained files too.

    mmengine passes over what stands in a plain container of torch, such as CenterPoint's heads. Here these parts get
    their pretrained files, and what their `init_weights` set besides `init_cfg`: the bias of a heatmap. Their other
    weights stay those of torch, from which mmdet3d trains them, too: with `init_cfg` the loss of CenterPoint-pillar
    starts hundreds of times as high.

    Raises:
        DataFileError: a pretrained file cannot be read.
    """
    with plain_records_allowed():
        try:
            module.init_weights()
            for part in _passed_over(module):
                if not _pretrained(part):
                    part.init_cfg = None
                initialize(part)
        except (OSError, pickle.UnpicklingError) as error:
            raise DataFileError(f"cannot read the pretrained weights: {error}") from error


def _passed_over(module: nn.Module) -> Iterator[Any]:
    """What mmengine's walk does not reach; nothing below pretrained weights or a module's own `init_weights`."""
    from mmengine.model import BaseModule

    if isinstance(module, BaseModule) and (
        _pretrained(module) or type(module).init_weights is not BaseModule.init_weights
    ):
        return
    for child in module.children():
        if isinstance(child, BaseModule) and not isinstance(module, BaseModule):
            yield child
        else:
            yield from _passed_over(child)


def _pretrained(module: Any) -> bool:
    configured = module.init_cfg if isinstance(module.init_cfg, list) else [module.init_cfg or {}]
    return any(entry.get("type") == "Pretrained" for entry in configured)
