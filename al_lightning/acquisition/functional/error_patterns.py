"""How a scene is planned wrongly: the representative error pattern (planning paper, Eq. 2).

Shape letters: T reference steps (keyframes) of a scene, P planned steps, H steps of the look-ahead window, H <= P.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class RepresentativeError(NamedTuple):
    """The window of a scene that deviates most.

    Attributes:
        reference_step: (...) int64 t*, position of the keyframe among the T.
        error: (..., H, 2) float64, the weighted deviations e_i from t* + 1 to t* + H, metres.
    """

    reference_step: Tensor
    error: Tensor


def representative_error(
    plan: Tensor, truth: Tensor, horizon: int = 5, weights: Tensor | None = None, valid: Tensor | None = None
) -> RepresentativeError:
    """Find the keyframe t* whose planned window deviates most, and its error pattern (Eq. 2).

    e(t + d) = plan(t, d) - truth(t, d);  D(t) = sqrt(sum over d = 1..H of a_d |e(t + d)|^2);  t* = argmax D(t);
    e_i = [a_1 e(t* + 1), ..., a_H e(t* + H)]. Note that D weights the squares and the pattern the deviations, both with
    a_d. Ties go to the earliest keyframe.

    Plans with leading dimensions, such as stochastic passes, each find their own t*.

    Args:
        plan: (..., T, P, 2) planned positions, metres in the frame of each keyframe.
        truth: (..., T, P, 2) driven positions in the same frames; its leading dimensions may be fewer.
        horizon: H, steps that are looked ahead.
        weights: (H,) a_d, not negative; None for 1.
        valid: (T, P) or (T,) bool, the steps (keyframes) whose future is known; a keyframe counts if the first H steps
            are. None for all. Where it is false, plan and truth may hold anything.

    Raises:
        ValueError: shapes do not fit, a weight is negative or not finite, no keyframe counts, or one that does is not
            finite.
    """
    if plan.dim() < 3 or plan.shape[-1] != 2 or plan.shape[-3:] != truth.shape[-3:]:
        raise ValueError(f"plan and truth must be (..., T, P, 2), got {tuple(plan.shape)} and {tuple(truth.shape)}")
    frames, steps = plan.shape[-3:-1]
    if not 1 <= horizon <= steps:
        raise ValueError(f"horizon must be between 1 and the {steps} planned steps, got {horizon}")
    factor = window_weights(weights, horizon).to(plan.device)
    counted = _counted(valid, frames, steps, horizon).to(plan.device)
    deviation = (plan[..., :horizon, :].double() - truth[..., :horizon, :].double())[..., counted, :, :]
    if not bool(deviation.isfinite().all()):
        raise ValueError("plan or truth is not finite at a keyframe that counts")
    magnitude = (factor * deviation.square().sum(-1)).sum(-1).sqrt()
    position = magnitude.argmax(-1)  # argmax returns the first maximum
    window = deviation.take_along_dim(position[..., None, None, None], dim=-3).squeeze(-3)
    return RepresentativeError(counted.nonzero().squeeze(1)[position], factor[:, None] * window)


def window_weights(weights: Tensor | None, horizon: int, name: str = "weights") -> Tensor:
    """Weights (H,) float64 of the steps of a window; ones for None. Errors call them by the name.

    Raises:
        ValueError: there are not H weights, or one is negative or not finite.
    """
    if weights is None:
        return torch.ones(horizon, dtype=torch.float64)
    if weights.shape != (horizon,) or not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError(f"{name} must be {horizon} finite numbers that are not negative, got {weights.tolist()}")
    return weights.double()


def _counted(valid: Tensor | None, frames: int, steps: int, horizon: int) -> Tensor:
    """Keyframes (T,) bool whose window is known."""
    if valid is None:
        return torch.ones(frames, dtype=torch.bool)
    if valid.shape not in {(frames,), (frames, steps)}:
        raise ValueError(f"valid must be ({frames},) or ({frames}, {steps}), got {tuple(valid.shape)}")
    counted = valid.bool() if valid.dim() == 1 else valid[:, :horizon].bool().all(1)
    if not bool(counted.any()):
        raise ValueError(f"no keyframe of the scene has {horizon} valid future steps")
    return counted
