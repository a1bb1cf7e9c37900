"""Summarizers: a few numbers for every sample, computed in the predict pass, in place of the prediction itself.

Shape letters: B samples of a batch, K classes, C feature channels, X Y Z voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from al_lightning.acquisition.functional import uncertainty_shares, voxel_statistics
from al_lightning.acquisition.occupied_kernel import occupied_voxels
from al_lightning.acquisition.visibility import frustum_visibility
from al_lightning.types import (
    IGNORE,
    Batch,
    CameraInputs,
    OccupancyAnnotations,
    OccupancyPrediction,
    Summary,
    VoxelGrid,
)

Visibility = Literal["frustum", "label_mask", "all"]


class Summarizer(Protocol):
    """Turns predictions into summary fields.

    Attributes:
        needs_label_mask: the batches must carry ``label_mask``, which is read from the label files.
    """

    needs_label_mask: bool

    def __call__(self, batch: Batch[Any, Any], prediction: Any) -> dict[str, Tensor]:
        """Fields of the samples of a batch: name -> (B, ...), on the device of the prediction."""
        ...

    def group(self, rows: Summary) -> Summary:
        """Summaries of rows, where ``rows.units`` holds the unit of each row, to one summary a unit."""
        ...

    def with_labels(self, labeled: Summary, annotations: Callable[[int], Any]) -> Summary:
        """Summaries of labeled units with what only their labels tell; of the pool, no such thing is known.

        Args:
            labeled: summaries of labeled units.
            annotations: reads the annotations of a row of these units; of other units it refuses to.
        """
        ...


@runtime_checkable
class Portrayer(Protocol):
    """A summarizer that can show a person what the numbers of a unit were made of."""

    def portrayed_row(self, unit: Summary, rows: Sequence[int]) -> int:
        """The row to show of a unit.

        Args:
            unit: its summary.
            rows: its rows.
        """
        ...

    def portrait(self, unit: Summary, batch: Batch[Any, Any], predict: Callable[[], Any]) -> dict[str, Tensor]:
        """What sensors and prediction tell.

        Args:
            unit: summary of the unit.
            batch: the row to show alone, without annotations.
            predict: predicts that batch anew; called only if the summary does not tell enough.
        """
        ...

    def true_portrait(self, unit: Summary, annotations: Any) -> dict[str, Tensor]:
        """What the annotations of the row tell; asked for labeled units alone."""
        ...


class VoxelSummarizer:
    """Class histogram, entropy, frequency-weighted entropy over the visible voxels; mean feature as the embedding.

    Fields: ``class_histogram`` (B, K), ``entropy`` (B,), ``frequency_weighted_entropy`` (B,), and ``embedding`` (B, C)
    where the prediction has features.

    Args:
        grid: the voxels of the prediction.
        visibility: the voxels that count. "frustum": those the cameras see, from calibration and prediction alone (see
            `visibility`); "label_mask": the dataset's mask, as in the occupancy paper, which ships with the labels;
            "all": every voxel.
        free_class: the class of empty voxels, which do not block the view; "frustum" needs it.
        leave_out_free: the free class is none of the K of the class histogram and of U_fw (which the occupancy paper
            leaves open): its share is 0, those of the others sum to 1; U_fw stays a mean over all visible voxels (see
            `functional.voxel_statistics`). Needs ``free_class``.

    Raises:
        ValueError: the visibility is unknown, or "frustum" or ``leave_out_free`` without a free class.
    """

    def __init__(
        self,
        grid: VoxelGrid,
        visibility: Visibility = "frustum",
        free_class: int | None = None,
        leave_out_free: bool = False,
    ) -> None:
        if visibility not in get_args(Visibility):
            raise ValueError(f"visibility must be one of {', '.join(get_args(Visibility))}, got {visibility!r}")
        if visibility == "frustum" and free_class is None:
            raise ValueError("visibility 'frustum' needs free_class, the class of voxels that do not block the view")
        self.grid = grid
        self.visibility = visibility
        if leave_out_free and free_class is None:
            raise ValueError("leave_out_free needs free_class")
        self.free_class = free_class
        self.without = free_class if leave_out_free else None
        self.needs_label_mask = visibility == "label_mask"

    def __call__(self, batch: Batch[CameraInputs, Any], prediction: OccupancyPrediction) -> dict[str, Tensor]:
        """Fields of the samples of a batch.

        Raises:
            ValueError: the logits do not fit the grid or are not finite, no voxel of a sample is visible, the label
                mask is missing, or the free class is no class of the prediction.
        """
        logits = prediction.logits
        if logits.dim() != 5 or logits.shape[2:] != self.grid.shape:
            raise ValueError(f"logits {tuple(logits.shape)} do not fit the grid {self.grid.shape}")
        mask = self._mask(batch, prediction)
        if mask is not None:
            unseen = ~mask.flatten(1).any(1)
            if bool(unseen.any()):
                rows = batch.index[unseen.to(batch.index.device)].tolist()
                raise ValueError(f"visibility '{self.visibility}' holds no voxel for dataset rows {rows}")
        statistics = voxel_statistics(logits, mask, without=self.without)
        fields = {
            "class_histogram": statistics.histogram,
            "entropy": statistics.entropy,
            "frequency_weighted_entropy": statistics.frequency_weighted_entropy,
        }
        if prediction.features is not None:
            fields["embedding"] = prediction.features.detach().float().flatten(2).mean(2)
        return fields

    def group(self, rows: Summary) -> Summary:
        """The rows as they are: a unit is a single frame.

        Raises:
            ValueError: a unit has more than one row.
        """
        units, counts = torch.unique(rows.units, return_counts=True)
        if bool((counts > 1).any()):
            raise ValueError(f"VoxelSummarizer needs one row a unit; units {units[counts > 1][:5].tolist()} have more")
        return rows

    def with_labels(self, labeled: Summary, annotations: Callable[[int], Any]) -> Summary:
        """The summaries as they are."""
        return labeled

    # --- what a person sees ------------------------------------------------------------------------------------------

    def portrayed_row(self, unit: Summary, rows: Sequence[int]) -> int:
        """Its only row."""
        return rows[0]

    def portrait(
        self, unit: Summary, batch: Batch[CameraInputs, Any], predict: Callable[[], OccupancyPrediction]
    ) -> dict[str, Tensor]:
        """What was predicted, and where and in which classes U_fw lies.

        Returns:
            ``predicted_classes`` (X, Y, Z) uint8, `IGNORE` where voxels do not count; ``uncertainty_map`` (X, Y), the
            share of every column of voxels, and ``uncertainty_by_class`` (K,): both sum up to U_fw; ``bounds`` (2, 2),
            lower and upper x and y, metres.
        """
        prediction = predict()
        mask = self._mask(batch, prediction)
        shares = uncertainty_shares(prediction.logits, mask, without=self.without)
        classes = prediction.logits[0].argmax(0).to(torch.uint8)
        return {
            "predicted_classes": classes if mask is None else classes.masked_fill(~mask[0], IGNORE),
            "uncertainty_map": shares.voxels[0].sum(2),
            "uncertainty_by_class": shares.classes[0],
            "bounds": torch.tensor([self.grid.lower[:2], self.grid.upper[:2]]),
        }

    def true_portrait(self, unit: Summary, annotations: OccupancyAnnotations) -> dict[str, Tensor]:
        """``true_classes`` (X, Y, Z) uint8, `IGNORE` where they do not count."""
        return {"true_classes": annotations.semantics.masked_fill(~annotations.mask, IGNORE)}

    def _mask(self, batch: Batch[CameraInputs, Any], prediction: OccupancyPrediction) -> Tensor | None:
        if self.visibility == "all":
            return None
        if self.visibility == "label_mask":
            if batch.label_mask is None:
                raise ValueError(
                    "visibility 'label_mask' needs batch.label_mask: read the samples with label_mask=True (this opens "
                    "the label files of the pool), or choose visibility 'frustum'"
                )
            return batch.label_mask
        assert self.free_class is not None
        classes = prediction.logits.shape[1]
        if not 0 <= self.free_class < classes:
            raise ValueError(
                f"free_class must be one of the {classes} classes of the prediction, got {self.free_class}"
            )
        return frustum_visibility(occupied_voxels(prediction.logits, self.free_class), self.grid, batch.inputs)
