"""End-to-end planning as a LightningModule: network, losses and metric are injected.

Shape letters: B samples, K stochastic passes, T steps, A agents.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import Metric

from al_lightning.driving import OBSTACLES, DrivingInputs, DrivingPrediction, commanded_positions, footprints
from al_lightning.models.vad import monte_carlo_dropout
from al_lightning.tasks.frames import Driver, Frame, FrameByFrame, PlanningBatch, remembered, unaware
from al_lightning.tasks.loss_terms import logged_sum
from al_lightning.tasks.schedule import adamw, check_schedule, decay_factor, epoch_cosine_factor, warmup_length

LOWEST = 1e-3
"""Least share of the learning rate."""


class PlanningTask(LightningModule):
    """Train, validate and predict plans.

    A network may carry its bird's-eye view from frame to frame. Validation and prediction therefore want the rows of a
    scene one after the other (the DataModule's loaders are sequential and give whole units to each process); what is
    carried is always that of a pass without dropout.

    Args:
        network: a `Driver`.
        loss: (prediction, annotations, command (B,)) -> name -> weighted scalar; their sum is minimized.
        metric: updated with plan (B, T, 2), truth (B, T, 2), valid (B, T), footprints (B, A, T, 5) and present
            (B, A, T); computes a dictionary of scalars.
        passes: K, stochastic passes of a prediction, with the dropout of the network active; 0 for none.
        attention_dropout: drop attention probabilities in stochastic passes, too (`monte_carlo_dropout`).
        seed: seed of the stochastic passes; each has its own, of this, the row and the number of the pass.
        lr: learning rate of AdamW.
        lr_factors: beginning of a parameter's name in the network -> factor of its learning rate.
        weight_decay: weight decay of AdamW.
        warmup_steps: steps of linear warm-up.
        warmup_start: factor of the learning rate at the first step.
        warmup_share: most of all steps of a training that the warm-up may take; a longer one is shortened.
        schedule: after the warm-up constant, or half a cosine down to a thousandth; or, as in VAD, that cosine in
            steps of whole epochs, with the warm-up as a factor on top (`epoch_cosine_factor`).

    Raises:
        ValueError: a rate, decay, factor or number is out of range, or the schedule unknown.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        metric: Metric,
        passes: int = 10,
        attention_dropout: bool = False,
        seed: int = 0,
        lr: float = 2e-4,
        lr_factors: Mapping[str, float] | None = None,
        weight_decay: float = 0.01,
        warmup_steps: int = 500,
        warmup_start: float = 1 / 3,
        warmup_share: float = 0.25,
        schedule: Literal["constant", "cosine", "epoch_cosine"] = "cosine",
    ) -> None:
        super().__init__()
        factors = dict(lr_factors or {})
        rates = (lr, warmup_start, *factors.values())
        if not (all(0 < rate < math.inf for rate in rates) and 0 <= weight_decay < math.inf and warmup_start <= 1):
            raise ValueError(
                "lr, lr_factors and warmup_start must be positive, warmup_start at most 1 and weight_decay not "
                f"negative, got {lr}, {factors}, {warmup_start} and {weight_decay}"
            )
        if not 0 <= warmup_share <= 1:
            raise ValueError(f"warmup_share must lie in [0, 1], got {warmup_share}")
        if min(passes, warmup_steps, seed) < 0:
            raise ValueError(
                f"passes, warmup_steps and seed must not be negative, got {passes}, {warmup_steps} and {seed}"
            )
        check_schedule(schedule, ("constant", "cosine", "epoch_cosine"))
        self.network, self.loss, self.metric = network, loss, metric
        self.passes, self.attention_dropout, self.seed = passes, attention_dropout, seed
        self.lr, self.lr_factors, self.weight_decay = lr, factors, weight_decay
        self.warmup_steps, self.warmup_start, self.warmup_share = warmup_steps, warmup_start, warmup_share
        self.schedule = schedule
        self.frame_by_frame = FrameByFrame(self.driver)

    def forward(self, inputs: DrivingInputs, history: Tensor | None = None) -> DrivingPrediction:
        """Run the network."""
        prediction: DrivingPrediction = self.network(inputs, history)
        return prediction

    @property
    def driver(self) -> Driver:
        """The network by its parts."""
        return cast(Driver, self.network)

    # --- training -----------------------------------------------------------------------------------------------------

    def training_step(self, batch: PlanningBatch, batch_idx: int) -> Tensor:
        """The loss of a labeled batch."""
        prediction = self(unaware(batch.inputs), remembered(self.driver, batch.past))
        terms: dict[str, Tensor] = self.loss(prediction, batch.annotations, batch.inputs.command)
        return logged_sum(self, terms, len(batch.index))

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up."""
        epochs = self.trainer.max_epochs or 0
        return adamw(self.trainer, list(self._parameter_groups()), self.lr, self.weight_decay,
                     lambda step, total: self._lr_factor(step, total, epochs), self.warmup_steps,
                     self.warmup_share)  # fmt: skip

    def _parameter_groups(self) -> Iterator[dict[str, Any]]:
        named = dict(self.network.named_parameters())
        for prefix, factor in self.lr_factors.items():
            chosen = [name for name in named if name.startswith(prefix)]
            if not chosen:
                raise ValueError(f"lr_factors: no parameter of the network begins with '{prefix}'")
            yield {"params": [named.pop(name) for name in chosen], "lr": self.lr * factor}
        yield {"params": list(named.values())}

    def _lr_factor(self, step: int, total: int, epochs: int) -> float:
        warmup = warmup_length(self.warmup_steps, total, self.warmup_share)
        ramp = self.warmup_start + (1 - self.warmup_start) * step / warmup if step < warmup else 1.0
        if self.schedule == "epoch_cosine":
            return ramp * epoch_cosine_factor(step, total, epochs, LOWEST)
        return ramp if step < warmup else max(LOWEST, decay_factor(step, total, warmup, self.schedule))

    # --- validation ---------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """No frame has been seen yet."""
        self.frame_by_frame.restart()

    def validation_step(self, batch: PlanningBatch, batch_idx: int) -> Tensor:
        """Compare the plans of a labeled batch; returns them (B, T, 2)."""
        plan = torch.cat([_positions(frame.prediction, frame.inputs) for frame in self.frame_by_frame(batch)])
        self.metric.update(*self.measured(plan, batch))
        return plan

    def measured(self, plan: Tensor, batch: PlanningBatch) -> tuple[Tensor, ...]:
        """Plans (B, T, 2) with the way driven and the road users, as the metric takes them."""
        assert batch.annotations is not None
        truth = batch.annotations
        agents, present = footprints(truth)
        road_users = ~torch.isin(truth.labels, torch.tensor(OBSTACLES, device=truth.labels.device))
        return plan, truth.ego_future.cumsum(dim=1), truth.ego_future_mask, agents, present & road_users[..., None]

    def on_validation_epoch_end(self) -> None:
        """Report the metric over the whole validation set."""
        self.log_dict(self.metric.compute(), logger=False)
        self.metric.reset()

    # --- prediction ---------------------------------------------------------------------------------------------------

    def on_predict_epoch_start(self) -> None:
        """No frame has been seen yet."""
        self.frame_by_frame.restart()

    def predict_step(self, batch: PlanningBatch, batch_idx: int) -> Tensor:
        """Plans from sensors alone.

        Returns:
            (B, 1 + K, T, 2) positions under the command, metres: without dropout, then of every stochastic pass.
        """
        return torch.stack([self._plans(frame) for frame in self.frame_by_frame(batch)])

    def _plans(self, frame: Frame) -> Tensor:
        """Plans (1 + K, T, 2) of a frame; what holds no dropout, as the image trunk, is not run again."""
        predictions = [frame.prediction]
        cuda = [frame.features.device] if frame.features.is_cuda else []
        with torch.random.fork_rng(cuda), monte_carlo_dropout(self.network, self.attention_dropout):
            for number in range(self.passes):
                _seed(pass_seed(self.seed, frame.row, number), frame.features.device)
                predictions.append(frame.drive(plan_only=True))
        return torch.cat([_positions(prediction, frame.inputs) for prediction in predictions])


def pass_seed(seed: int, row: int, number: int) -> int:
    """Seed of a stochastic pass: of the run's seed, the row and the number of the pass alone."""
    return int(np.random.SeedSequence((seed, row, number)).generate_state(1, np.uint64)[0]) >> 1


def _seed(seed: int, device: torch.device) -> None:
    """What draws on a device; for the processor alone without the stack traces that `torch.manual_seed` takes down."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _positions(prediction: DrivingPrediction, inputs: DrivingInputs) -> Tensor:
    return commanded_positions(prediction.plan, inputs.command)
