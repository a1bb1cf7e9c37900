"""Composition: typed defaults < files of the experiment's `defaults:` list < the experiment < the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from al_lightning.config.components import check_component
from al_lightning.config.errors import ConfigError, unknown
from al_lightning.config.overrides import override, split_words
from al_lightning.config.schema import ExperimentConfig

COMPONENTS = {"data": ("split",), "task": (), "summarizer": (), "acquisition": ()}


def shipped_configs() -> Path:
    """Folder of the configuration files: within an installed package, beside the package in a checkout.

    Raises:
        ConfigError: there is none.
    """
    package = Path(__file__).resolve().parents[1]
    places = (package / "configs", package.parent / "configs")
    for folder in places:
        if (folder / "experiment").is_dir():
            return folder
    raise ConfigError(f"there are no configuration files: neither {places[0]} nor {places[1]}")


def named_file(name: Path, default_group: str = "acquisition") -> Path:
    """A configuration file by its path, or one of `shipped_configs` by its name: ``acquisition/cas``, or ``cas``.

    Raises:
        ConfigError: there is no such name.
    """
    if name.suffix:
        return name
    folder, group = shipped_configs(), default_group if name.parent == Path() else str(name.parent)
    if name.name not in options(folder, group):
        raise unknown(f"configuration of '{group}',", name.name, options(folder, group))
    return folder / group / f"{name.name}.yaml"


def options(config_dir: Path, group: str) -> list[str]:
    """Names that a group of configuration files offers."""
    return sorted(path.stem for path in (config_dir / group).glob("*.yaml"))


def load(config_dir: Path, group: str, name: str) -> dict[str, Any]:
    """Read one file of a group.

    Raises:
        ConfigError: there is no such file, or it is not a YAML mapping.
    """
    path = config_dir / group / f"{name}.yaml"
    if name not in options(config_dir, group):
        raise unknown(group, name, options(config_dir, group))
    return read_mapping(path)


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file of keys and values.

    Raises:
        ConfigError: it cannot be read, or is not a YAML mapping.
    """
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, OSError) as error:
        raise ConfigError(f"cannot read {path} as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping of keys to values")
    return {str(key): value for key, value in content.items()}


def compose(
    config_dir: Path, arguments: Sequence[str], kinds: Mapping[str, Any] | None = None
) -> tuple[ExperimentConfig, dict[str, Any]]:
    """Compose and check the configuration of a run; no data is read.

    Args:
        config_dir: folder with one sub-folder a group (`experiment`, `data`, `acquisition`, ...).
        arguments: ``key=value`` words; the last one of a key wins. A word that names a file of a group
            (`acquisition=random`) replaces the whole group.
        kinds: name of a component slot (`data`, `task`, ..., `callbacks` for each of them) -> the type it must be.

    Returns:
        The typed configuration and the same as a resolved plain dictionary.

    Raises:
        ConfigError: anything is unknown, missing, of a wrong type or out of range.
    """
    overrides = {"experiment": ExperimentConfig.experiment} | split_words(arguments)
    layers = _layers(config_dir, overrides)
    merged = _merge(layers, overrides)
    try:
        resolved = OmegaConf.to_container(merged, resolve=True, enum_to_str=True)
        assert isinstance(resolved, dict)
        check_present(resolved, "")
        typed = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise readable(error) from error
    assert isinstance(typed, ExperimentConfig)
    kinds = kinds or {}
    for key, provided in COMPONENTS.items():
        check_component(resolved[key], key, provided, kinds.get(key, Any))
    if resolved["prepare"]:
        check_component(resolved["prepare"], "prepare")
    for name, node in resolved["callbacks"].items():
        check_component(node, f"callbacks.{name}", kind=kinds.get("callbacks", Any))
    _check_ranges(typed)
    return typed, {str(key): value for key, value in resolved.items()}


