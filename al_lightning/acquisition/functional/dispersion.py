"""How far stochastic embeddings scatter (planning paper, U).

Shape letters: S stochastic passes, N scenes, D size of an embedding.
"""

from __future__ import annotations

from torch import Tensor


def dispersion(z_samples: Tensor) -> Tensor:
    """U_i = trace of the covariance of the stochastic embeddings of a scene, unbiased (divided by S - 1).

    Args:
        z_samples: (S, N, D), S > 1.

    Returns:
        (N,) float64, not negative.

    Raises:
        ValueError: shapes do not fit, there is only one pass, or values are not finite.
    """
    if z_samples.dim() != 3 or len(z_samples) < 2:
        raise ValueError(f"two or more passes (S, N, D) are needed for a dispersion, got {tuple(z_samples.shape)}")
    if not bool(z_samples.isfinite().all()):
        raise ValueError("embeddings must be finite")
    return z_samples.detach().double().var(dim=0).sum(-1)
