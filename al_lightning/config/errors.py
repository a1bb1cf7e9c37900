"""The one error of a wrong configuration."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """The configuration is wrong; the message names the key and what would be right."""


def unknown(what: str, name: str, valid: Iterable[str]) -> ConfigError:
    """An error that names the nearest valid name and lists the others."""
    valid = sorted(valid)
    nearest = difflib.get_close_matches(name.rsplit(".", 1)[-1], valid, n=1, cutoff=0.0)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
    return ConfigError(f"unknown {what} '{name}'{hint} (valid: {', '.join(valid) or 'none'})")
