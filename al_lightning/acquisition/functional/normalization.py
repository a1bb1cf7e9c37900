"""Putting scores on one scale and combining them (occupancy paper, Sec. III-D; planning paper, Q).

Shape letters: N candidates, C criteria.

As in `divergence`, equal candidates get equal numbers wherever they stand: sums over C run in order.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def robust_min_max(scores: Tensor) -> Tensor:
    """Subtract the median, divide by the interquartile range (IQR), then scale min-max to [0, 1] (Sec. III-D).

    The first two steps are an increasing affine map, which min-max undoes: wherever the IQR is not 0, the three steps
    equal plain min-max, and that is what is computed. Where the definition is silent: IQR 0 with values that differ
    gives plain min-max too (the limit of the definition as the IQR goes to 0), all values equal give 0.

    Args:
        scores: (N,) float.

    Returns:
        (N,) float64 in [0, 1].

    Raises:
        ValueError: there is no score, or scores (or their range) are not finite.
    """
    if scores.numel() == 0:
        raise ValueError("there is no score to normalize")
    scores = scores.to(torch.float64)
    shift, spread = min_max_affine(*(float(extreme) for extreme in torch.aminmax(scores)))
    return (scores - shift) / spread


def min_max_affine(low: float, high: float) -> tuple[float, float]:
    """Shift and spread with which (score - shift) / spread is `robust_min_max`.

    Args:
        low: smallest score.
        high: largest score.

    Returns:
        The spread is infinite where all scores are equal, which makes them 0.

    Raises:
        ValueError: scores (or their range) are not finite.
    """
    spread = high - low  # not finite if any score is not
    if not math.isfinite(spread):
        raise ValueError("scores to normalize, or their range, are not finite")
    return low, spread or math.inf


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


def l2_norm(terms: Tensor, weights: Tensor) -> Tensor:
    """Length of the vector of weighted terms, CAS (Eq. 8).

    Args:
        terms: (C, N) normalized scores, on the CPU and without gradient.
        weights: (C,) factor of each term.

    Returns:
        (N,).
    """
    # PyTorch's square root may be off by the last bit: then another unit would be first than in the compiled passes.
    return torch.from_numpy(np.sqrt(weighted_sum(terms.square(), weights.square()).numpy()))


def weighted_sum(terms: Tensor, weights: Tensor) -> Tensor:
    """Sum of the weighted terms.

    Args:
        terms: (C, N) normalized scores.
        weights: (C,) factor of each term.

    Returns:
        (N,).
    """
    total = torch.zeros_like(terms[0])
    for term, weight in zip(terms, weights, strict=True):
        total += weight * term
    return total
