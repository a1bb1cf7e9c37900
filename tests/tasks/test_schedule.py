"""Learning rates of VAD's training against the formulas of mmcv, and a warm-up that leaves time to learn."""

import logging
import math

import pytest
import torch
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader

from al_lightning.losses import Imitation
from al_lightning.metrics import OpenLoopPlanning
from al_lightning.models import EgoStatusPlanner
from al_lightning.tasks import OccupancyTask, PlanningTask
from al_lightning.tasks.schedule import decay_factor, epoch_cosine_factor, warmed_factor, warmup_length


def task(**arguments) -> PlanningTask:
    return PlanningTask(EgoStatusPlanner(hidden=(4,)), Imitation(), OpenLoopPlanning(), **arguments)


def mmcv(step: int, total: int, epochs: int, warmup: int) -> float:
    """`CosineAnnealingLrUpdaterHook` by epoch, with linear warm-up by iteration from a third."""
    epoch = step // (total // epochs)
    regular = 1e-3 + 0.5 * (1 - 1e-3) * (math.cos(math.pi * epoch / epochs) + 1)
    return regular * (1 - (1 - step / warmup) * (1 - 1 / 3)) if step < warmup else regular


@pytest.mark.parametrize(("steps_an_epoch", "epochs"), [(350, 10), (1000, 2), (3, 7)])
def test_the_rate_is_that_of_mmcv(steps_an_epoch: int, epochs: int) -> None:
    total = steps_an_epoch * epochs
    subject = task(warmup_steps=500, warmup_share=1.0, schedule="epoch_cosine")
    warmup = min(500, total)
    for step in range(total):
        assert subject._lr_factor(step, total, epochs) == pytest.approx(mmcv(step, total, epochs, warmup), abs=1e-12)


def test_an_epoch_has_one_rate_and_the_last_one_is_still_above_the_lowest() -> None:
    factors = [epoch_cosine_factor(step, 40, 10, 1e-3) for step in range(41)]
    assert all(len(set(factors[begin : begin + 4])) == 1 for begin in range(0, 40, 4))
    assert factors[::4] == sorted(factors[::4], reverse=True)
    assert factors[0] == 1
    assert factors[39] == pytest.approx(0.0254, abs=1e-4)
    assert factors[40] == pytest.approx(1e-3)
    assert [epoch_cosine_factor(step, 2, 2, 1e-3) for step in range(2)] == [1, pytest.approx(0.5005)]


@pytest.mark.parametrize(("total", "epochs"), [(0, 2), (5, 0), (5, -1)])
def test_a_schedule_by_epochs_needs_them(total: int, epochs: int) -> None:
    with pytest.raises(ValueError, match="numbers of steps and epochs"):
        epoch_cosine_factor(0, total, epochs, 1e-3)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "epoch_cosine"])
def test_a_warm_up_takes_at_most_its_share(schedule: str) -> None:
    subject = task(warmup_steps=500, schedule=schedule)
    early = [subject._lr_factor(step, 800, 2) for step in range(201)]
    assert early[0] == pytest.approx(1 / 3)
    assert early[100] == pytest.approx(2 / 3)
    assert early[200] == 1
    assert subject._lr_factor(499, 8000, 10) < 1 == subject._lr_factor(500, 8000, 10)
    assert task(warmup_steps=500, warmup_share=0.0, schedule=schedule)._lr_factor(0, 800, 2) == 1


class Rates(PlanningTask):
    def training_step(self, batch, batch_idx):
        self.found = [*getattr(self, "found", []), self.trainer.optimizers[0].param_groups[0]["lr"]]
        return sum(parameter.sum() for parameter in self.network.parameters())


def test_the_trainer_counts_steps_not_batches_and_says_what_it_shortens(caplog: pytest.LogCaptureFixture) -> None:
    subject = Rates(EgoStatusPlanner(hidden=(4,)), Imitation(), OpenLoopPlanning(), lr=1.0, warmup_steps=4,
                    schedule="epoch_cosine")  # fmt: skip
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=2, accumulate_grad_batches=2, logger=False, barebones=True
    )
    with caplog.at_level(logging.INFO, logger="al_lightning"):
        trainer.fit(subject, DataLoader(torch.zeros(5)))  # 3 steps an epoch
    warm = 1 / 3
    assert subject.found == pytest.approx([warm, warm, 1, 1, 1, *[0.5005] * 5])
    assert "a warm-up of 4 steps is shortened to 1 of 6" in caplog.text


@pytest.mark.parametrize("schedule", ["constant", "cosine", "steps"])
def test_a_warm_up_longer_than_the_training_is_shortened_everywhere(schedule: str) -> None:
    factors = [warmed_factor(step, 40, 200, schedule) for step in range(40)]
    assert factors[:21] == [1e-3, *(step / 20 for step in range(1, 20)), 1]
    assert factors == [warmed_factor(step, 40, 20, schedule) for step in range(40)]
    assert warmup_length(19, 40) == 19


@pytest.mark.parametrize("kind", [OccupancyTask, PlanningTask])
def test_an_unknown_schedule_is_refused(kind: type) -> None:
    with pytest.raises(ValueError, match=r"schedule must be one of constant, cosine, .*, got 'cosin'"):
        kind(EgoStatusPlanner(hidden=(4,)), Imitation(), OpenLoopPlanning(), schedule="cosin")
    with pytest.raises(ValueError, match="got 'epoch_cosine'"):
        decay_factor(5, 10, 0, "epoch_cosine")


def test_a_share_that_is_none_is_refused() -> None:
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="warmup_share"):
            task(warmup_share=share)
