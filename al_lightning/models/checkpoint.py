"""Load official and own weights, or say exactly why not."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from al_lightning.types import DataFileError


def load_backbone(backbone: nn.Module, path: str | Path) -> None:
    """Copy the trunk of torchvision's ResNet, trained on ImageNet, into a backbone; its classifier ``fc`` is left out.

    Raises:
        DataFileError: see `load_checkpoint`.
        ValueError: keys or shapes differ otherwise.
    """
    load_checkpoint(backbone, path, without=("fc.weight", "fc.bias"))


def load_checkpoint(
    model: nn.Module, path: str | Path, strict: bool = True, prefix: str = "", without: Sequence[str] = ()
) -> None:
    """Copy the weights of a file into a model.

    The file holds a state dict, plain or under ``state_dict`` (official checkpoints; their EMA files too, beside
    ``epoch`` and ``updates``). A prefix ``module.`` is stripped if every key has it (`DataParallel`). The numbers of
    batches seen (``num_batches_tracked``), which old files do not have, may be missing.

    Args:
        model: what to load into; pass a part, such as ``model.img_backbone``, to load ImageNet weights.
        path: the file; read without running code from it (``weights_only``).
        strict: every key must be there with its shape, and no other. Otherwise what fits is loaded, and a warning lists
            the rest.
        prefix: what the keys of this model begin with in the file, such as ``backbone.`` in a file of a classifier; all
            others are passed over.
        without: keys of the file, behind the prefix, that are passed over.

    Raises:
        DataFileError: the file is missing, unreadable or holds no state dict.
        ValueError: keys or shapes differ (strict), or nothing fits.
    """
    content = _read_state(Path(path))
    state = {key.removeprefix(prefix): value for key, value in content.items() if key.startswith(prefix)}
    state = {key: value for key, value in state.items() if key not in without}
    own = model.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    misshaped = [key for key in own if key in state and own[key].shape != state[key].shape]
    shapes = [f"{key} {tuple(state[key].shape)}, needs {tuple(own[key].shape)}" for key in misshaped]
    problems = [("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)]
    report = "; ".join(f"{len(keys)} {kind}: {_abbreviate(keys)}" for kind, keys in problems if keys)
    fitting = {key: state[key] for key in own if key in state and key not in set(misshaped)}
    if not fitting:
        raise ValueError(f"nothing in checkpoint {path} fits the model: {report}")
    if report and strict:
        raise ValueError(f"checkpoint {path} does not fit the model: {report}")
    model.load_state_dict(fitting, strict=False)
    if report:
        warnings.warn(f"checkpoint {path} was loaded in part: {report}", stacklevel=2)


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise DataFileError(f"cannot read checkpoint {path}: {error}") from error
    if isinstance(content, Mapping) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content or not all(map(_is_entry, content.items())):
        raise DataFileError(f"checkpoint {path} holds no state dict (names to tensors), plain or under 'state_dict'")
    if all(key.startswith("module.") for key in content):
        return {key.removeprefix("module."): value for key, value in content.items()}
    return dict(content)


def _is_entry(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _abbreviate(items: Sequence[str], limit: int = 10) -> str:
    more = len(items) - limit
    return ", ".join(items[:limit]) + (f", and {more} more" if more > 0 else "")
