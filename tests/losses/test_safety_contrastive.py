"""The contrastive loss against a transcription in float64, its gradient, and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from al_lightning.losses import SafetyContrastive, safety_contrastive
from al_lightning.losses.safety_contrastive import safety_positives


def batch(seed, B=12, D=6, H=5):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(B, size, dtype=torch.float64, generator=generator) for size in (D, H))


def transcription(z, safety, temperature, percentile):
    """L_CL anchor by anchor in Python floats."""
    B = len(z)
    pairs = [math.dist(safety[i], safety[k]) for i in range(B) for k in range(i + 1, B)]
    delta = np.percentile(pairs, percentile)
    unit = [[value / math.hypot(*row) for value in row] for row in z]
    total, count = 0.0, 0
    for i in range(B):
        logits = {
            k: sum(a * b for a, b in zip(unit[i], unit[k], strict=True)) / temperature for k in range(B) if k != i
        }
        denominator = sum(math.exp(value) for value in logits.values())
        for p in logits:
            if math.dist(safety[i], safety[p]) <= delta * (1 + 1e-12):
                total -= math.log(math.exp(logits[p]) / denominator)
                count += 1
    return total / count


@settings(max_examples=60)
@given(seed=st.integers(0, 2**31), B=st.integers(2, 15), temperature=st.floats(0.05, 2), percentile=st.integers(0, 100))
def test_equals_the_transcription(seed, B, temperature, percentile):
    z, safety = batch(seed, B)
    expected = transcription(z.tolist(), safety.tolist(), temperature, percentile)
    assert safety_contrastive(z, safety, temperature, percentile).item() == pytest.approx(expected, rel=1e-9)


def test_gradient():
    z, safety = batch(0, B=7)
    assert torch.autograd.gradcheck(lambda z: safety_contrastive(z, safety, 0.3, 30.0), z.requires_grad_())


def test_no_gradient_flows_into_the_safety_states():
    z, safety = batch(0)
    safety_contrastive(z.requires_grad_(), safety.requires_grad_()).backward()
    assert safety.grad is None
    assert z.grad.abs().sum() > 0


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31))
def test_permutation_rotation_and_length_change_nothing(seed):
    z, safety = batch(seed)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(12, generator=generator)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=generator)).Q
    lengths = torch.rand(12, 1, dtype=torch.float64, generator=generator) + 0.5
    plain = safety_contrastive(z, safety)
    torch.testing.assert_close(safety_contrastive(z[order], safety[order]), plain)
    torch.testing.assert_close(safety_contrastive(lengths * z @ rotation, safety), plain)


@given(seed=st.integers(0, 2**31), percentile=st.sampled_from([5.0, 10.0, 25.0, 50.0]))
def test_positives_are_symmetric_without_self_and_as_many_as_asked(seed, percentile):
    _, safety = batch(seed, B=41)
    positive = safety_positives(safety, percentile)
    assert torch.equal(positive, positive.T)
    assert not positive.diagonal().any()
    pairs = 41 * 40 // 2
    assert positive.sum() // 2 == math.floor((pairs - 1) * percentile / 100) + 1


@given(seed=st.integers(0, 2**31))
def test_moving_all_safety_states_alike_keeps_the_positives(seed):
    _, safety = batch(seed)
    before = safety_positives(safety)
    distance = torch.pdist(safety).sort().values
    assume(distance.diff().min() > 1e-6)
    assert torch.equal(safety_positives(2 * safety + 1), before)


def test_equal_states_are_all_positive():
    safety = torch.tensor([[0.0], [0], [0], [0], [1.0]])
    assert safety_positives(safety, 10.0)[:4, :4].sum() == 12
    assert not safety_positives(safety, 10.0)[4].any()


def test_anchors_without_positives_are_skipped_but_repelled():
    """Scenes 0 and 1 are the one positive pair: two terms, each over all others."""
    angles = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
    z = torch.stack([angles.cos(), angles.sin()], dim=1)
    safety = torch.tensor([[0.0], [0.1], [1.0]])
    tau = 0.5
    terms = [
        math.log(1 + math.exp((math.cos(2.0) - math.cos(0.5)) / tau)),
        math.log(1 + math.exp((math.cos(1.5) - math.cos(0.5)) / tau)),
    ]
    assert safety_contrastive(z, safety, tau).item() == pytest.approx(sum(terms) / 2)


def test_all_positive_and_all_equal_is_the_logarithm_of_the_others():
    z, safety = torch.ones(6, 4), torch.zeros(6, 5)
    assert safety_contrastive(z, safety).item() == pytest.approx(math.log(5), rel=1e-6)


def test_a_single_scene_has_loss_zero_with_a_gradient():
    z = torch.ones(1, 4, requires_grad=True)
    loss = SafetyContrastive()(z, torch.ones(1, 5))
    loss.backward()
    assert loss == 0
    assert not z.grad.any()


def test_kept_positives_are_those_of_the_batch():
    """Other values, types and numbers of states in turn, and the same again: always the functional form's loss."""
    module = SafetyContrastive()
    z, safety = batch(0)
    _, other = batch(1)
    for states in (safety, safety.clone(), other, safety.float(), safety[:5], safety):
        assert module(z[: len(states)], states) == safety_contrastive(z[: len(states)], states)
    safety[:] = other
    assert module(z, safety) == safety_contrastive(z, other)


def test_descent_brings_scenes_of_like_safety_together():
    """Two groups of safety end as two points of the circle."""
    z = torch.randn(12, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    group = torch.arange(12) % 2
    optimizer = torch.optim.Adam([z], lr=0.05)
    for _ in range(300):
        loss = safety_contrastive(z, group[:, None].float(), temperature=1.0, percentile=40.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unit = torch.nn.functional.normalize(z.detach(), dim=1)
    cosine = unit @ unit.T
    same = group[:, None] == group
    assert cosine[same].min() > 0.95
    assert cosine[~same].max() < -0.9


def test_wrong_input_is_refused():
    z, safety = batch(0)
    with pytest.raises(ValueError, match="needed"):
        safety_contrastive(z, safety[:5])
    with pytest.raises(ValueError, match="needed"):
        safety_contrastive(z[:0], safety[:0])
    with pytest.raises(ValueError, match="not finite"):
        safety_contrastive(z, safety * torch.nan)
    with pytest.raises(ValueError, match="temperature"):
        SafetyContrastive(temperature=0.0)
    with pytest.raises(ValueError, match="percentile"):
        SafetyContrastive(percentile=101.0)
