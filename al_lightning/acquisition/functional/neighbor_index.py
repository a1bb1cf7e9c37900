"""An approximate index of points, as accurate as it is asked to be (FAISS, inverted lists).

Shape letters: N points, Q queries, K neighbours, D size of an embedding.
"""

from __future__ import annotations

import logging
from typing import Any, Literal, get_args

import faiss
import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]
Device = Literal["cpu", "gpu"]

# Points below which all are looked at: the lists could not be trained.
FLAT = 10_000
# Points on which the recall is measured.
SAMPLE = 256
# Lists that FAISS can search on a GPU.
GPU_LISTS = 2048

log = logging.getLogger(__name__)


def check_index_device(device: str) -> None:
    """Refuse a device that is unknown or that the installed FAISS cannot use.

    Raises:
        ValueError: see above.
    """
    if device not in get_args(Device):
        raise ValueError(f"index_device must be one of {', '.join(get_args(Device))}, got {device!r}")
    if device == "gpu" and not hasattr(faiss, "StandardGpuResources"):
        raise ValueError("index_device 'gpu' needs FAISS built for GPUs, faiss-gpu; installed is faiss-cpu")


class NeighborIndex:
    """The K nearest of N points to any point, of which at least the share ``recall`` is right.

    The points are in 2 sqrt(N) lists, of which as many are searched as the recall, measured on a sample of the points
    themselves, takes; up to all, on a GPU up to `GPU_LISTS`. Both are said in a line of the log. Below `FLAT` points,
    all are looked at.

    Args:
        points: (N, D) float32, finite.
        neighbors: K for which the recall is measured.
        recall: share of the K nearest that has to be found.
        device: "cpu" or "gpu"; the latter needs the package faiss-gpu.

    Attributes:
        recall: what was measured.

    Raises:
        ValueError: the device is unknown, or FAISS was built without GPUs and one is asked for.
    """

    def __init__(self, points: Singles, neighbors: int, recall: float = 0.95, device: Device = "cpu") -> None:
        check_index_device(device)
        self._lists = round(2 * len(points) ** 0.5) if len(points) >= FLAT else 0
        self._most = min(self._lists, GPU_LISTS) if device == "gpu" else self._lists
        self._index = _build(points, self._lists, device)
        self.recall = 1.0
        if self._lists:
            self.recall, searched = self._tune(points, min(neighbors, len(points) - 1), recall)
            log.info(
                "nearest neighbours of %s points by an approximate index, %s of %s lists: it finds %.3f of the %s "
                "nearest (measured on %s points)",
                *(f"{n:,}" for n in (len(points), searched, self._lists)), self.recall, neighbors, SAMPLE,
            )  # fmt: skip

    def search(self, queries: Singles, neighbors: int) -> NDArray[np.int64]:
        """Rows (Q, K) of the points nearest to the queries (Q, D), the nearest first; K at most N.

        Raises:
            ValueError: all the lists that can be searched on a GPU hold fewer than K points.
        """
        rows: NDArray[np.int64] = self._index.search(queries, neighbors)[1]
        short = (rows < 0).any(axis=1)  # the lists searched hold fewer points
        if short.any():
            before, self._index.nprobe = self._index.nprobe, self._most
            rows[short] = self._index.search(queries[short], neighbors)[1]
            self._index.nprobe = before
            if (rows < 0).any():
                raise ValueError(
                    f"{self._most} lists hold fewer than {neighbors} points; index_device 'cpu' has no limit"
                )
        return rows

    def _tune(self, points: Singles, neighbors: int, recall: float) -> tuple[float, int]:
        """Search as many lists as the recall takes; what it then is, and how many they are."""
        rows = np.linspace(0, len(points) - 1, SAMPLE).astype(np.int64)
        sample = points[rows]
        nearest = faiss.knn(sample, points, neighbors + 1)[1]  # the nearest is the point itself
        # Any of equally near points is right: it counts how far those found are, with room for rounding in float32.
        reach = _distances(sample, points, nearest).max(axis=1, keepdims=True) * (1 + 1e-5)
        searched = 1
        while True:
            searched = min(2 * searched, self._most)
            self._index.nprobe = searched
            found = self.search(sample, neighbors + 1)
            measured = float((_distances(sample, points, found) <= reach).mean())
            if measured >= recall or searched == self._most:
                return measured, searched


def _distances(queries: Singles, points: Singles, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distances (Q, K) of the queries (Q, D) to the points (N, D) in those rows (Q, K)."""
    differences = queries[:, None].astype(np.float64) - points[rows]
    lengths: NDArray[np.float64] = np.sqrt(np.square(differences).sum(axis=2))
    return lengths


def _build(points: Singles, lists: int, device: Device) -> Any:
    size = points.shape[1]
    index: Any = faiss.IndexFlatL2(size)
    if lists:
        index = faiss.IndexIVFFlat(index, size, lists)
        index.cp.max_points_per_centroid = 64
    if device == "gpu":
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    if lists:
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)  # the same lists whatever the number of threads
        try:
            index.train(points)
        finally:
            faiss.omp_set_num_threads(threads)
    index.add(points)
    return index
