"""The value score Q: terms over their standard deviations, added up (planning paper).

Shape letters: N candidates, C terms.
"""

from __future__ import annotations

import torch
from torch import Tensor

from al_lightning.acquisition.functional.normalization import weighted_sum


def divide_by_deviation(scores: Tensor) -> Tensor:
    """Scores over their standard deviation (planning paper, the equation of Q in "Safety, Rarity, and Uncertainty").

    The deviation divides by N; N - 1 would scale all terms alike and change no order. The mean stays: it shifts all
    candidates alike. Equal scores, whose deviation is 0, become 0: they tell no candidate from another.

    Args:
        scores: (N,) float.

    Returns:
        (N,) float64.

    Raises:
        ValueError: there is no score, or scores (or their range) are not finite.
    """
    if scores.numel() == 0:
        raise ValueError("there is no score to divide by its deviation")
    scores = scores.double()
    low, high = torch.aminmax(scores)
    spread = high - low  # not finite if any score is not
    if not bool(torch.isfinite(spread)):
        raise ValueError("scores to divide by their deviation, or their range, are not finite")
    if spread == 0:
        return torch.zeros_like(scores)
    # Of the scores on [0, 1], so that neither squares underflow nor a large mean hides the deviation.
    deviation = ((scores - low) / spread).std(correction=0)
    return scores / spread / deviation


def value_score(terms: Tensor, weights: Tensor) -> Tensor:
    """Q_i = a_S S_i / sigma_S + a_R R_i / sigma_R + a_U U_i / sigma_U (planning paper).

    Args:
        terms: (C, N) raw terms.
        weights: (C,) a, not negative.

    Returns:
        (N,) float64.

    Raises:
        ValueError: shapes do not fit, a weight is negative, or values are not finite.
    """
    if terms.dim() != 2 or weights.shape != terms.shape[:1]:
        raise ValueError(f"terms (C, N) and weights (C,) needed, got {tuple(terms.shape)} and {tuple(weights.shape)}")
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError(f"weights must be finite and not negative, got {weights.tolist()}")
    return weighted_sum(torch.stack([divide_by_deviation(term) for term in terms]), weights.double())
