"""Planned and driven trajectories of keyframes, made elsewhere, to summaries of scenes.

Shape letters: R keyframes, U scenes, K stochastic passes, T planned steps, H steps of the look-ahead window.

A file of `summary_files` with these arrays; the keyframes of a scene follow each other in the order of time:

- ``token`` (R,) and ``scene`` (R,) text: the keyframe and its scene.
- ``planned`` (R, 1 + K, T, 2): positions after each step, metres in the frame of the keyframe: planned without and K
  times with dropout.
- ``driven`` (R, T, 2): where the vehicle was then, in the same frame; ``driven_mask`` (R, T) bool: the steps that are
  known, where not all are. Where a scene is a clip of a longer drive: those within the clip.
- ``clearance`` (R, T), of labeled scenes alone: distance from the planned position (the plan without dropout) to the
  nearest object or road boundary at each step, metres; 0 within one. Where there is none, any distance that is large
  against ``scale``.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from al_lightning.acquisition.error_windows import ErrorWindows
from al_lightning.acquisition.summary_files import MissingFieldError, TokenSummaries
from al_lightning.types import DataFileError, Summary

log = logging.getLogger(__name__)

MOVING = 2.0
"""Least distance driven in T steps by a vehicle that moves, metres."""


def scene_summaries(keyframes: TokenSummaries, windows: ErrorWindows, *, labeled: bool) -> TokenSummaries:
    """Group keyframes into scenes as the loop does (`ErrorWindows.group`); of labeled ones find the safety state.

    Args:
        keyframes: see the module.
        windows: the horizon, weights and scale.
        labeled: the scenes are labeled: read ``clearance``.

    Returns:
        Summaries of the scenes by first appearance, with the fields of `ErrorWindows`.

    Raises:
        MissingFieldError: an array is not there.
        DataFileError: shapes do not fit, a distance is negative, or no keyframe of a scene has a known future.
    """
    if "scene" not in keyframes.texts:
        raise MissingFieldError(f"{keyframes.source} has 'planned' but no 'scene', the scene of each keyframe")
    scenes = keyframes.texts["scene"]
    planned, driven = keyframes["planned"].float(), keyframes["driven"].float()
    known = keyframes["driven_mask"] if "driven_mask" in keyframes.names else torch.ones(driven.shape[:-1]).bool()
    _check_shapes(keyframes, scenes, planned, driven, known)
    _warn_of_offsets(keyframes.source, planned[:, 0, -1], driven[:, -1], known[:, -1], planned.shape[2])
    numbers = {scene: number for number, scene in enumerate(dict.fromkeys(scenes))}
    units = torch.tensor([numbers[scene] for scene in scenes])
    if bool((units.diff() < 0).any()):
        raise DataFileError(f"the keyframes of a scene do not follow each other in {keyframes.source}")
    seen = set(units[known[:, : windows.horizon].all(1)].tolist())
    if blind := [scene for scene, number in numbers.items() if number not in seen]:
        raise DataFileError(
            f"{len(blind):,} scenes of {keyframes.source} have no keyframe whose next {windows.horizon} steps are "
            f"known; the first: {blind[0]}"
        )
    rows = Summary(units, {"row": torch.arange(len(units)), "plans": planned, "way": driven, "known": known})
    fields = windows.group(rows).fields
    if labeled:
        fields["safety"] = _safety(keyframes, windows, fields["reference_row"])
    return TokenSummaries(keyframes.source, list(numbers), list(fields), fields.__getitem__)


def _safety(keyframes: TokenSummaries, windows: ErrorWindows, rows: Tensor) -> Tensor:
    """Safety states (U, H) of the scenes with these reference keyframes (U,) (planning paper, Eq. 3)."""
    clearance = keyframes["clearance"]
    if clearance.shape != keyframes["planned"].shape[:1] + keyframes["planned"].shape[2:3]:
        raise DataFileError(f"'clearance' of {keyframes.source} must be (R, T), got {tuple(clearance.shape)}")
    if bool((clearance < 0).any()):
        raise DataFileError(f"'clearance' of {keyframes.source} holds negative distances")
    distance = clearance[rows, : windows.horizon].double()
    return windows.safety_weights * torch.exp(-distance / windows.scale)


def _check_shapes(keyframes: TokenSummaries, scenes: list[str], planned: Tensor, driven: Tensor, known: Tensor) -> None:
    fits = planned.dim() == 4 and planned.shape[1] >= 2 and planned[:, 0].shape == driven.shape
    if not fits or driven.shape[-1] != 2 or known.shape != driven.shape[:-1] or len(scenes) != len(driven):
        raise DataFileError(
            f"{keyframes.source} must hold scene (R,), planned (R, 1 + K, T, 2) with K >= 1, driven (R, T, 2) and "
            f"driven_mask (R, T), got {len(scenes)}, {tuple(planned.shape)}, {tuple(driven.shape)}, "
            f"{tuple(known.shape)}"
        )


def _warn_of_offsets(source: str, planned: Tensor, driven: Tensor, known: Tensor, steps: int) -> None:
    """Warn where planned positions look like the offsets of single steps, which reach a T-th of what is driven.

    Args:
        source: where they come from.
        planned: (R, 2) after the last step.
        driven: (R, 2) likewise.
        known: (R,) bool, where that is known.
        steps: T.
    """
    distance = driven.norm(dim=1)
    moving = known & (distance > MOVING)
    share = (planned.norm(dim=1) / distance)[moving]
    if steps > 1 and len(share) and float(share.median()) < 1.5 / steps:
        log.warning(
            "the 'planned' positions of %s after %d steps lie at %.0f %% of the driven distance (median): are they "
            "the offsets of single steps? Positions are their cumulative sum",
            source, steps, 100 * float(share.median()),
        )  # fmt: skip
