"""From summaries to a selection: representation, criteria, normalizer, combiner and the greedy core put together.

Shape letters: N candidates of the pool.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from al_lightning.acquisition.combination import Combiner, L2Norm, Normalizer, RobustMinMax, fusion
from al_lightning.acquisition.criteria import Criterion
from al_lightning.acquisition.representation import Representation, Represented
from al_lightning.acquisition.selection import Scope, Term, greedy
from al_lightning.types import Summary


@dataclass
class Selection:
    """What was selected in a cycle, and why.

    Attributes:
        units: (budget,) int64 absolute unit numbers in pick order.
        step: (N,) int64 pick number of every candidate of the pool, from 0; -1 where not picked.
        scores: name -> (N,) float64 for every candidate of the pool: ``<criterion>`` raw, ``<criterion>_normalized``,
            and ``score``, their combination. Of a picked candidate these are the values that won it its pick; of the
            others the values at the last pick of the cycle. (They differ only where a criterion changes from pick to
            pick, or the scope is "remaining".)
        curves: name -> (epochs,) float64, what was minimized while the representation was learned.
        metrics: name -> what the representation is worth, measured on the labeled set.
        represented: what the criteria read, where a representation was learned.
    """

    units: Tensor
    step: Tensor
    scores: dict[str, Tensor]
    curves: dict[str, Tensor]
    metrics: dict[str, float]
    represented: Represented | None = None


class Acquisition:
    """Selects the candidates with the largest combined score, one after the other.

    Args:
        criteria: name -> criterion.
        weights: name of a criterion -> factor of its normalized score; 1 where not given. A criterion of weight 0 is
            left out and not computed.
        normalizer: puts each criterion on a common scale; None for `RobustMinMax`.
        combiner: makes one score of the weighted criteria; None for `L2Norm`.
        representation: adds fields to the summaries before the criteria read them; None for none.
        scope: candidates over which a criterion is normalized. "pool": a static criterion once over the pool of the
            cycle, a changing one after every pick over the candidates that remain. "remaining": every criterion after
            every pick over those.

    Raises:
        ValueError: there is no criterion, a weight names no criterion, is negative or not finite, all weights are 0,
            the scope is unknown, or names collide in `Selection.scores`.
    """

    def __init__(
        self,
        criteria: dict[str, Criterion],
        weights: dict[str, float] | None = None,
        normalizer: Normalizer | None = None,
        combiner: Combiner | None = None,
        scope: Scope = "pool",
        representation: Representation | None = None,
    ) -> None:
        given = dict(weights or {})
        if unknown := sorted(set(given) - set(criteria)):
            raise ValueError(f"weights name no criterion: {', '.join(unknown)}; there are: {', '.join(criteria)}")
        for name, weight in given.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"weights must be finite and not negative, got {name}: {weight}")
        self.weights = {name: float(given.get(name, 1.0)) for name in criteria if given.get(name, 1.0) > 0}
        if not self.weights:
            raise ValueError(
                "there is no criterion with a weight above 0; use the acquisition `random` to score nothing"
            )
        columns = ["score", *criteria, *(f"{name}_normalized" for name in criteria)]
        if len(set(columns)) < len(columns):
            raise ValueError(f"names of criteria collide with those of the score columns: {', '.join(criteria)}")
        if scope not in get_args(Scope):
            raise ValueError(f"scope must be one of {', '.join(get_args(Scope))}, got {scope!r}")
        self.criteria = {name: criteria[name] for name in self.weights}
        self.normalizer = normalizer or RobustMinMax()
        self.combiner = combiner or L2Norm()
        self.scope = scope
        self.representation = representation

    def select(self, pool: Summary, labeled: Summary, budget: int, generator: torch.Generator) -> Selection:
        """Pick ``budget`` units out of the pool; ties go to the candidate that stands first.

        Args:
            pool: summaries of the candidates.
            labeled: summaries of the labeled set.
            budget: number of units to pick, 1 to N.
            generator: source of randomness on the CPU, seeded by the caller for the cycle.

        Raises:
            ValueError: the budget is out of range, a score is not finite, or a part refuses its input.
        """
        represented = Represented(pool, labeled)
        if self.representation is not None:
            represented = self.representation(pool, labeled, generator)
        pool, labeled = represented.pool, represented.labeled
        criteria = {name: copy(criterion) for name, criterion in self.criteria.items()}  # their state ends with this
        terms = {
            name: Term(
                criterion.score(pool, labeled, generator),
                criterion.update,
                self.weights[name],
                getattr(criterion, "falling", None),  # set by `score`
            )
            for name, criterion in criteria.items()
        }
        result = greedy(
            terms,
            budget,
            normalize=self.normalizer,
            combine=self.combiner,
            scope=self.scope,
            fusion=fusion(self.normalizer, self.combiner),
        )
        step = torch.full((len(pool),), -1)
        step[result.picks] = torch.arange(budget)
        scores = {"score": result.combined}
        for name, raw, normalized in zip(terms, result.raw, result.normalized, strict=True):
            scores |= {name: raw, f"{name}_normalized": normalized}
        return Selection(
            pool.units[result.picks],
            step,
            scores,
            represented.curves,
            represented.metrics,
            represented if self.representation is not None else None,
        )

    def rehearsal(self) -> Acquisition:
        """One that refuses the same input, but learns its representation as little as it can."""
        short = copy(self)
        short.representation = self.representation and self.representation.rehearsal()
        return short
