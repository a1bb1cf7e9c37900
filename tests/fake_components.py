"""Small components for tests of the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Inner:
    size: int = 3
    name: str = "inner"


@dataclass
class Outer:
    root: str
    split: str
    inner: Inner | None = None
    parts: dict[str, Inner] = field(default_factory=dict)
    rate: float = 0.1
    shape: tuple[int, int] = (1, 2)
    factors: list[float] | None = None
    kind: Literal["a", "b"] = "a"
    flag: bool = False

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"rate must not be negative, got {self.rate}")


class Plain:
    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight
