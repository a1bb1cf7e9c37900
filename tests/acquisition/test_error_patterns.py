"""The representative error pattern against a transcription of the paper, and its symmetries."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from al_lightning.acquisition.functional import representative_error


def transcription(plan, truth, horizon, weights, counted):
    """Eq. 2, step by step in Python floats."""
    best, reference = -1.0, None
    for t in range(len(plan)):
        if not counted[t]:
            continue
        total = 0.0
        for d in range(horizon):
            x, y = (float(plan[t, d, axis]) - float(truth[t, d, axis]) for axis in range(2))
            total += float(weights[d]) * (x * x + y * y)
        if math.sqrt(total) > best:
            best, reference = math.sqrt(total), t
    error = [
        [float(weights[d]) * (float(plan[reference, d, axis]) - float(truth[reference, d, axis])) for axis in range(2)]
        for d in range(horizon)
    ]
    return reference, error


def scene(seed, T=9, P=6):
    generator = torch.Generator().manual_seed(seed)
    plan, truth = (torch.randn(T, P, 2, dtype=torch.float64, generator=generator).cumsum(1) for _ in range(2))
    return plan, truth, torch.rand(T, P, generator=generator) < 0.9, generator


@settings(max_examples=60)
@given(seed=st.integers(0, 2**31), horizon=st.integers(1, 6), weighted=st.booleans())
def test_equals_the_transcription(seed, horizon, weighted):
    plan, truth, valid, generator = scene(seed)
    weights = torch.rand(horizon, dtype=torch.float64, generator=generator) if weighted else None
    counted = valid[:, :horizon].all(1)
    if not counted.any():
        valid[4], counted[4] = True, True
    reference, error = representative_error(plan, truth, horizon, weights, valid)
    expected = transcription(plan, truth, horizon, torch.ones(horizon) if weights is None else weights, counted)
    assert int(reference) == expected[0]
    torch.testing.assert_close(error, torch.tensor(expected[1], dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_weights_enter_the_pattern_as_they_are_and_the_magnitude_under_the_root():
    """One keyframe errs early by 3 m, the other late by 2 m: D is sqrt(a) times the error, not a times."""
    plan = torch.zeros(2, 2, 2)
    plan[0, 0, 0], plan[1, 1, 1] = 3.0, 2.0
    truth = torch.zeros_like(plan)
    late = representative_error(plan, truth, 2, torch.tensor([1.0, 2.3]))  # 3 < 2 sqrt(2.3) = 3.03
    assert late.reference_step == 1
    assert late.error.tolist() == [[0, 0], [0, pytest.approx(4.6)]]
    early = representative_error(plan, truth, 2, torch.tensor([1.0, 2.2]))  # 3 > 2 sqrt(2.2) = 2.97
    assert early.reference_step == 0
    assert early.error.tolist() == [[3, 0], [0, 0]]


def test_ties_go_to_the_earliest_keyframe_that_counts():
    plan, truth = torch.ones(5, 6, 2), torch.zeros(5, 6, 2)
    assert representative_error(plan, truth).reference_step == 0
    valid = torch.tensor([0, 0, 1, 1, 0], dtype=torch.bool)
    assert representative_error(plan, truth, valid=valid).reference_step == 2


def test_only_steps_inside_the_window_have_to_be_valid():
    plan, truth, *_ = scene(0)
    valid = torch.ones(9, 6, dtype=torch.bool)
    valid[:, 5] = False
    masked = plan.clone()
    masked[:, 5] = torch.nan
    assert torch.equal(
        representative_error(masked, truth, 5, valid=valid).error, representative_error(plan, truth, 5).error
    )
    with pytest.raises(ValueError, match="no keyframe"):
        representative_error(plan, truth, 6, valid=valid)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), angle=st.floats(-4, 4))
def test_rotation_turns_the_pattern_and_keeps_the_keyframe(seed, angle):
    plan, truth, *_ = scene(seed)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    straight = representative_error(plan, truth)
    turned = representative_error(plan @ turn.T, truth @ turn.T)
    assert turned.reference_step == straight.reference_step
    torch.testing.assert_close(turned.error, straight.error @ turn.T, rtol=0, atol=1e-12)


def test_stochastic_passes_find_their_own_keyframes():
    plan, truth, valid, generator = scene(1)
    valid[3] = True
    passes = plan + torch.randn(7, *plan.shape, dtype=torch.float64, generator=generator)
    together = representative_error(passes, truth, valid=valid)
    alone = [representative_error(one, truth, valid=valid) for one in passes]
    assert together.reference_step.tolist() == [int(one.reference_step) for one in alone]
    assert len(set(together.reference_step.tolist())) > 1
    assert torch.equal(together.error, torch.stack([one.error for one in alone]))


def test_wrong_input_is_refused():
    plan, truth, *_ = scene(0)
    with pytest.raises(ValueError, match="horizon"):
        representative_error(plan, truth, 7)
    with pytest.raises(ValueError, match="weights"):
        representative_error(plan, truth, 5, torch.tensor([1.0, 1, 1, 1, -1]))
    with pytest.raises(ValueError, match="weights"):
        representative_error(plan, truth, 5, torch.ones(4))
    with pytest.raises(ValueError, match="valid"):
        representative_error(plan, truth, 5, valid=torch.ones(8, dtype=torch.bool))
    with pytest.raises(ValueError, match="plan and truth"):
        representative_error(plan, truth[:4])
    with pytest.raises(ValueError, match="not finite"):
        representative_error(plan * torch.nan, truth)
