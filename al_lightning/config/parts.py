"""Composition of a few components without an experiment around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from al_lightning.config.components import check_component
from al_lightning.config.compose import check_present, read_mapping, readable
from al_lightning.config.overrides import override, split_words


def compose_parts(
    file: Path, slot: str, arguments: Sequence[str], others: Mapping[str, Any], kinds: Mapping[str, Any]
) -> dict[str, Any]:
    """Compose and check the component of a file, and others that it may refer to.

    Args:
        file: such as ``configs/acquisition/cas.yaml``.
        slot: what the component is in an experiment, such as ``acquisition``: the first word of its keys.
        arguments: ``key=value`` words, as `compose` takes them.
        others: slot -> component, such as ``summarizer``.
        kinds: slot -> the type that its component must be.

    Returns:
        slot -> resolved plain component.

    Raises:
        ConfigError: anything is unknown, missing or of a wrong type.
    """
    root = OmegaConf.create({slot: read_mapping(file), **others})
    assert isinstance(root, DictConfig)
    try:
        override(root, split_words(arguments))
        resolved = OmegaConf.to_container(root, resolve=True)
    except OmegaConfBaseException as error:
        raise readable(error) from error
    assert isinstance(resolved, dict)
    check_present(resolved, "")
    for name, kind in kinds.items():
        check_component(resolved[name], name, kind=kind)
    return {str(name): node for name, node in resolved.items()}
