"""The greedy core: every selection of this package is a call of `greedy`.

Shape letters: N candidates of the pool, C terms of the score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from al_lightning.acquisition.fused_selection import FusedScores, Fusion
from al_lightning.acquisition.lazy_selection import Falling, LazyScores
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
        falling: where the raw scores only fall as picks are made, what can tell those of some candidates alone.
    """

    scores: Tensor
    update: Callable[[int], Tensor | None] = never_changes
    weight: float = 1.0
    falling: Falling | None = None


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
    fusion: Fusion | None = None,
) -> Picks:
    """Pick the candidate with the largest combined score, update the terms, and so on; ties go to the lowest position.

    Args:
        terms: name -> term; the names appear in errors only.
        budget: number of picks, 1 to N.
        normalize: (n,) raw scores of n candidates -> (n,).
        combine: normalized terms (C, n) and weights (C,) -> (n,).
        scope: candidates over which a term is normalized. "pool": a static term once over the pool, a changing term
            after every pick over the candidates that remain. "remaining": every term after every pick over those.
        fusion: what ``normalize`` and ``combine`` compute, where that is known: the same picks and scores bit for bit,
            sooner.

    Raises:
        ValueError: the budget is out of range, the scope unknown, or a score not finite.
    """
    if scope not in get_args(Scope):
        raise ValueError(f"scope must be one of {', '.join(get_args(Scope))}, got {scope!r}")
    candidates = len(next(iter(terms.values())).scores)
    check_budget(budget, candidates)
    raw = torch.stack([_checked(name, term.scores, candidates) for name, term in terms.items()])
    falling = next(iter(terms.values())).falling if len(terms) == 1 else None
    if fusion is not None and fusion.affine is None and falling is not None:
        return _lazy(terms, raw, budget, combine, falling, fusion.power)
    if fusion is not None:
        return _fused(terms, raw, budget, normalize, combine, scope, fusion)
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


def check_budget(budget: int, candidates: int) -> None:
    """Refuse a number of picks that is not 1 to the number of candidates.

    Raises:
        ValueError: see above.
    """
    if not 1 <= budget <= candidates:
        raise ValueError(f"budget must be between 1 and the {candidates} candidates of the pool, got {budget}")


def _fused(
    terms: Mapping[str, Term],
    raw: Tensor,
    budget: int,
    normalize: Callable[[Tensor], Tensor],
    combine: Callable[[Tensor, Tensor], Tensor],
    scope: Scope,
    fusion: Fusion,
) -> Picks:
    weights = torch.tensor([term.weight for term in terms.values()], dtype=torch.float64)
    scores = FusedScores(dict(zip(terms, raw.numpy(), strict=True)), weights.numpy(), fusion)
    picks = [scores.pick()]
    while len(picks) < budget:
        updates = [term.update(picks[-1]) for term in terms.values()]
        if scope == "pool" and all(update is None for update in updates):
            return greedy(terms, budget, normalize=normalize, combine=combine)  # one sort
        for i, update in enumerate(updates):
            if update is not None:
                scores.change(i, update)
            elif scope == "remaining":
                scores.normalize_again(i)
        picks.append(scores.pick())
    raw_scores, normalized = (torch.from_numpy(values) for values in scores.result())
    combined = _checked("combined", combine(normalized, weights), raw.shape[1])
    return Picks(torch.tensor(picks), raw_scores, normalized, combined)


def _lazy(
    terms: Mapping[str, Term],
    raw: Tensor,
    budget: int,
    combine: Callable[[Tensor, Tensor], Tensor],
    falling: Falling,
    power: int,
) -> Picks:
    ((name, term),) = terms.items()
    weights = torch.tensor([term.weight], dtype=torch.float64)
    _checked("combined", combine(raw, weights), raw.shape[1])
    scores = LazyScores(raw[0].numpy(), falling, term.weight, power)
    for _ in range(budget):
        scores.pick()
    final = _checked(name, torch.from_numpy(scores.result()), raw.shape[1])[None]
    return Picks(
        torch.tensor(scores.picks), final, final, _checked("combined", combine(final, weights), final.shape[1])
    )


def _checked(name: str, scores: Tensor, candidates: int) -> Tensor:
    scores = scores.detach().to(torch.float64)
    if scores.shape != (candidates,):
        raise ValueError(f"scores of '{name}' have shape {tuple(scores.shape)} for {candidates} candidates")
    if not bool(torch.isfinite(scores).all()):
        raise ValueError(f"scores of '{name}' are not finite")
    return scores
