import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from al_lightning.acquisition.functional import NearestPickedDivergence, jensen_shannon, min_jensen_shannon


def definition(p, q) -> float:
    """JSD in bits as the mean of two Kullback-Leibler divergences, summed exactly."""
    terms = []
    for a, b in zip(np.asarray(p).tolist(), np.asarray(q).tolist(), strict=True):
        mean = (a + b) / 2
        terms += [x / 2 * math.log2(x / mean) for x in (a, b) if x > 0]
    return math.fsum(terms)


@st.composite
def histograms(draw, count: int, classes: int = 5) -> Tensor:
    counts = draw(
        st.lists(
            st.lists(st.integers(0, 20), min_size=classes, max_size=classes).filter(any),
            min_size=count,
            max_size=count,
        )
    )
    counts = torch.tensor(counts, dtype=torch.float64)
    return counts / counts.sum(1, keepdim=True)


@settings(deadline=None)
@given(histograms(2))
def test_equals_the_definition_is_symmetric_and_bounded(pair):
    p, q = pair
    value = jensen_shannon(p, q)
    assert value.dtype == torch.float64
    assert value.shape == ()
    assert float(value) == pytest.approx(definition(p, q), abs=1e-14)
    assert float(value) == float(jensen_shannon(q, p))
    assert 0 <= float(value) <= 1


@settings(deadline=None)
@given(histograms(2))
def test_is_zero_only_for_equal_histograms(pair):
    p, q = pair
    assert float(jensen_shannon(p, p)) == 0
    assert (float(jensen_shannon(p, q)) == 0) == torch.equal(p, q)


@settings(deadline=None)
@given(histograms(3))
def test_square_root_is_a_metric(triple):
    distance = jensen_shannon(triple[:, None], triple[None]).sqrt()
    assert float(distance[0, 2]) <= float(distance[0, 1] + distance[1, 2]) + 1e-7


def test_one_hots_are_exact():
    assert torch.equal(jensen_shannon(torch.eye(18)[:, None], torch.eye(18)), 1 - torch.eye(18, dtype=torch.float64))


def test_closed_form():
    # JSD of (1, 0) and (1/2, 1/2): H(3/4, 1/4) - 1/2
    expected = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)) - 0.5
    assert float(jensen_shannon(torch.tensor([1.0, 0]), torch.tensor([0.5, 0.5]))) == pytest.approx(expected, abs=1e-15)


def test_broadcasts_leading_axes():
    generator = np.random.default_rng(0)
    p = torch.from_numpy(generator.dirichlet(np.ones(4), (3, 1, 2)))
    q = torch.from_numpy(generator.dirichlet(np.ones(4), (5, 2)))
    value = jensen_shannon(p, q)
    assert value.shape == (3, 5, 2)
    assert float(value[2, 4, 1]) == pytest.approx(definition(p[2, 0, 1], q[4, 1]), abs=1e-14)


def test_equal_histograms_give_zero_wherever_they_stand():
    # Position in a vector register must not show: 1,003 rows in every alignment, against a single row.
    row = torch.from_numpy(np.random.default_rng(1).dirichlet(np.full(18, 0.3)))
    rows = row.repeat(1003, 1)
    for start in range(8):
        assert float(jensen_shannon(rows[start:], row).max()) == 0
        assert float(jensen_shannon(row, rows[start:]).max()) == 0


@pytest.mark.parametrize(("n", "m"), [(1, 1), (7, 3), (70, 1500), (3, 2100), (300, 5)])
def test_minimum_over_tiles_equals_all_pairs(n, m):
    generator = np.random.default_rng(n * m)
    p, q = (torch.from_numpy(generator.dirichlet(np.full(6, 0.2), size)) for size in (n, m))
    p[0] = q[-1]
    nearest = min_jensen_shannon(p, q)
    assert torch.equal(nearest, jensen_shannon(p[:, None], q[None]).amin(1))
    assert float(nearest[0]) == 0
    for row in (0, n // 2, n - 1):
        assert float(nearest[row]) == pytest.approx(min(definition(p[row], other) for other in q), abs=1e-14)


def test_minimum_reaches_the_largest_divergence():
    labeled = torch.tensor([[0.5, 0.5, 0], [0, 1.0, 0]])
    assert min_jensen_shannon(torch.tensor([[0, 0, 1.0], [0, 1, 0]]), labeled).tolist() == [1, 0]


def test_nearest_picked_is_the_minimum_over_the_picks():
    q = torch.from_numpy(np.random.default_rng(2).dirichlet(np.full(6, 0.2), 20))
    nearest = NearestPickedDivergence(q)
    picks = [4, 17, 0]
    for count in range(1, 4):
        values = nearest.add(picks[count - 1])
        for row in range(20):
            expected = min(definition(q[row], q[pick]) for pick in picks[:count])
            assert float(values[row]) == pytest.approx(expected, abs=1e-14)


def test_refuses_what_is_no_histogram():
    good = torch.tensor([[0.5, 0.5]])
    for bad in ([[0.5, 0.6]], [[1.5, -0.5]], [[float("nan"), 1.0]], [[3.0, 1.0]]):
        for function in (jensen_shannon, min_jensen_shannon):
            with pytest.raises(ValueError, match=r"^p must hold class histograms"):
                function(torch.tensor(bad), good)
            with pytest.raises(ValueError, match=r"^q must hold class histograms"):
                function(good, torch.tensor(bad))
    with pytest.raises(ValueError, match="same number of classes"):
        jensen_shannon(good, torch.tensor([1.0]))
    with pytest.raises(ValueError, match="no labeled histogram"):
        min_jensen_shannon(good, torch.empty(0, 2))
    with pytest.raises(ValueError, match=r"\(N, K\)"):
        min_jensen_shannon(good[0], good)
