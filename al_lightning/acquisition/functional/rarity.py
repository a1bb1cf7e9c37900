"""How thinly the space of embeddings is populated (planning paper, R), and whether it is ordered by safety (Fig. 2).

Shape letters: N scenes, K neighbours, H steps of the safety state, D size of an embedding.
"""

from __future__ import annotations

import logging
import math
from typing import Literal, get_args

import torch
from torch import Tensor

from al_lightning.acquisition.functional.neighbor_index import Device
from al_lightning.acquisition.functional.neighbors import EXACT_UP_TO, nearest_neighbors

Per = Literal["pair", "scene"]
log = logging.getLogger(__name__)


def rarity(
    z: Tensor,
    neighbors: int = 20,
    bandwidth: float | None = None,
    exact_up_to: int = EXACT_UP_TO,
    index_device: Device = "cpu",
) -> Tensor:
    """R_i = -log p(z_i), p(z_i) = mean over the K nearest neighbours j of exp(-|z_i - z_j|^2 / (2 sigma_r^2)).

    Where the definition is silent: with fewer than K others, all of them are the neighbours, and the log says so; a
    single point has R = 0; if the median that makes sigma_r is 0 (more than half the points lie on K or more others),
    the smallest K-th distance above 0 takes its place; if there is none either, all R are 0.

    Args:
        z: (N, D) embeddings, those whose density it is.
        neighbors: K_nn.
        bandwidth: sigma_r; None for the median over the points of the distance to the K-th neighbour (the mean of the
            two middle ones for an even number).
        exact_up_to: number of points up to which the neighbours are exact, see `nearest_neighbors`.
        index_device: "cpu" or "gpu", where the index stands that finds them above it.

    Returns:
        (N,) float64, not negative.

    Raises:
        ValueError: K or the bandwidth is out of range, there is no point, embeddings are not (N, D) and finite, or the
            device is unknown or not there.
    """
    if bandwidth is not None and not 0 < bandwidth < math.inf:
        raise ValueError(f"bandwidth must be positive and finite, got {bandwidth}")
    distance = nearest_neighbors(z, neighbors, exact_up_to, index_device).distance
    if 1 < len(z) <= neighbors:
        log.warning("rarity: %d neighbors were asked for, of %d other scenes; all are taken", neighbors, len(z) - 1)
    if distance.shape[1] == 0:
        return torch.zeros(len(z), dtype=torch.float64, device=z.device)
    sigma = _median_bandwidth(distance[:, -1]) if bandwidth is None else bandwidth
    # In logarithms: far points would underflow to p = 0.
    similarity = torch.logsumexp(-(distance / sigma).square() / 2, dim=1)
    return (math.log(distance.shape[1]) - similarity).clamp(min=0)


def _median_bandwidth(farthest: Tensor) -> float:
    """sigma_r from the distances (N,) to the K-th neighbour, see `rarity`."""
    median = float(farthest.quantile(0.5))
    if median == 0 and bool((farthest > 0).any()):
        return float(farthest[farthest > 0].min())
    return median or 1.0  # all distances are 0: any bandwidth gives R = 0


def neighborhood_correlation(z: Tensor, safety: Tensor, neighbors: int = 10, per: Per = "pair") -> float:
    """Pearson correlation of embedding distance and safety difference over nearest neighbours (planning paper, Fig. 2).

    Of pairs of a scene i and one of its K nearest j: |z_i - z_j| against |c_i - c_j|, where c is the largest component
    of the safety state. Above 0, scenes of like safety lie close.

    Args:
        z: (N, D) embeddings.
        safety: (N, H) safety states.
        neighbors: K.
        per: "over each sample's 10 nearest neighbors" can mean one correlation over all pairs (``pair``) or the mean of
            those of each scene with its K neighbours (``scene``); their signs may differ.

    Returns:
        In [-1, 1]; 0 where all distances or all differences are equal, for which no correlation is defined, and such
        scenes have no share in the mean of ``scene``.

    Raises:
        ValueError: shapes do not fit, there are fewer than two scenes, values are not finite, or ``per`` is neither.
    """
    if per not in get_args(Per):
        raise ValueError(f"per must be one of {', '.join(get_args(Per))}, got {per!r}")
    if safety.dim() != 2 or len(safety) != len(z) or len(z) < 2 or not bool(safety.isfinite().all()):
        raise ValueError(
            f"two or more embeddings and finite safety (N, H) needed, got {tuple(z.shape)} and {tuple(safety.shape)}"
        )
    distance, rows = nearest_neighbors(z, neighbors)
    surrogate = safety.double().amax(1)
    difference = (surrogate[:, None] - surrogate[rows]).abs()
    pairs = torch.stack([distance, difference])  # (2, N, K)
    groups = pairs.flatten(1)[:, None] if per == "pair" else pairs
    defined = (groups.amin(2) < groups.amax(2)).all(0)
    if not bool(defined.any()):
        return 0.0
    return float(torch.stack([torch.corrcoef(group)[0, 1] for group in groups[:, defined].unbind(1)]).mean())
