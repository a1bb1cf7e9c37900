"""Detection of objects as a LightningModule: detector and metric are injected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, cast

from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import Metric

from al_lightning.detection import DetectionInputs, Detections
from al_lightning.tasks.loss_terms import logged_sum
from al_lightning.tasks.schedule import adamw, check_rates, warmed_factor
from al_lightning.types import Batch

DetectionBatch = Batch[DetectionInputs, Any]


class Detector(Protocol):
    """A network that finds objects; called, it predicts.

    Attributes:
        class_names: in the order of the labels.
    """

    class_names: Sequence[str]

    def losses(self, inputs: Any, annotations: Any) -> dict[str, Tensor]:
        """Weighted terms by their names; their sum is the loss."""
        ...

    def __call__(self, inputs: Any) -> Detections:
        """Predict a batch."""
        ...


class DetectionTask(LightningModule):
    """Train, validate and predict boxes.

    Args:
        network: a `Detector`.
        metric: updated with tokens (B, 32), boxes (B, M, 9), labels (B, M) and scores (B, M), computes a dictionary of
            scalars; its ``class_names`` are the network's.
        lr: learning rate of AdamW.
        weight_decay: weight decay of AdamW.
        warmup_steps: steps of linear warm-up from a thousandth of ``lr``, at most half of the training.
        schedule: after the warm-up constant, half a cosine down to zero, or "steps" as in `OccupancyTask`.

    Raises:
        ValueError: a rate, decay or number of steps is out of range, the schedule is unknown, or network and metric
            name other classes.
    """

    def __init__(
        self,
        network: nn.Module,
        metric: Metric,
        lr: float = 1e-4,
        weight_decay: float = 0.01,
        warmup_steps: int = 200,
        schedule: Literal["constant", "cosine", "steps"] = "cosine",
    ) -> None:
        super().__init__()
        check_rates(lr, weight_decay, warmup_steps, schedule)
        names, measured = (tuple(part.class_names) for part in (network, metric))  # type: ignore[arg-type]
        if names != measured:
            raise ValueError(f"the metric must name the network's classes {', '.join(names)}; it has {measured}")
        self.network, self.metric = network, metric
        self.lr, self.weight_decay, self.warmup_steps, self.schedule = lr, weight_decay, warmup_steps, schedule

    def forward(self, inputs: DetectionInputs) -> Detections:
        """Run the network."""
        prediction: Detections = self.network(inputs)
        return prediction

    def training_step(self, batch: DetectionBatch, batch_idx: int) -> Tensor:
        """The loss of a labeled batch."""
        terms = cast(Detector, self.network).losses(batch.inputs, batch.annotations)
        return logged_sum(self, terms, len(batch.index))

    def validation_step(self, batch: DetectionBatch, batch_idx: int) -> Any:
        """Take in the `Detections` of a batch; returns them."""
        prediction = self(batch.inputs)
        self.metric.update(*self.measured(prediction, batch))
        return prediction

    def measured(self, prediction: Detections, batch: DetectionBatch) -> tuple[Tensor, ...]:
        """Which frames and what was found there, as the metric takes them."""
        return batch.inputs.tokens, prediction.boxes, prediction.labels, prediction.scores

    def on_validation_epoch_end(self) -> None:
        """Report the metric over the whole validation set."""
        self.log_dict(self.metric.compute(), logger=False)
        self.metric.reset()

    def predict_step(self, batch: DetectionBatch, batch_idx: int) -> Detections:
        """Predict from sensors alone."""
        return cast(Detections, self(batch.inputs))

    def configure_optimizers(self) -> Any:
        """AdamW with linear warm-up."""
        parameters = self.parameters()
        return adamw(self.trainer, parameters, self.lr, self.weight_decay, self._lr_factor, self.warmup_steps)

    def _lr_factor(self, step: int, total: int) -> float:
        return warmed_factor(step, total, self.warmup_steps, self.schedule)
