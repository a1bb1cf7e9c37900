import numpy as np
import pytest
import torch

from al_lightning.acquisition import Acquisition, Identity, KCenter, WeightedSum
from al_lightning.types import Summary


def k_center(pool: torch.Tensor, labeled: torch.Tensor, budget: int) -> list[int]:
    acquisition = Acquisition({"distance": KCenter()}, normalizer=Identity(), combiner=WeightedSum())
    summaries = (Summary(torch.arange(len(x)), {"embedding": x}) for x in (pool, labeled))
    return acquisition.select(*summaries, budget, torch.Generator()).units.tolist()


def brute_force(pool: np.ndarray, labeled: np.ndarray, budget: int) -> list[int]:
    centers, picks = list(labeled), []
    for _ in range(budget):
        nearest = [
            -1.0 if row in picks else min(float(((x - center) ** 2).sum()) for center in centers)
            for row, x in enumerate(pool)
        ]
        picks.append(int(np.argmax(nearest)))
        centers.append(pool[picks[-1]])
    return picks


@pytest.mark.parametrize(("n", "m", "d"), [(40, 1, 2), (60, 9, 33), (30, 3, 1), (25, 5, 200)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_brute_force(n, m, d, dtype):
    generator = np.random.default_rng(n + d)
    pool, labeled = (generator.standard_normal((size, d)).astype(dtype) for size in (n, m))
    picks = k_center(torch.from_numpy(pool), torch.from_numpy(labeled), n // 2)
    assert picks == brute_force(pool.astype(np.float64), labeled.astype(np.float64), n // 2)


def test_ties_and_duplicates_go_to_the_lowest_row():
    # A grid of integers, every point three times: distances tie everywhere, and in the end all of them are 0.
    points = np.array([[x, y] for x in range(4) for y in range(3)], dtype=np.float64)
    pool = np.random.default_rng(0).permutation(np.repeat(points, 3, axis=0))
    labeled = np.array([[1.0, 1.0]])
    picks = k_center(torch.from_numpy(pool), torch.from_numpy(labeled), len(pool))
    assert picks == brute_force(pool, labeled, len(pool))
    assert sorted(picks) == list(range(len(pool)))
    assert picks[11:] == sorted(picks[11:])  # 11 points are not the labeled one; what is left has distance 0


def test_far_from_the_origin_differences_do_not_cancel():
    generator = np.random.default_rng(1)
    pool, labeled = (1e6 + 1e-3 * generator.standard_normal((size, 16)) for size in (40, 30))
    assert k_center(torch.from_numpy(pool), torch.from_numpy(labeled), 20) == brute_force(pool, labeled, 20)


def test_refusals():
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="no labeled embedding"):
        k_center(x, x[:0], 1)
    with pytest.raises(ValueError, match=r"\(N, D\) and \(M, D\)"):
        k_center(x, x[:, :1], 1)
    with pytest.raises(ValueError, match="finite"):
        k_center(x * float("nan"), x, 1)
    for budget in (0, 4):
        with pytest.raises(ValueError, match="budget must be between 1 and the 3 candidates"):
            k_center(x, x, budget)
