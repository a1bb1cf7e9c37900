"""What `torch.compile` leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

F = TypeVar("F", bound=Callable[..., Any])


def eager(function: F) -> F:
    """A function that `torch.compile` does not look into: for such as ask for values or have as many results."""
    return cast(F, torch.compiler.disable(function))  # type: ignore[no-untyped-call]