def _layers(config_dir: Path, overrides: dict[str, str]) -> dict[str, Any]:
    """The experiment's file over the files of its groups; group choices are taken out of the overrides."""
    experiment = load(config_dir, "experiment", overrides["experiment"])
    groups: dict[str, str] = {}
    for entry in experiment.pop("defaults", []):
        if not isinstance(entry, dict) or len(entry) != 1:
            raise ConfigError(
                f"experiment '{overrides['experiment']}': write defaults as '- group: name', got {entry!r}"
            )
        groups.update(entry)
    for key in [key for key in overrides if key != "experiment" and (config_dir / key).is_dir()]:
        name = overrides.pop(key)
        if groups.get(key) != name:  # what the experiment says on top belongs to its own choice
            experiment.pop(key, None)
        groups[key] = name
    composed: Any = OmegaConf.create({key: load(config_dir, key, name) for key, name in groups.items()})
    composed = OmegaConf.merge(composed, OmegaConf.create(experiment))
    container = OmegaConf.to_container(composed, resolve=False)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def _merge(layers: dict[str, Any], overrides: dict[str, str]) -> DictConfig:
    _check_typed(layers, ExperimentConfig, "")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(ExperimentConfig), layers)
        assert isinstance(merged, DictConfig)
        override(merged, overrides)
        for name in [name for name, node in merged.callbacks.items() if node is None]:
            del merged.callbacks[name]
    except OmegaConfBaseException as error:
        raise readable(error) from error
    return merged


def _check_typed(node: Mapping[str, Any], schema: type, prefix: str) -> None:
    """Refuse keys that the typed sections do not have."""
    hints = get_type_hints(schema)
    for key, value in node.items():
        if key not in hints:
            raise unknown("key", f"{prefix}{key}", hints)
        if is_dataclass(hints[key]) and isinstance(value, Mapping):
            _check_typed(value, hints[key], f"{prefix}{key}.")


def check_present(node: Any, prefix: str) -> None:
    """Refuse values that were left for the command line to say."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            check_present(value, f"{prefix}{key}.")
    elif node == "???":
        key = prefix.rstrip(".")
        raise ConfigError(f"'{key}' is required: set it on the command line, {key}=...")


def _check_ranges(config: ExperimentConfig) -> None:
    positive = {
        "loop.cycles": config.loop.cycles,
        "loop.seed_size": config.loop.seed_size,
        "loop.budget": config.loop.budget,
        "loader.batch_size": config.loader.batch_size,
        "loader.predict_batch_size": config.loader.predict_batch_size,
        "trainer.max_epochs": config.trainer.max_epochs,
        "trainer.later_epochs": 1 if config.trainer.later_epochs is None else config.trainer.later_epochs,
        "trainer.accumulate_grad_batches": config.trainer.accumulate_grad_batches,
        "trainer.log_every_n_steps": config.trainer.log_every_n_steps,
        "trainer.checkpoint_every_n_epochs": config.trainer.checkpoint_every_n_epochs,
        "loader.samples_per_epoch": 1 if config.loader.samples_per_epoch is None else config.loader.samples_per_epoch,
    }
    for key, value in positive.items():
        if value < 1:
            raise ConfigError(f"'{key}' must be at least 1, got {value}")
    loader = config.loader
    not_negative = {
        "seed": config.seed,
        "loader.num_workers": loader.num_workers,
        "loader.past_frames": loader.past_frames,
        "gallery.selected": config.gallery.selected,
        "gallery.rejected": config.gallery.rejected,
    }
    for key, value in not_negative.items():
        if value < 0:
            raise ConfigError(f"'{key}' must not be negative, got {value}")


def readable(error: OmegaConfBaseException) -> ConfigError:
    """OmegaConf's message without its references to internals, with the key in front."""
    text = str(error).split("\n", 1)[0]
    key = getattr(error, "full_key", None)
    return ConfigError(f"'{key}': {text}" if key else text)


def differing_keys(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Leaves in which two resolved configurations differ, as ``key: old -> new``."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines = []
        for key in sorted(set(old) | set(new), key=str):
            lines += differing_keys(old.get(key), new.get(key), f"{prefix}{key}.")
        return lines
    same = old == new or (isinstance(old, Enum) and old.name == new)
    return [] if same else [f"{prefix.rstrip('.')}: {old!r} -> {new!r}"]
