"""The greedy core: every selection of this package is a call of `greedy`.

Shape letters: N candidates of the pool, C terms of the score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from al_lightning.acquisition.threads import one_thread

Scope = Literal["pool", "remaining"]


def never_changes(position: int) -> None:
    """The update of a static term."""


class Term(NamedTuple):
    """One term of the score.

    Attributes:
        scores: (N,) raw scores before the first pick.
        update: told the position of each pick, returns the new raw scores (N,), or None from a term that never changes.
        weight: handed to the combination.
    """

    scores: Tensor
    update: Callable[[int], Tensor | None] = never_changes
    weight: float = 1.0


class Picks(NamedTuple):
    """What `greedy` picked, and the scores that made it so.

    The scores of a picked candidate are those at its own pick; the scores of the rest are those at the last pick.

    Attributes:
        picks: (budget,) int64 positions in the pool in pick order.
        raw: (C, N) float64 raw scores.
        normalized: (C, N) float64 normalized scores.
        combined: (N,) float64.
    """

    picks: Tensor
    raw: Tensor
    normalized: Tensor
    combined: Tensor


@one_thread()
def greedy(
    terms: Mapping[str, Term],
    budget: int,
    *,
    normalize: Callable[[Tensor], Tensor],
    combine: Callable[[Tensor, Tensor], Tensor],
    scope: Scope = "pool",
) -> Picks:
    """Pick the candidate with the largest combined score, update the terms, and so on; ties go to the lowest position.

    Args:
        terms: name -> term; the names appear in errors only.
        budget: number of picks, 1 to N.
        normalize: (n,) raw scores of n candidates -> (n,).
        combine: normalized terms (C, n) and weights (C,) -> (n,).
        scope: candidates over which a term is normalized. "pool": a static term once over the pool, a changing term
            after every pick over the candidates that remain. "remaining": every term after every pick over those.

    Raises:
        ValueError: the budget is out of range, the scope unknown, or a score not finite.
    """
    if scope not in get_args(Scope):
        raise ValueError(f"scope must be one of {', '.join(get_args(Scope))}, got {scope!r}")
    candidates = len(next(iter(terms.values())).scores)
    if not 1 <= budget <= candidates:
        raise ValueError(f"budget must be between 1 and the {candidates} candidates of the pool, got {budget}")
    raw = torch.stack([_checked(name, term.scores, candidates) for name, term in terms.items()])
    weights = torch.tensor([term.weight for term in terms.values()], dtype=torch.float64)
    normalized = torch.stack([normalize(scores) for scores in raw])
    combined = _checked("combined", combine(normalized, weights), candidates)
    remaining = torch.arange(candidates)
    picks = [int(combined.argmax())]  # argmax returns the first maximum
    while len(picks) < budget:
        remaining = remaining[remaining != picks[-1]]
        updates = {name: term.update(picks[-1]) for name, term in terms.items()}
        if scope == "pool" and all(update is None for update in updates.values()):
            order = combined[remaining].argsort(descending=True, stable=True)
            picks += remaining[order][: budget - len(picks)].tolist()
            break
        for i, (name, update) in enumerate(updates.items()):
            if update is not None:
                raw[i, remaining] = _checked(name, update, candidates)[remaining]
            if update is not None or scope == "remaining":
                normalized[i, remaining] = normalize(raw[i, remaining])
        scores = _checked("combined", combine(normalized[:, remaining], weights), len(remaining))
        combined[remaining] = scores
        picks.append(int(remaining[scores.argmax()]))  # `remaining` ascends: ties go to the lowest position
    return Picks(torch.tensor(picks), raw, normalized, combined)


def _checked(name: str, scores: Tensor, candidates: int) -> Tensor:
    scores = scores.detach().to(torch.float64)
    if scores.shape != (candidates,):
        raise ValueError(f"scores of '{name}' have shape {tuple(scores.shape)} for {candidates} candidates")
    if not bool(torch.isfinite(scores).all()):
        raise ValueError(f"scores of '{name}' are not finite")
    return scores
