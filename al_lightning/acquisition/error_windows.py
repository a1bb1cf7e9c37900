"""How a scene is planned wrongly, and how dangerous that is: summaries of planned scenes.

Shape letters: B samples, R rows, U scenes, K stochastic passes, T planned steps, H steps of the look-ahead window,
A agents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from al_lightning.acquisition.functional import representative_error, safety_descriptor
from al_lightning.acquisition.functional.error_patterns import window_weights
from al_lightning.driving import (
    BOUNDARY,
    PADDING,
    DrivingAnnotations,
    DrivingInputs,
    OtherAgents,
    current_footprints,
    footprints,
)
from al_lightning.types import Batch, Summary

Objects = Literal["all", "targets"]
Reference = Literal["own", "plan"]


class ErrorWindows:
    """Error pattern of a scene at its worst moment (planning paper, Eq. 2); of labeled scenes also the safety state.

    A unit is a scene or a clip of one, its rows are keyframes. Fields of a unit:

    - ``error_window`` (U, H, 2): deviations of the plan from the logged way at the reference step, metres.
    - ``error_window_samples`` (U, K, H, 2): the same of every stochastic pass.
    - ``reference_row`` (U,): row of the reference step.
    - ``reference_plan`` (U, T, 2): the plan made there, metres.
    - ``safety`` (U, H), of labeled scenes alone: soft collision costs of that plan (Eq. 3).

    Plans come from sensors and the logged way is sensor data, too. What lies around, which the safety state needs,
    only labels tell.

    Readings of the paper, the default being the most literal one:

    - e_i is the error pattern at the step t* that Eq. 2 finds for a plan, and the paper speaks of the k-th embedding of
      the k-th plan: each stochastic pass has its own t* (``reference: own``). ``plan`` takes that of the plan without
      dropout for all, so that their scatter is that of one moment.
    - "The footprints of relevant objects from annotations": all annotated objects count, wherever they are at t* and
      whether or not a sensor hit them (``objects: all``). ``targets`` counts those that VAD is trained with: at t*
      within 15 m to the side and 30 m ahead and behind. Road boundaries are in either case those of that range, which
      is as far as the annotations hold the map.

    Args:
        horizon: H.
        error_weights: (H,) a_d of Eq. 2; None for 1.
        safety_weights: (H,) b_d of Eq. 3; None for 1.
        scale: sigma_sc, metres.
        boundaries: measure the distance to road boundaries, too, where the annotations hold them.
        objects: see above.
        reference: see above.

    Raises:
        ValueError: the horizon or the scale is not positive, weights are not H numbers that are not negative, or a
            reading is unknown.
    """

    needs_label_mask = False

    def __init__(
        self,
        horizon: int = 5,
        error_weights: tuple[float, ...] | None = None,
        safety_weights: tuple[float, ...] | None = None,
        scale: float = 1.0,
        boundaries: bool = True,
        objects: Objects = "all",
        reference: Reference = "own",
    ) -> None:
        if horizon < 1:
            raise ValueError(f"horizon must be positive, got {horizon}")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale must be positive and finite, got {scale}")
        for name, value, readings in (("objects", objects, Objects), ("reference", reference, Reference)):
            if value not in get_args(readings):
                raise ValueError(f"{name} must be one of {', '.join(get_args(readings))}, got {value!r}")
        self.horizon, self.scale, self.boundaries = horizon, scale, boundaries
        self.objects, self.reference = objects, reference
        self.error_weights = _weights("error_weights", error_weights, horizon)
        self.safety_weights = _weights("safety_weights", safety_weights, horizon)

    def __call__(self, batch: Batch[DrivingInputs, Any], plans: Tensor) -> dict[str, Tensor]:
        """Keep the plans (B, 1 + K, T, 2) beside the logged way.

        A step counts as known if it was driven and does not lead out of the unit, so that t <= T - H in Eq. 2 holds for
        clips of a scene, too: what lies around further on, the labels of the clip do not tell.

        Raises:
            ValueError: the logged way is not known, or plans are not of this shape.
        """
        future, known = batch.inputs.ego_future, batch.inputs.ego_future_mask
        if future is None or known is None:
            raise ValueError("plans are compared with the logged way of the ego vehicle; the dataset gives none")
        if plans.dim() != 4 or plans[:, 0].shape != future.shape:
            raise ValueError(f"plans must be (B, 1 + K, T, 2), got {tuple(plans.shape)} for {tuple(future.shape)}")
        if batch.inputs.unit_mask is not None:
            known = known & batch.inputs.unit_mask
        return {"row": batch.index, "plans": plans.float(), "way": future.cumsum(dim=1).float(), "known": known}

    def group(self, rows: Summary) -> Summary:
        """Rows (R) of units, each unit's in the order of time, to one summary a unit, in the order of their numbers.

        Raises:
            ValueError: of no row of a unit the next H steps are known and within the unit.
        """
        sizes = torch.unique(rows.units, return_counts=True)[1]
        parts = torch.split(rows.units.argsort(stable=True), sizes.tolist())
        return Summary.concatenate([self._unit(rows.take(part)) for part in parts])

    def _unit(self, rows: Summary) -> Summary:
        plans, way, known = rows["plans"].movedim(1, 0), rows["way"], rows["known"][:, : self.horizon].all(1)
        if not bool(known.any()):
            raise ValueError(
                f"unit {int(rows.units[0])} is too short: "
                f"of none of its {len(rows)} keyframes the next {self.horizon} steps are known and within it"
            )
        step, error = representative_error(plans[:1], way, self.horizon, self.error_weights, known)
        moments = known if self.reference == "own" else torch.arange(len(rows)) == step
        samples = representative_error(plans[1:], way, self.horizon, self.error_weights, moments).error
        fields = {
            "error_window": error,
            "error_window_samples": samples[None],
            "reference_row": rows["row"][step],
            "reference_plan": plans[0, step],
        }
        return Summary(rows.units[:1], fields)

    def with_labels(self, labeled: Summary, annotations: Callable[[int], DrivingAnnotations]) -> Summary:
        """Add the safety state; of every scene, the annotations of the reference step alone are read."""
        states = [
            self._safety(plan, annotations(int(row)))
            for plan, row in zip(labeled["reference_plan"], labeled["reference_row"], strict=True)
        ]
        return replace(labeled, fields=labeled.fields | {"safety": torch.stack(states)})

    def _safety(self, plan: Tensor, truth: DrivingAnnotations) -> Tensor:
        """Safety state (H,) of a plan (T, 2)."""
        agents, present = (torch.cat(parts) for parts in zip(*map(footprints, self._agents(truth)), strict=True))
        segments = _boundaries(truth)[None] if self.boundaries else None
        return safety_descriptor(
            plan[None], agents[None], present[None], 0, self.horizon, self.safety_weights, self.scale, segments
        )

    def _agents(self, truth: DrivingAnnotations) -> list[DrivingAnnotations | OtherAgents]:
        """What counts as objects."""
        return [truth] if self.objects == "targets" or truth.others is None else [truth, truth.others]

    # --- what a person sees ------------------------------------------------------------------------------------------

    def portrayed_row(self, unit: Summary, rows: Sequence[int]) -> int:
        """The reference step."""
        return int(unit["reference_row"])

    def portrait(
        self, unit: Summary, batch: Batch[DrivingInputs, Any], predict: Callable[[], Any]
    ) -> dict[str, Tensor]:
        """``plan`` and ``way`` (T, 2), planned and driven positions, metres; ``known`` (T,) bool, the steps driven."""
        future, known = batch.inputs.ego_future, batch.inputs.ego_future_mask
        assert future is not None
        assert known is not None
        return {"plan": unit["reference_plan"][0], "way": future[0].cumsum(0), "known": known[0]}

    def true_portrait(self, unit: Summary, annotations: DrivingAnnotations) -> dict[str, Tensor]:
        """The surroundings at the reference step.

        Returns:
            ``agents`` (A, 1 + T, 5), footprints now and at each step; ``present`` (A, 1 + T) bool, where they mean
            something; ``agent_labels`` (A,) classes; ``boundaries`` (E, 2, 2), end points; ``safety`` (H,).
        """
        agents = [_shown(group) for group in self._agents(annotations)]
        return {
            **{name: torch.cat([group[name] for group in agents]) for name in agents[0]},
            "boundaries": _boundaries(annotations),
            "safety": self._safety(unit["reference_plan"][0], annotations),
        }


def _shown(agents: DrivingAnnotations | OtherAgents) -> dict[str, Tensor]:
    """The agents of `ErrorWindows.true_portrait`."""
    real = agents.labels != PADDING
    later, present = footprints(agents)
    return {
        "agents": torch.cat((current_footprints(agents)[:, None], later), dim=1)[real],
        "present": torch.cat((real[:, None], present), dim=1)[real],
        "agent_labels": agents.labels[real],
    }


def _boundaries(truth: DrivingAnnotations) -> Tensor:
    """End points (E, 2, 2) of the pieces of road boundaries."""
    lines = truth.lines[truth.line_labels == BOUNDARY][:, 0]
    return torch.stack((lines[:, :-1], lines[:, 1:]), dim=2).flatten(0, 1)


def _weights(name: str, weights: tuple[float, ...] | None, horizon: int) -> Tensor:
    return window_weights(None if weights is None else torch.tensor(weights), horizon, name)
