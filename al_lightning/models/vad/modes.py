"""Which parts of a network are random for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def deterministic(network: nn.Module) -> Iterator[None]:
    """Within the context nothing is random and no statistics move: evaluation mode everywhere."""
    with _restored(network):
        network.eval()
        yield


@contextmanager
def monte_carlo_dropout(network: nn.Module, attention_probabilities: bool = False) -> Iterator[None]:
    """Within the context the network is in evaluation mode, but its dropout is active.

    Args:
        network: any network.
        attention_probabilities: drop attention probabilities as well, as in training. TRAP: they follow the flag of
            `nn.MultiheadAttention`, so "reactivate only Dropout" read literally, the default, leaves them alone.
    """
    kinds = (nn.Dropout, nn.MultiheadAttention) if attention_probabilities else (nn.Dropout,)
    with _restored(network):
        network.eval()
        for module in network.modules():
            if isinstance(module, kinds):
                module.training = True
        yield


@contextmanager
def _restored(network: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        _set(modes)


def _set(modes: Iterable[tuple[nn.Module, bool]]) -> None:
    for module, training in modes:
        module.training = training
