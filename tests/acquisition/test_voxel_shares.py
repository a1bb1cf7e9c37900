import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from al_lightning.acquisition.functional import uncertainty_shares, voxel_statistics


def test_it_is_the_printed_formula_voxel_by_voxel() -> None:
    logits = torch.randn(1, 3, 2, 2, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.tensor([[True, True], [False, True]])[None, ..., None]
    p = logits.softmax(1)[0]
    seen = [(x, y) for x in (0, 1) for y in (0, 1) if mask[0, x, y, 0]]
    counts = [sum(int(p[:, x, y, 0].argmax()) == c for x, y in seen) for c in range(3)]
    weights = [1 / (count / 3 + 1e-6) for count in counts]
    weights = [weight / sum(weights) for weight in weights]
    shares = uncertainty_shares(logits, mask)
    for x in (0, 1):
        for y in (0, 1):
            terms = [-weights[c] * float(p[c, x, y, 0]) * math.log(p[c, x, y, 0]) / 3 for c in range(3)]
            expected = sum(terms) if mask[0, x, y, 0] else 0.0
            assert float(shares.voxels[0, x, y, 0]) == pytest.approx(expected, rel=1e-6)
    for c in range(3):
        expected = sum(-weights[c] * float(p[c, x, y, 0]) * math.log(p[c, x, y, 0]) / 3 for x, y in seen)
        assert float(shares.classes[0, c]) == pytest.approx(expected, rel=1e-6)


@given(seed=st.integers(0, 1000), masked=st.booleans(), without=st.sampled_from([None, 3]))
def test_both_sum_up_to_the_criterion(seed: int, masked: bool, without: int | None) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 5, 3, 4, 2, generator=generator)
    mask = torch.rand(2, 3, 4, 2, generator=generator) < 0.6 if masked else None
    if mask is not None:
        mask[:, 0, 0, 0] = True
    expected = voxel_statistics(logits, mask, without=without).frequency_weighted_entropy
    shares = uncertainty_shares(logits, mask, without=without)
    torch.testing.assert_close(shares.voxels.flatten(1).sum(1), expected)
    torch.testing.assert_close(shares.classes.sum(1), expected)
    assert without is None or bool((shares.classes[:, without] == 0).all())
    if mask is not None:
        assert bool((shares.voxels[~mask] == 0).all())
