import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from al_lightning.acquisition.functional import l2_norm, robust_min_max, weighted_sum

scores = st.lists(st.integers(-1000, 1000), min_size=1, max_size=60).map(lambda v: np.array(v, dtype=np.float64))


@settings(deadline=None)
@given(scores)
def test_equals_the_literal_definition_where_the_iqr_is_not_zero(x):
    low, high = np.percentile(x, [25, 75])
    assume(high > low)
    robust = (x - np.median(x)) / (high - low)
    expected = (robust - robust.min()) / (robust.max() - robust.min())
    np.testing.assert_allclose(robust_min_max(torch.from_numpy(x)).numpy(), expected, rtol=0, atol=1e-13)


@settings(deadline=None)
@given(scores, st.floats(0.01, 100), st.floats(-100, 100))
def test_is_invariant_under_increasing_affine_maps(x, scale, shift):
    one, other = robust_min_max(torch.from_numpy(x)), robust_min_max(torch.from_numpy(scale * x + shift))
    assume(x.min() < x.max())
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@settings(deadline=None)
@given(scores)
def test_spans_zero_to_one_in_order(x):
    values = robust_min_max(torch.from_numpy(x)).numpy()
    assert values.dtype == np.float64
    assert values.min() == 0
    assert values.max() == (1 if x.min() < x.max() else 0)
    assert (np.argsort(values, kind="stable") == np.argsort(x, kind="stable")).all()


def test_degenerate_cases():
    assert robust_min_max(torch.tensor([3.0, 3.0, 3.0])).tolist() == [0, 0, 0]
    assert robust_min_max(torch.tensor([7.0])).tolist() == [0]
    assert robust_min_max(torch.tensor([1.0, 1, 1, 1, 1, 1, 3, 2])).tolist() == [0, 0, 0, 0, 0, 0, 1, 0.5]  # IQR 0
    assert robust_min_max(torch.tensor([5e-324, 0], dtype=torch.float64)).tolist() == [1, 0]


@pytest.mark.parametrize("bad", [[1.0, float("nan")], [1.0, float("inf")], [float("inf")] * 2, [1e308, -1e308]])
def test_refuses_what_is_not_finite(bad):
    with pytest.raises(ValueError, match="not finite"):
        robust_min_max(torch.tensor(bad, dtype=torch.float64))


def test_refuses_nothing_to_normalize():
    with pytest.raises(ValueError, match="no score"):
        robust_min_max(torch.empty(0))


def test_weights_multiply_the_terms_before_the_combination():
    terms = torch.tensor([[1.0, 0, 0.5], [0.25, 1, 0.5]], dtype=torch.float64)
    weights = torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert weighted_sum(terms, weights).tolist() == [4.0, 4.0, 3.5]
    expected = np.linalg.norm((terms * weights[:, None]).numpy(), axis=0)
    np.testing.assert_allclose(l2_norm(terms, weights).numpy(), expected, rtol=1e-15)


def test_a_length_is_the_nearest_float64():
    """As compiled passes find it: they pick by it, and the scores that are reported are these."""
    terms = torch.rand(1, 10_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lengths = l2_norm(terms.sqrt(), torch.ones(1, dtype=torch.float64)).tolist()
    assert lengths == [math.sqrt(x * x) for x in terms.sqrt()[0].tolist()]
