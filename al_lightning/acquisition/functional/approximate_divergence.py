"""Nearest histograms among those that an index of square roots retrieves: the occupancy paper's way for large pools.

Shape letters: N, M histograms, K classes.

The Euclidean distance of square roots is the Hellinger distance but for a factor. Divergences are computed of the
retrieved pairs only (occupancy paper, Sec. III-D); they are exact, so no result lies below the exact one of
`nearest_divergence`, which takes little longer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from al_lightning.acquisition.functional.divergence import check_histograms, jensen_shannon, prepare
from al_lightning.acquisition.functional.neighbor_index import NeighborIndex

# Candidates whose retrieved histograms are compared together.
BLOCK = 2**12


def approximate_nearest_divergence(p: Tensor, q: Tensor, neighbors: int) -> Tensor:
    """Divergence of every p to the nearest of the q that are retrieved for it, D_inter (Eq. 2).

    Args:
        p: (N, K) histograms.
        q: (M, K) histograms, M > 0.
        neighbors: number of q retrieved for each p; all if there are fewer.

    Returns:
        (N,) float64 bits, on the CPU.

    Raises:
        ValueError: ``q`` is empty, a histogram is negative or does not sum to 1, K differs, or neighbors is less
            than 1.
    """
    check_histograms(p, q)
    neighbors = _count(neighbors, len(q))
    p, q = p.detach().cpu().double(), q.detach().cpu().double()
    prepare(p, "p"), prepare(q, "q")  # refuses what is no histogram before its root is taken
    index = NeighborIndex(q.sqrt().float().numpy(), neighbors)
    nearest = []
    for block in torch.split(p, BLOCK):
        rows = torch.from_numpy(index.search(block.sqrt().float().numpy(), neighbors))
        nearest.append(jensen_shannon(block[:, None], q[rows]).amin(1))
    return torch.cat(nearest)


class ApproximatePickedDivergence:
    """Divergence of every candidate to the nearest of the picks that retrieved it, D_intra (Eq. 3), pick by pick.

    The first pick is compared with all candidates, every later one with those nearest to it in the index.

    Args:
        histogram: (N, K) class histograms of the candidates.
        neighbors: number of candidates retrieved for each pick; all if there are fewer.

    Raises:
        ValueError: a histogram is negative or does not sum to 1, or neighbors is less than 1.
    """

    def __init__(self, histogram: Tensor, neighbors: int) -> None:
        self._histogram = histogram.detach().cpu().double()
        prepare(self._histogram, "histogram")  # refuses what is no histogram before its root is taken
        self._roots = self._histogram.sqrt().float().numpy()
        self._neighbors = _count(neighbors, len(histogram))
        self._index = NeighborIndex(self._roots, self._neighbors)
        self._nearest: Tensor | None = None

    def add(self, position: int) -> Tensor:
        """Take in the candidate at this position.

        Returns:
            (N,) float64 bits, on the CPU. The next call changes it in place.
        """
        picked = self._histogram[position]
        if self._nearest is None:
            self._nearest = jensen_shannon(self._histogram, picked)
            return self._nearest
        rows = torch.from_numpy(self._index.search(self._roots[position : position + 1], self._neighbors)[0])
        self._nearest[rows] = torch.minimum(self._nearest[rows], jensen_shannon(self._histogram[rows], picked))
        return self._nearest


def _count(neighbors: int, others: int) -> int:
    if neighbors < 1:
        raise ValueError(f"one or more neighbors needed, got {neighbors}")
    return min(neighbors, others)
