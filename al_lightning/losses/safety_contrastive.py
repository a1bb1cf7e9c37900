"""Supervised contrastive loss that draws scenes of like safety together (planning paper, "Scene Encoder").

Shape letters: B scenes of a batch, H steps of the safety state, D size of an embedding.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def safety_positives(safety: Tensor, percentile: float = 10.0) -> Tensor:
    """Pairs of scenes of like safety: d(i, k) = |s_i - s_k| <= delta and i != k.

    delta is the percentile of the distances of all pairs of the batch, so that about that share of them is positive
    (appendix A.2); between two distances it is interpolated. There is always a positive pair; where many states are
    equal, there are more than the percentile says. A single scene has none.

    Args:
        safety: (B, H) safety states s (Eq. 3).
        percentile: of the pairwise distances, 0 to 100.

    Returns:
        (B, B) bool, symmetric.
    """
    if len(safety) == 1:
        return torch.zeros(1, 1, dtype=torch.bool, device=safety.device)
    states = safety.detach().double()
    distance = torch.cdist(states, states, compute_mode="donot_use_mm_for_euclid_dist")
    upper = torch.triu(torch.ones_like(distance, dtype=torch.bool), diagonal=1)
    positive = (distance <= _percentile(distance[upper], percentile)) & upper
    return positive | positive.T


def _percentile(values: Tensor, percentile: float) -> Tensor:
    """Linear interpolation between order statistics; `torch.quantile` takes no more than 2^24 values."""
    rank = (len(values) - 1) * percentile / 100
    ordered = values.sort().values
    low, high = ordered[math.floor(rank)], ordered[math.ceil(rank)]
    return torch.lerp(low, high, rank - math.floor(rank))


def safety_contrastive(z: Tensor, safety: Tensor, temperature: float = 0.07, percentile: float = 10.0) -> Tensor:
    """L_CL = 1 / sum_i |P(i)| * sum_i sum_{p in P(i)} -log(exp(l_ip) / sum_{k != i} exp(l_ik)).

    l_ik = <z_i, z_k> / tau_c, where the z are brought to length 1 first. The mean runs over positive pairs
    (`safety_positives`), not over anchors; an anchor without positives adds nothing. A single scene has loss 0.

    Args:
        z: (B, D) embeddings.
        safety: (B, H) safety states; constants, no gradient flows into them.
        temperature: tau_c.
        percentile: of the pairwise distances of safety states within the batch, below which a pair is positive.

    Returns:
        The loss, a scalar.

    Raises:
        ValueError: shapes do not fit, safety is not finite, or temperature or percentile is out of range.
    """
    _check(temperature, percentile)
    _check_batch(z, safety)
    return _contrast(z, safety_positives(safety, percentile), temperature)


def _contrast(z: Tensor, positive: Tensor, temperature: float) -> Tensor:
    if len(z) == 1:
        return z.sum() * 0
    unit = F.normalize(z, dim=1)
    self_pair = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits = (unit @ unit.T / temperature).masked_fill(self_pair, -torch.inf)
    return -logits.log_softmax(dim=1)[positive].mean()


def _check(temperature: float, percentile: float) -> None:
    if not (0 < temperature < math.inf and 0 <= percentile <= 100):
        raise ValueError(f"temperature must be positive and percentile 0 to 100, got {temperature} and {percentile}")


def _check_batch(z: Tensor, safety: Tensor) -> None:
    if z.dim() != 2 or safety.dim() != 2 or len(z) != len(safety) or len(z) == 0:
        raise ValueError(
            f"z (B, D) and safety (B, H) with B > 0 needed, got {tuple(z.shape)} and {tuple(safety.shape)}"
        )
    if not bool(safety.isfinite().all()):
        raise ValueError("safety is not finite")


class SafetyContrastive(nn.Module):
    """`safety_contrastive` with its constants; the defaults are the paper's (appendix A.2).

    Args:
        temperature: tau_c.
        percentile: of the pairwise distances of safety states, below which a pair is positive.

    Raises:
        ValueError: the temperature is not positive, or the percentile lies outside 0 to 100.
    """

    def __init__(self, temperature: float = 0.07, percentile: float = 10.0) -> None:
        super().__init__()
        _check(temperature, percentile)
        self.temperature, self.percentile = temperature, percentile
        self._safety, self._positive = torch.empty(0, 0), torch.empty(0, 0, dtype=torch.bool)

    def forward(self, z: Tensor, safety: Tensor) -> Tensor:
        """Embeddings (B, D) and safety states (B, H) to a scalar.

        The positive pairs of the last states are kept: where one batch holds all scenes they are those of every step.
        """
        _check(self.temperature, self.percentile)
        _check_batch(z, safety)
        known = self._safety
        if (safety.dtype, safety.device) != (known.dtype, known.device) or not torch.equal(safety, known):
            self._safety, self._positive = safety.detach().clone(), safety_positives(safety, self.percentile)
        return _contrast(z, self._positive, self.temperature)
