"""Neighbours found by an index against all distances."""

import logging

import faiss
import numpy as np
import pytest
import torch

from al_lightning.acquisition import Rarity
from al_lightning.acquisition.functional import nearest_neighbors, rarity
from al_lightning.acquisition.functional.neighbor_index import NeighborIndex
from al_lightning.types import Summary

MODULE = "al_lightning.acquisition.functional.neighbor_index"


def points(n: int, d: int = 8, spread: float = 0.3) -> torch.Tensor:
    generator = np.random.default_rng(n)
    centers = generator.standard_normal((n // 40 + 1, d))
    x = centers[generator.integers(0, len(centers), n)] + spread * generator.standard_normal((n, d))
    return torch.from_numpy(x)


@pytest.fixture
def lists_from_500(monkeypatch):
    monkeypatch.setattr(f"{MODULE}.FLAT", 500)


def recall(found: torch.Tensor, exact: torch.Tensor) -> float:
    """Share of the exact neighbours' distances (N, K) that those found reach."""
    return float((found <= exact[:, -1:] * (1 + 1e-9)).double().mean())


def test_finds_the_share_that_it_reports(lists_from_500, caplog):
    z = points(n := 3000)
    with caplog.at_level(logging.INFO, logger=MODULE):
        found = nearest_neighbors(z, 20, exact_up_to=0)
    exact = nearest_neighbors(z, 20)
    assert recall(found.distance, exact.distance) >= 0.94  # 0.95 of a sample
    assert f"nearest neighbours of {n:,} points by an approximate index" in caplog.text
    assert "it finds 0.9" in caplog.text or "it finds 1.0" in caplog.text
    rows = torch.arange(n)[:, None]
    assert not bool((found.rows == rows).any())
    torch.testing.assert_close(found.distance, (z[found.rows] - z[rows]).norm(dim=-1), rtol=1e-12, atol=0)
    assert bool((found.distance.diff(dim=1) >= 0).all())


def test_any_recall_can_be_had(lists_from_500):
    z = points(2000, d=30, spread=3.0).float().numpy()  # without structure
    low, high = NeighborIndex(z, 20, recall=0.3), NeighborIndex(z, 20, recall=1.0)
    assert 0.3 <= low.recall < 0.95
    assert high.recall == 1


def test_below_the_size_of_lists_all_are_looked_at(caplog):
    z = points(400)
    with caplog.at_level(logging.INFO, logger=MODULE):
        found, exact = nearest_neighbors(z, 7, exact_up_to=0), nearest_neighbors(z, 7)
    assert not caplog.records
    assert torch.equal(found.rows, exact.rows)
    torch.testing.assert_close(found.distance, exact.distance, rtol=1e-12, atol=0)


def test_equal_points_and_few_points():
    z = torch.cat([torch.zeros(30, 2), torch.ones(1, 2)])
    found = nearest_neighbors(z, 5, exact_up_to=0)
    assert found.distance[:30].eq(0).all()
    assert found.distance[30].eq(2**0.5).all()
    assert not bool((found.rows == torch.arange(31)[:, None]).any())
    assert nearest_neighbors(z[:3], 5, exact_up_to=0).rows.shape == (3, 2)


def test_lists_that_hold_too_few(lists_from_500):
    z = points(600, spread=1e-6)
    found = nearest_neighbors(z, 300, exact_up_to=0)
    assert found.rows.shape == (600, 300)
    assert bool((found.rows >= 0).all())


def test_threads_do_not_matter(lists_from_500):
    z, threads, results = points(3000), faiss.omp_get_max_threads(), []
    try:
        for count in (1, 3):
            faiss.omp_set_num_threads(count)
            results.append(nearest_neighbors(z, 20, exact_up_to=0))
    finally:
        faiss.omp_set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_rarity_by_the_index_is_close_to_the_exact_one(lists_from_500):
    z = points(3000)
    exact, found = rarity(z), rarity(z, exact_up_to=100)
    assert float(torch.corrcoef(torch.stack([exact, found]))[0, 1]) > 0.99
    pool = Summary(torch.arange(3000), {"embedding": z})
    assert torch.equal(Rarity(exact_up_to=100).score(pool, pool, torch.Generator()), found)
    assert torch.equal(Rarity().score(pool, pool, torch.Generator()), exact)


@pytest.fixture
def pretended_gpu(monkeypatch):
    """An index that is asked for on a GPU, and stands on the processor."""
    monkeypatch.setattr(f"{MODULE}.GPU_LISTS", 4)
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", lambda resources, device, index: index, raising=False)


def test_a_gpu_is_not_asked_for_more_lists_than_it_can_search(lists_from_500, pretended_gpu):
    z = points(2000, d=30, spread=3.0).float().numpy()  # without structure: all lists are needed
    index = NeighborIndex(z, 20, recall=1.0, device="gpu")
    assert index._index.nprobe == 4
    assert index.recall < 1
    assert bool((index.search(z[:5], 20) >= 0).all())
    with pytest.raises(ValueError, match="4 lists hold fewer than 1990 points; index_device 'cpu' has no limit"):
        index.search(z[:5], 1990)
    assert index._index.nprobe == 4


def test_threads_of_faiss_are_put_back_after_a_failure(lists_from_500, monkeypatch):
    threads = faiss.omp_get_max_threads()

    def fail(self, points):
        raise RuntimeError("no memory")

    monkeypatch.setattr(faiss.IndexIVFFlat, "train", fail)
    try:
        faiss.omp_set_num_threads(3)
        with pytest.raises(RuntimeError, match="no memory"):
            NeighborIndex(points(600).float().numpy(), 5)
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(threads)


def test_refusals():
    z = points(50)
    for call in (lambda d: rarity(z, index_device=d), lambda d: Rarity(index_device=d)):
        with pytest.raises(ValueError, match="index_device must be one of cpu, gpu, got 'cuda'"):
            call("cuda")
        if not hasattr(faiss, "StandardGpuResources"):
            with pytest.raises(ValueError, match="needs FAISS built for GPUs, faiss-gpu"):
                call("gpu")
    with pytest.raises(ValueError, match="finite"):
        nearest_neighbors(z * torch.nan, 5, exact_up_to=0)
