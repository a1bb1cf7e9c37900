"""What is kept of detected boxes for the acquisition.

Shape letters: B samples of a batch, M boxes of a sample, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from al_lightning.detection import PADDING, Detections
from al_lightning.types import Batch, Summary


class DetectionSummarizer:
    """Class histogram, count and score entropy of the predicted boxes.

    Fields: ``class_histogram`` (B, K + 1), the shares of the classes among the boxes, and last of "nothing": 1 where
    there is no box, else 0; ``count`` (B,) of the boxes; ``entropy`` (B,) mean entropy of their scores in nats, each
    taken for the probability that the object is there, 0 without boxes; ``frequency_weighted_entropy`` (B,) the same
    with every predicted class counted alike, however many boxes it has.

    Args:
        num_classes: K.
        min_score: boxes below are not looked at.

    Raises:
        ValueError: there is no class, or the score is no probability below 1.
    """

    needs_label_mask = False

    def __init__(self, num_classes: int = 10, min_score: float = 0.1) -> None:
        if num_classes < 1 or not 0 <= min_score < 1:
            raise ValueError(f"num_classes must be positive and min_score in [0, 1), got {num_classes} and {min_score}")
        self.num_classes, self.min_score = num_classes, min_score

    def __call__(self, batch: Batch[Any, Any], prediction: Detections) -> dict[str, Tensor]:
        """Fields of the samples of a batch.

        Raises:
            ValueError: a label or a score is out of range.
        """
        labels, scores = prediction.labels, prediction.scores.double()
        real = labels != PADDING
        if not bool((labels[real] >= 0).all() and (labels[real] < self.num_classes).all()):
            raise ValueError(f"labels must be below {self.num_classes}, got {sorted(set(labels[real].tolist()))}")
        if not bool(((scores[real] >= 0) & (scores[real] <= 1)).all()):
            raise ValueError("scores must be probabilities; a score is outside [0, 1] or not a number")
        counted = real & (scores >= self.min_score)
        one_hot = (labels[..., None] == torch.arange(self.num_classes, device=labels.device)) & counted[..., None]
        of_class = one_hot.double()
        counts, surprise = of_class.sum(1), (of_class * binary_entropy(scores)[..., None]).sum(1)
        total, present = counts.sum(1), (counts > 0).sum(1)
        shares = counts / total.clamp(min=1)[:, None]
        return {
            "class_histogram": torch.cat((shares, (total == 0).double()[:, None]), dim=1).float(),
            "count": total.float(),
            "entropy": (surprise.sum(1) / total.clamp(min=1)).float(),
            "frequency_weighted_entropy": ((surprise / counts.clamp(min=1)).sum(1) / present.clamp(min=1)).float(),
        }

    def group(self, rows: Summary) -> Summary:
        """The rows as they are: a unit is a single frame.

        Raises:
            ValueError: a unit has more than one row.
        """
        units, counts = torch.unique(rows.units, return_counts=True)
        if bool((counts > 1).any()):
            raise ValueError(
                f"DetectionSummarizer needs one row a unit; units {units[counts > 1][:5].tolist()} have more"
            )
        return rows

    def with_labels(self, labeled: Summary, annotations: Callable[[int], Any]) -> Summary:
        """The summaries as they are."""
        return labeled


def binary_entropy(probability: Tensor) -> Tensor:
    """Entropy of a yes or no of this probability, nats; 0 at 0 and 1."""
    entropy: Tensor = torch.special.entr(probability) + torch.special.entr(1 - probability)
    return entropy
