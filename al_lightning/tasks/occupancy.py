"""3D occupancy prediction as a LightningModule: network, loss and metric are injected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import Metric

from al_lightning.tasks.loss_terms import logged_sum
from al_lightning.tasks.schedule import adamw, check_rates, warmed_factor
from al_lightning.types import Batch, CameraInputs, OccupancyAnnotations, OccupancyPrediction

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
OccupancyBatch = Batch[CameraInputs, OccupancyAnnotations]


class OccupancyTask(LightningModule):
    """Train, validate and predict voxel classes.

    Args:
        network: `CameraInputs` -> `OccupancyPrediction`.
        loss: (prediction, annotations) -> weighted terms by their names; their sum is the loss.
        metric: updated with (prediction, semantics, mask), each (B, X, Y, Z); computes a dictionary of scalars.
        lr: learning rate of AdamW.
        weight_decay: weight decay of AdamW.
        warmup_steps: steps of linear warm-up from a thousandth of ``lr``, at most half of the training.
        schedule: after the warm-up constant (FlashOcc's recipe never decays), half a cosine down to zero, or "steps": a
            tenth after two thirds of the training, a hundredth after five sixths (OccFormer: epochs 20 and 25 of 30).
        undecayed: parameters whose names hold one of these words are spared the weight decay, and so are those of all
            norms. None: nothing is spared, as in FlashOcc's recipe.

    Raises:
        ValueError: a rate, decay or number of steps is out of range, the schedule is unknown, or no parameter has a
            word of ``undecayed`` in its name.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        metric: Metric,
        lr: float = 1e-4,
        weight_decay: float = 0.01,
        warmup_steps: int = 200,
        schedule: Literal["constant", "cosine", "steps"] = "constant",
        undecayed: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        check_rates(lr, weight_decay, warmup_steps, schedule)
        self.network, self.loss, self.metric = network, loss, metric
        self.lr, self.weight_decay, self.warmup_steps, self.schedule = lr, weight_decay, warmup_steps, schedule
        self.undecayed = undecayed
        names = [name for name, _ in network.named_parameters()]
        unknown = [word for word in undecayed or () if not any(word in name for name in names)]
        if unknown:
            raise ValueError(f"undecayed: no parameter of the network has {', '.join(unknown)} in its name")

    def forward(self, inputs: CameraInputs) -> OccupancyPrediction:
        """Run the network."""
        prediction: OccupancyPrediction = self.network(inputs)
        return prediction

    def training_step(self, batch: OccupancyBatch, batch_idx: int) -> Tensor:
        """The loss of a labeled batch."""
        terms: dict[str, Tensor] = self.loss(self(batch.inputs), batch.annotations)
        return logged_sum(self, terms, len(batch.index))

    def validation_step(self, batch: OccupancyBatch, batch_idx: int) -> Tensor:
        """Count the voxels of a labeled batch; returns the predicted classes (B, X, Y, Z)."""
        prediction: Tensor = self(batch.inputs).logits.argmax(dim=1)
        self.metric.update(*self.measured(prediction, batch))
        return prediction

    def measured(self, prediction: Tensor, batch: OccupancyBatch) -> tuple[Tensor, ...]:
        """Predicted classes (B, X, Y, Z) with the truth and the visible voxels, as the metric takes them."""
        assert batch.annotations is not None
        return prediction, batch.annotations.semantics, batch.annotations.mask

    def on_validation_epoch_end(self) -> None:
        """Report the metric over the whole validation set."""
        self.log_dict(self.metric.compute(), logger=False)
        self.metric.reset()

    def predict_step(self, batch: OccupancyBatch, batch_idx: int) -> OccupancyPrediction:
        """Predict from sensors alone."""
        prediction: OccupancyPrediction = self(batch.inputs)
        return prediction

    def configure_optimizers(self) -> Any:
        """AdamW with linear warm-up."""
        groups = self._parameter_groups()
        return adamw(self.trainer, groups, self.lr, self.weight_decay, self._lr_factor, self.warmup_steps)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """All parameters in one group, or those without weight decay in a second one."""
        if self.undecayed is None:
            return [{"params": list(self.parameters())}]
        norms = (module for module in self.modules() if isinstance(module, _NORMS))
        spared = {parameter for norm in norms for parameter in norm.parameters()}
        spared |= {value for name, value in self.named_parameters() if any(word in name for word in self.undecayed)}
        return [
            {"params": [parameter for parameter in self.parameters() if parameter not in spared]},
            {"params": [parameter for parameter in self.parameters() if parameter in spared], "weight_decay": 0.0},
        ]

    def _lr_factor(self, step: int, total: int) -> float:
        return warmed_factor(step, total, self.warmup_steps, self.schedule)
