"""Dropout that draws as PyTorch draws on the CPU, with vector instructions.

PyTorch takes two numbers of a Mersenne twister (MT19937, Matsumoto and Nishimura 1998) for each value, one after the
other; with Intel's processors it leaves that to MKL, which draws others.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from al_lightning.compiled import compiled
from al_lightning.models.vad.linear import fused

WORDS, APART = 624, 397  # numbers of the twister's state, and how far those that are mixed lie apart
LEFT, NEXT, STATE = 8, 16, 24  # bytes of a saved generator: where it says how many are left, which is next, and all

f32, u32, u64 = np.float32, np.uint32, np.uint64


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, number by number."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        plain = not self.training or self.inplace or not 0 < self.p < 1 or not x.is_contiguous()
        if plain or not fused(x) or not reproduces():
            return super().forward(x)
        out = _dropped(x, self.p, torch.default_generator)
        return super().forward(x) if out is None else out


@cache
def reproduces() -> bool:
    """Whether PyTorch, on this processor, draws and saves its generator as assumed here."""
    ours, theirs = (torch.Generator().manual_seed(1) for _ in range(2))
    for count in (300, 1000):
        ones = torch.ones(count)
        out = _dropped(ones, 0.1, ours)
        if out is None or not torch.equal(out, ones.bernoulli_(0.9, generator=theirs).div_(0.9)):
            return False
    return torch.equal(ours.get_state()[LEFT:], theirs.get_state()[LEFT:])


def _dropped(x: Tensor, p: float, generator: torch.Generator) -> Tensor | None:
    """Dropout of x; None where the generator, left as it is, stands between the two numbers of a value."""
    saved = generator.get_state().numpy().copy()
    if len(saved) < STATE + 8 * WORDS:
        return None
    place = WORDS + 1 - int(saved[LEFT : LEFT + 4].view(np.int32)[0])
    if place % 2 or not 0 <= place <= WORDS:
        return None
    words = saved[STATE : STATE + 8 * WORDS].view(np.uint64)
    state, limit = words.astype(np.uint32), math.ceil((1 - p) * 2**53)
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    scale = f32(torch.ones(()) / (1 - p))
    place = _draw(state, place, x.view(-1).numpy(), u64(limit), scale, out.view(-1).numpy())
    words[:] = state
    saved[LEFT : LEFT + 4].view(np.int32)[:] = WORDS + 1 - place
    saved[NEXT : NEXT + 8].view(np.uint64)[:] = place
    generator.set_state(torch.from_numpy(saved))
    return out


@compiled()
def _draw(
    state: NDArray[np.uint32],
    place: int,
    x: NDArray[np.float32],
    limit: np.uint64,
    scale: np.float32,
    out: NDArray[np.float32],
) -> int:
    """Fill out with x * scale where a random number of 53 bits is below the limit, else 0; return the next place."""
    words = np.empty(WORDS, np.uint32)
    pairs = words.view(np.uint64)
    start = 0
    while start < len(x):
        if place == WORDS:
            _stir(state)
            place = 0
        _temper(state, words)
        count = min((WORDS - place) // 2, len(x) - start)
        values, kept, first = x[start : start + count], out[start : start + count], u64(place // 2)
        for i in range(u64(count)):
            pair = pairs[first + i]  # the number drawn first is the lower half here, and the upper one of the value
            value = ((pair & u64(2**21 - 1)) << u64(32)) | (pair >> u64(32))
            kept[i] = values[i] * (scale if value < limit else f32(0))
        start += count
        place += 2 * count
    return place


@compiled()
def _stir(state: NDArray[np.uint32]) -> None:
    """The next state of the twister; three loops, as none may read what it has just written."""
    for i in range(WORDS - APART):
        state[i] = state[i + APART] ^ _twisted(state[i], state[i + 1])
    for i in range(WORDS - APART, WORDS - 1):
        state[i] = state[i + APART - WORDS] ^ _twisted(state[i], state[i + 1])
    state[WORDS - 1] = state[APART - 1] ^ _twisted(state[WORDS - 1], state[0])


@compiled(inline=True)
def _twisted(word: np.uint32, following: np.uint32) -> np.uint32:
    mixed = (word & u32(0x80000000)) | (following & u32(0x7FFFFFFF))
    return (mixed >> u32(1)) ^ (u32(0x9908B0DF) if following & u32(1) else u32(0))


@compiled()
def _temper(state: NDArray[np.uint32], words: NDArray[np.uint32]) -> None:
    """Numbers that are drawn, of the state."""
    for i in range(WORDS):
        word = state[i]
        word ^= word >> u32(11)
        word ^= (word << u32(7)) & u32(0x9D2C5680)
        word ^= (word << u32(15)) & u32(0xEFC60000)
        words[i] = word ^ (word >> u32(18))
