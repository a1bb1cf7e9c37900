"""Nearest histograms by Jensen-Shannon divergence, exact, with most pairs never computed.

Shape letters: N, M histograms, K classes.

For histograms p and q let h2 = sum_k (sqrt(p_k) - sqrt(q_k))^2 / 2, the squared Hellinger distance, which is
1 - sum_k sqrt(p_k q_k) where both sum to 1. Then, with the divergence in bits,

    h2 <= JSD(p, q) <= h2 / ln 2.

Proof, class by class: with p_k = m (1 + x) and q_k = m (1 - x), -1 <= x <= 1, the share of h2 is m B, B = 1 - sqrt(1 -
x^2), and that of JSD is m A / ln 2, A = ln 2 (1 - H((1 + x) / 2)), H the binary entropy in bits. As power series,
A = sum_n a_n x^(2n), a_n = 1 / (2n (2n - 1)), and B = sum_n b_n x^(2n), b_n = binom(2n, n) / (4^n (2n - 1)). From one n
to the next a_n / b_n is multiplied by 2n / (2n + 1): it falls, so A / B falls too, from 1 at x = 0 to ln 2 at |x| = 1.

So an inner product of square roots tells that a pair cannot be nearer than the nearest one known; only the others cost
K logarithms. The candidates' roots are rounded up to 16 bits, which loosens the bound by less than 2^-15 sqrt(K), and
the products summed in float32.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from al_lightning.acquisition.functional.divergence import Array, check_histograms, prepare
from al_lightning.acquisition.functional.divergence_kernel import STEPS, WIDTH, lower_nearest

# Products of a block of candidates with another histogram below which threads cost more than they give.
SHARED = 2**12


def nearest_divergence(p: Tensor, q: Tensor) -> Tensor:
    """Divergence of every p to the nearest q, D_inter (Eq. 2): bit for bit `divergence.min_jensen_shannon`.

    Args:
        p: (N, K) histograms.
        q: (M, K) histograms, M > 0.

    Returns:
        (N,) float64 bits, on the CPU.

    Raises:
        ValueError: ``q`` is empty, a histogram is negative or does not sum to 1, or K differs.
    """
    check_histograms(p, q)
    nearest = _Nearest(_root(p, "p"))
    nearest.lower(_root(q, "q"))
    return torch.from_numpy(nearest.divergence)


class PickedDivergence:
    """Divergence of every candidate to the nearest one picked so far, D_intra (Eq. 3), kept up to date pick by pick.

    Bit for bit `divergence.NearestPickedDivergence`.

    Args:
        histogram: (N, K) class histograms of the candidates.

    Raises:
        ValueError: a histogram is negative or does not sum to 1.
    """

    def __init__(self, histogram: Tensor) -> None:
        self._candidates = _root(histogram, "histogram")
        self._nearest = _Nearest(self._candidates)

    def add(self, position: int) -> Tensor:
        """Take in the candidate at this position.

        Returns:
            (N,) float64 bits, on the CPU; 0 for what was picked. The next call changes it in place.
        """
        self._nearest.lower(self._candidates.at(slice(position, position + 1)))
        return torch.from_numpy(self._nearest.divergence)


class _Rooted(NamedTuple):
    """Histograms made ready for bounds and divergences.

    Attributes:
        halves: (N, K), see `divergence.Prepared`.
        entropy: (N,) bits.
        mass: (N,) half the sum: 1/2 but for what `divergence.prepare` lets pass.
    """

    halves: Array
    entropy: Array
    mass: Array

    def at(self, rows: slice) -> _Rooted:
        return _Rooted(self.halves[rows], self.entropy[rows], self.mass[rows])


def _root(histogram: Tensor, name: str) -> _Rooted:
    values = histogram.detach().cpu().double()
    prepared = prepare(values, name)
    return _Rooted(np.ascontiguousarray(prepared.halves.T), prepared.entropy, values.sum(1).numpy() / 2)


class _Nearest:
    """Divergence of every candidate to its nearest other.

    Attributes:
        divergence: (N,) bits; infinite before the first other.
    """

    def __init__(self, candidates: _Rooted) -> None:
        count, classes = candidates.halves.shape
        blocks = -(-count // WIDTH)
        self.divergence = np.full(count, np.inf)
        self._reach = np.full((blocks, WIDTH), np.inf, np.float32)
        self._reach.reshape(-1)[:count] = -np.inf
        self._roots = np.zeros((blocks, classes, WIDTH), np.uint16)
        for k in range(classes):
            steps = np.zeros(blocks * WIDTH)
            steps[:count] = np.ceil(np.sqrt(2 * candidates.halves[:, k]) * STEPS)
            self._roots[:, k] = steps.reshape(blocks, WIDTH)
        self._candidates = candidates
        # Half a unit in the last place for each root of an other, K products, K sums, the two masses and the two sums
        # with them; all are below 2. The divergence itself rounds in float64.
        self._margin = 2.0**-23 * (classes + 6)
        self._threads = torch.get_num_threads()  # those of the caller: `selection.greedy` runs torch on one

    def lower(self, others: _Rooted) -> int:
        """Take in others.

        Returns:
            How many divergences were computed.
        """
        blocks, threads = len(self._reach), self._threads
        if threads == 1 or blocks * len(others.mass) < SHARED:
            return self._lower_blocks(others, 0, blocks)
        ends = [blocks * i // threads for i in range(threads + 1)]
        with ThreadPoolExecutor(threads) as pool:  # candidates do not depend on each other
            return sum(pool.map(partial(self._lower_blocks, others), ends[:-1], ends[1:]))

    def _lower_blocks(self, others: _Rooted, first: int, last: int) -> int:
        blocks, rows = slice(first, last), slice(first * WIDTH, last * WIDTH)
        own = self.divergence[rows], self._reach[blocks], self._roots[blocks], *self._candidates.at(rows)
        return lower_nearest(*own, *others, self._margin)
