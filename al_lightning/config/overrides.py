"""Words of the command line: ``key=value``, and how they change a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from al_lightning.config.components import TARGET, argument_types, is_component, locate, parameters
from al_lightning.config.errors import ConfigError, unknown

NULL = ("", "null", "None")
"""Values that stand for nothing; W&B's agent writes ``None``."""


def split_words(arguments: Sequence[str]) -> dict[str, str]:
    """``key=value`` words to a dotted key -> text dictionary; the last word of a key wins.

    Raises:
        ConfigError: a word is not of this form.
    """
    texts = {}
    for word in arguments:
        key, equals, text = word.partition("=")
        if not equals or not key or key.startswith("-"):
            raise ConfigError(f"cannot read '{word}': write key=value, e.g. loop.budget=10 (see --help)")
        texts[key] = text
    return texts


def override(config: DictConfig, texts: Mapping[str, str]) -> None:
    """Set keys; a component or an empty mapping replaces what is there, another mapping goes into it.

    Values are YAML, but for a key of text the text itself: YAML would turn it into a number (2026_10_18), a truth value
    (on) or a shorter text (a path with a #).

    Raises:
        ConfigError: a value is no YAML, or a key neither exists nor is an argument of the component it leads into.
    """
    for key, text in texts.items():
        is_text = text not in NULL and _hint(config, key) in (str, str | None)
        value = text if is_text else _read(key, text)
        _check_path(config, key, value)
        OmegaConf.update(config, key, value, merge=not is_component(value) and value != {}, force_add=True)


def _read(key: str, text: str) -> Any:
    """The plain value of a YAML text, by OmegaConf's reader and not PyYAML's, for which 1e-4 is a word."""
    if text in NULL:
        return None
    try:
        parsed = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"the value of '{key}={text}' is not valid YAML: {error}") from error
    assert isinstance(parsed, dict)
    return parsed["value"]


def _hint(config: DictConfig, dotted: str) -> Any:
    """The type of a typed key or of a component's argument; None if there is no such key."""
    *path, name = dotted.split(".")
    node: Any = config
    for part in path:
        if not isinstance(node, DictConfig) or part not in node or OmegaConf.is_missing(node, part):
            return None
        node = node[part]
    if not isinstance(node, DictConfig):
        return None
    typed = OmegaConf.get_type(node)
    if is_component(node):
        return argument_types(locate(node[TARGET], ".".join(path))).get(name)
    return get_type_hints(typed).get(name) if is_dataclass(typed) else None


def _check_path(config: Any, dotted: str, value: Any) -> None:
    """Refuse an override whose key neither exists nor is an argument of the component that it leads into."""
    if isinstance(value, Mapping) and not is_component(value):
        for name, entry in value.items():
            _check_path(config, f"{dotted}.{name}", entry)
    node, walked = config, ""
    for part in dotted.split("."):
        if not isinstance(node, DictConfig):
            raise ConfigError(f"'{walked.rstrip('.')}' holds a value and no keys, so '{dotted}' leads nowhere")
        known = {str(key) for key in node}
        if TARGET in known:
            known |= set(parameters(locate(OmegaConf.select(node, TARGET), walked.rstrip("."))))
        free = walked == "callbacks." and is_component(value)  # a callback of the user's own, under any name
        if part not in known and not free:
            raise unknown("key", walked + part, known - {TARGET})
        if part not in node:
            return  # an argument left at its default: checked with its component
        walked += f"{part}."
        node = node._get_node(part) if OmegaConf.is_missing(node, part) else node[part]
