"""Class-distribution guided selection as one function (occupancy paper, Sec. III).

Shape letters: N candidates, M labeled, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from al_lightning.acquisition.functional.nearest_divergence import PickedDivergence, nearest_divergence
from al_lightning.acquisition.functional.normalization import l2_norm, min_max_affine, robust_min_max
from al_lightning.acquisition.fused_selection import Fusion
from al_lightning.acquisition.selection import Scope, Term, greedy


def select_class_distribution(
    pool_histogram: Tensor,
    labeled_histogram: Tensor,
    uncertainty: Tensor,
    budget: int,
    *,
    terms: Sequence[str] = ("inter", "intra", "uncertainty"),
    scope: Scope = "pool",
) -> Tensor:
    """Pick the candidates with the largest combined acquisition score, one after the other (Eq. 8).

    The score is the L2 norm of D_inter (Eq. 2), D_intra (Eq. 3, 0 at the first pick) and U_fw (Eq. 7), each put on
    [0, 1] by `robust_min_max`. Ties go to the lowest row.

    Args:
        pool_histogram: (N, K) class histograms of the candidates.
        labeled_histogram: (M, K) class histograms of the labeled set, M > 0.
        uncertainty: (N,) frequency-weighted uncertainty of the candidates.
        budget: number of picks, 1 to N.
        terms: which of "inter", "intra" and "uncertainty" make up the score.
        scope: what the terms are normalized over. "pool": D_inter and U_fw once over the pool of the cycle, D_intra at
            every pick over the candidates that remain; "remaining": all three at every pick over those that remain.

    Returns:
        (budget,) int64 rows of the pool in pick order.

    Raises:
        ValueError: shapes do not fit, the labeled set is empty, a histogram is negative or does not sum to 1, an
            uncertainty is not finite, the budget is out of range, or terms or scope are unknown.
    """
    if len(labeled_histogram) == 0:
        raise ValueError("labeled_histogram is empty: the score needs a labeled set")
    if uncertainty.shape != pool_histogram.shape[:1]:
        raise ValueError(
            f"uncertainty {tuple(uncertainty.shape)} does not fit pool_histogram {tuple(pool_histogram.shape)}"
        )
    available: dict[str, Callable[[], Term]] = {
        "inter": lambda: Term(nearest_divergence(pool_histogram, labeled_histogram)),
        "intra": lambda: Term(
            torch.zeros(len(pool_histogram), dtype=torch.float64), PickedDivergence(pool_histogram).add
        ),
        "uncertainty": lambda: Term(uncertainty),
    }
    if not terms or len(set(terms)) < len(terms) or not set(terms) <= set(available):
        raise ValueError(f"terms must be different names out of {', '.join(available)}, got {terms!r}")
    chosen = {name: available[name]() for name in available if name in terms}
    fusion = Fusion(min_max_affine, power=2)
    return greedy(chosen, budget, normalize=robust_min_max, combine=l2_norm, scope=scope, fusion=fusion).picks
