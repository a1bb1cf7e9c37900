"""Distances and nearest neighbours: all of them in float64; of very many points, those that an index finds.

Shape letters: N points, M others, K neighbours, D size of an embedding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from al_lightning.acquisition.functional.neighbor_index import Device, NeighborIndex, check_index_device

# Distances computed together (32 MiB of float64).
BLOCK = 2**22
# Points up to which all distances are computed: 2.5 billion of them, minutes.
EXACT_UP_TO = 50_000
# Points searched for together.
SEARCHED = 2**12


class Neighbors(NamedTuple):
    """The nearest other points, nearest first.

    Attributes:
        distance: (N, K) float64.
        rows: (N, K) int64; equal distances in ascending order of rows.
    """

    distance: Tensor
    rows: Tensor


def euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (N, M) float64 between (N, D) and (M, D), from differences: exact for close points.

    Raises:
        ValueError: shapes do not fit, or values are not finite.
    """
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"embeddings must be (N, D) and (M, D), got {tuple(a.shape)} and {tuple(b.shape)}")
    if not (bool(a.isfinite().all()) and bool(b.isfinite().all())):
        raise ValueError("embeddings must be finite")
    a, b = a.detach().double(), b.detach().double()
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def nearest_distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance (N,) float64 of every row of (N, D) to the nearest of (M, D), M > 0; see `euclidean`."""
    return torch.cat([euclidean(some, b).amin(1) for some in torch.split(a, max(1, BLOCK // len(b)))])


def nearest_neighbors(
    z: Tensor, neighbors: int, exact_up_to: int = EXACT_UP_TO, index_device: Device = "cpu"
) -> Neighbors:
    """The K nearest other rows of every row; a point is no neighbour of itself, an equal point in another row is.

    Args:
        z: (N, D) embeddings.
        neighbors: K; where there are fewer other rows, all of them are taken.
        exact_up_to: number of points up to which the K are the nearest. Above it an index finds at least 0.95 of them
            (`neighbor_index.NeighborIndex`, which says so in the log); the distances are exact all the same.
        index_device: "cpu" or "gpu", where the index stands.

    Raises:
        ValueError: K is less than 1, there is no point, embeddings are not (N, D) and finite, or the device is unknown
            or not there.
    """
    if neighbors < 1 or len(z) == 0:
        raise ValueError(f"one or more neighbors and points needed, got {neighbors} and {len(z)}")
    check_index_device(index_device)
    count = min(neighbors, len(z) - 1)
    if len(z) > exact_up_to:
        return _found_by_index(z, count, index_device)
    block = max(1, BLOCK // len(z))
    parts = []
    for start in range(0, len(z), block):
        distance = euclidean(z[start : start + block], z)
        distance.diagonal(start).fill_(torch.inf)
        parts.append(_smallest(distance, count))
    return Neighbors(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _smallest(distance: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` smallest distances of each row, and their columns; equal ones in ascending order of columns."""
    values, columns = distance.topk(count, largest=False)
    columns = columns.sort(dim=1).values
    values, order = distance.gather(1, columns).sort(dim=1, stable=True)
    columns = columns.gather(1, order)
    # Where the last is equal to some that were left out, it is not said which of them were taken.
    tied = (distance <= values[:, -1:]).sum(1) > count
    if bool(tied.any()):
        columns[tied] = distance[tied].sort(dim=1, stable=True).indices[:, :count]
    return values, columns


def _found_by_index(z: Tensor, count: int, device: Device) -> Neighbors:
    if z.dim() != 2 or not bool(z.isfinite().all()):
        raise ValueError(f"embeddings must be (N, D) and finite, got {tuple(z.shape)}")
    given = z.detach().cpu()
    points = given.float().numpy()
    index = NeighborIndex(points, count, device=device)
    parts = []
    for start in range(0, len(z), SEARCHED):
        own = torch.arange(start, min(start + SEARCHED, len(z)))[:, None]
        rows = torch.from_numpy(index.search(points[start : start + SEARCHED], count + 1))
        # The point itself goes, or the last where more equal points than were asked for hid it.
        kept = (rows != own).to(torch.int8).sort(dim=1, descending=True, stable=True).indices[:, :count]
        rows = rows.gather(1, kept).sort(dim=1).values
        difference = given[rows].double().sub_(given[own])  # both are exact in float64
        distance, order = difference.square_().sum(-1).sqrt().sort(dim=1, stable=True)
        parts.append((distance, rows.gather(1, order)))
    return Neighbors(*(torch.cat(values).to(z.device) for values in zip(*parts, strict=True)))
