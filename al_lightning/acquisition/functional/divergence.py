"""Jensen-Shannon divergence between class histograms (occupancy paper, Eq. 2 and 3).

Shape letters: N, M histograms, K classes.

Equal pairs of histograms get equal numbers, wherever they stand in a tensor: sums run over the classes in order, one
rounded addition each, and the logarithm is the package's own. A library reduction may add in an order that depends on
the position, which breaks ties; a library's logarithm differs in the last bit from one machine to the next.

`min_jensen_shannon` and `NearestPickedDivergence` compute every pair: the readable reference of `nearest_divergence`,
which gives the same numbers and computes few.

The inner loop is NumPy's: thousands of short operations, each of which torch would spread over threads and wait for.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_lightning.acquisition.functional.divergence_kernel import log2

Array: TypeAlias = NDArray[np.float64]

# Divergences computed together in `min_jensen_shannon`: 256 KiB of float64, which stays in a processor's cache.
TILE = 2**15
# Stands for 0 in p log p: what it adds (1e-298) is lost in any sum, and 0 log 0 needs no case of its own.
ZERO = 2.0**-1000


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence in bits, H((p + q) / 2) - (H(p) + H(q)) / 2, in float64.

    Exactly 0 for p == q and exactly 1 for one-hots of different classes.

    Args:
        p: (..., K) histograms.
        q: (..., K) histograms; leading axes broadcast against those of ``p``.

    Returns:
        (...) float64 in [0, 1], on the CPU.

    Raises:
        ValueError: a histogram is negative or does not sum to 1, or K differs.
    """
    _check_classes(p, q)
    # Broadcasting adds axes at the front, where K will stand: give both the same number of axes first.
    axes = max(p.dim(), q.dim())
    first, second = (t[(None,) * (axes - t.dim())] for t in (p, q))
    return torch.from_numpy(np.asarray(_divergence(prepare(first, "p"), prepare(second, "q"))))


def min_jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Divergence of every p to the nearest q, D_inter (Eq. 2); exact, in tiles of bounded memory.

    Args:
        p: (N, K) histograms.
        q: (M, K) histograms, M > 0.

    Returns:
        (N,) float64 bits, on the CPU.

    Raises:
        ValueError: ``q`` is empty, a histogram is negative or does not sum to 1, or K differs.
    """
    check_histograms(p, q)
    first, second = prepare(p, "p"), prepare(q, "q")
    columns = min(len(q), 1024)
    rows = TILE // columns
    nearest = np.full(len(p), np.inf)
    for i in range(0, len(p), rows):
        block = first.at(slice(i, i + rows), None)
        for j in range(0, len(q), columns):
            tile = _divergence(block, second.at(None, slice(j, j + columns)))
            np.minimum(nearest[i : i + rows], tile.min(axis=1), out=nearest[i : i + rows])
    return torch.from_numpy(nearest)


class NearestPickedDivergence:
    """Divergence of every candidate to the nearest one picked so far, D_intra (Eq. 3), kept up to date pick by pick.

    Args:
        histogram: (N, K) class histograms of the candidates.

    Raises:
        ValueError: a histogram is negative or does not sum to 1.
    """

    def __init__(self, histogram: Tensor) -> None:
        self._candidates = prepare(histogram, "histogram")
        self._nearest = np.full(len(histogram), np.inf)

    def add(self, position: int) -> Tensor:
        """Take in the candidate at this position: one new divergence a candidate.

        Returns:
            (N,) float64 bits, on the CPU; 0 for what was picked.
        """
        picked = self._candidates.at(slice(position, position + 1))
        self._nearest = np.minimum(self._nearest, _divergence(self._candidates, picked))
        return torch.from_numpy(self._nearest)


def check_histograms(p: Tensor, q: Tensor) -> None:
    """Refuse candidates and labeled histograms that are not (N, K) and (M, K) with M > 0.

    Raises:
        ValueError: see above.
    """
    if p.dim() != 2 or q.dim() != 2:
        raise ValueError(f"p and q must be (N, K) and (M, K), got {tuple(p.shape)} and {tuple(q.shape)}")
    _check_classes(p, q)
    if len(q) == 0:
        raise ValueError("there is no labeled histogram to measure the divergence to")


class Prepared(NamedTuple):
    """Histograms made ready for many divergences.

    Attributes:
        halves: (K, ...) half of each histogram, so that the mean of two is their sum.
        entropy: (...) bits.
    """

    halves: Array
    entropy: Array

    def at(self, *index: slice | None) -> Prepared:
        """Index the axes behind K."""
        return Prepared(self.halves[(slice(None), *index)], self.entropy[index])


def prepare(histogram: Tensor, name: str) -> Prepared:
    """Check histograms (..., K) and make them ready.

    Raises:
        ValueError: one is negative or does not sum to 1.
    """
    values = histogram.detach().cpu().double().numpy()
    valid = (values >= 0).all(-1) & (np.abs(values.sum(-1) - 1) <= 1e-4)
    if not valid.all():
        rows = np.argwhere(~valid)[:3].tolist()
        raise ValueError(f"{name} must hold class histograms (non-negative, sum 1); at {rows} it does not")
    halves = np.maximum(np.ascontiguousarray(np.moveaxis(values, -1, 0)) / 2, ZERO)
    return Prepared(halves, _entropy_of_sum(halves, halves))


def _check_classes(p: Tensor, q: Tensor) -> None:
    if p.dim() == 0 or q.dim() == 0 or p.shape[-1] != q.shape[-1]:
        raise ValueError(f"histograms need the same number of classes, got {tuple(p.shape)} and {tuple(q.shape)}")


def _divergence(p: Prepared, q: Prepared) -> Array:
    # For p == q the first term is computed by the same operations on the same numbers as H(p): the difference is 0.
    return np.clip(_entropy_of_sum(p.halves, q.halves) - (p.entropy + q.entropy) / 2, 0, 1)


def _entropy_of_sum(first: Array, second: Array) -> Array:
    """Entropy in bits of the distribution ``first + second``, (K, ...) -> (...)."""
    mean = np.empty(np.broadcast_shapes(first.shape[1:], second.shape[1:]))
    term, total = np.empty_like(mean), np.zeros_like(mean)
    for a, b in zip(first, second, strict=True):
        np.add(a, b, out=mean)
        log2(mean, out=term)
        total -= np.multiply(term, mean, out=term)
    return total
