"""A resolved configuration as settings: its leaves by their dotted keys, and those of them that touch no result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

SILENT = (
    "experiment",
    "description",
    "run_dir",
    "tracking",
    "gallery",
    "loader.num_workers",
    "trainer.progress_bar",
    "trainer.log_every_n_steps",
    "trainer.checkpoint_every_n_epochs",
)
"""What never touches a result, and may change while a run goes on."""

ADDED = {"trainer.compile": False}
"""Keys that runs of earlier versions lack, with the values that mean what these did."""


def settings_without(config: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """All leaves of a configuration by their dotted keys, `ADDED` filled in, but for those of some names and below."""
    names = tuple(names)
    leaves = ADDED | dict(_leaves(config, ""))
    return {key: value for key, value in leaves.items() if not is_below(key, names)}


def is_below(key: str, names: Iterable[str]) -> bool:
    """Whether a dotted key is one of some names, or below one of them."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node
