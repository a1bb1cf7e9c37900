"""The task around any detector: what it hands to the metric, and how it trains."""

from dataclasses import dataclass

import pytest
import torch
from pytorch_lightning import Trainer
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics import Metric

from al_lightning.detection import Detections, decode_tokens, encode_tokens
from al_lightning.tasks import DetectionTask
from al_lightning.types import Batch, Sample, collate


@dataclass
class Inputs:
    tokens: torch.Tensor
    value: torch.Tensor

    @staticmethod
    def join(items):
        return Inputs(torch.cat([item.tokens for item in items]), torch.cat([item.value for item in items]))


class Detector(nn.Module):
    """Knows one number, which has to become 3; it finds a box of class 0 in each frame, at that number."""

    class_names = ("car", "bus")

    def __init__(self):
        super().__init__()
        self.number = nn.Parameter(torch.zeros(1))

    def losses(self, inputs, annotations):
        return {"near": (self.number - annotations.value).square().mean(), "small": 1e-6 * self.number.square().sum()}

    def forward(self, inputs):
        shape = (len(inputs.tokens), 1)
        return Detections(self.number.expand(*shape, 9), torch.zeros(shape, dtype=torch.int64), torch.ones(shape))


class Seen(Metric):
    class_names = ("car", "bus")

    def __init__(self):
        super().__init__()
        self.add_state("tokens", [], dist_reduce_fx="cat")
        self.add_state("places", [], dist_reduce_fx="cat")

    def update(self, tokens, boxes, labels, scores):
        assert labels.shape == scores.shape == boxes.shape[:2]
        self.tokens.append(tokens)
        self.places.append(boxes[..., 0])

    def compute(self):
        return {"frames": float(len(torch.cat(self.tokens))), "place": torch.cat(self.places).mean()}


def loader():
    def sample(row):
        inputs = Inputs(encode_tokens([f"frame {row}"]), torch.full((1,), 3.0))
        return Sample(row, inputs, inputs)

    return DataLoader([sample(row) for row in range(6)], batch_size=2, collate_fn=collate)


def test_trains_validates_and_predicts(tmp_path):
    task = DetectionTask(Detector(), Seen(), lr=0.3, warmup_steps=2, weight_decay=0.0)
    trainer = Trainer(
        max_epochs=20, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(task, loader())
    trainer.validate(task, loader(), verbose=False)
    values = trainer.callback_metrics
    assert values["frames"] == 6
    assert values["place"] == pytest.approx(3.0, abs=0.1)
    predictions = trainer.predict(task, loader())
    assert [len(prediction.boxes) for prediction in predictions] == [2, 2, 2]


def test_the_terms_of_the_loss_are_logged_each_and_do_not_crowd_the_progress_bar(tmp_path):
    trainer = Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    detector = Detector()
    detector.number.data += 1
    trainer.fit(DetectionTask(detector, Seen()), loader())
    logged = {name: value.item() for name, value in trainer.logged_metrics.items()}
    assert logged == pytest.approx({"train/loss": 4.000001, "train/near": 4.0, "train/small": 1e-6})
    assert [name for name in trainer.progress_bar_metrics if name.startswith("train/")] == ["train/loss"]


def test_hands_frames_and_boxes_to_the_metric():
    task = DetectionTask(Detector(), Seen())
    batch = collate([Sample(4, Inputs(encode_tokens(["ab"]), torch.ones(1)))])
    assert isinstance(batch, Batch)
    tokens, boxes, labels, scores = task.measured(task.validation_step(batch, 0), batch)
    assert decode_tokens(tokens) == ["ab"]
    assert (boxes.shape, labels.shape, scores.shape) == ((1, 1, 9), (1, 1), (1, 1))


def test_network_and_metric_name_the_same_classes():
    metric = Seen()
    metric.class_names = ("bus", "car")
    with pytest.raises(ValueError, match="the network's classes car, bus"):
        DetectionTask(Detector(), metric)


@pytest.mark.parametrize("settings", [{"lr": 0.0}, {"weight_decay": -1.0}, {"warmup_steps": -1}])
def test_refuses_bad_rates(settings):
    with pytest.raises(ValueError, match="lr must be positive"):
        DetectionTask(Detector(), Seen(), **settings)


def test_schedule():
    constant, cosine = (DetectionTask(Detector(), Seen(), warmup_steps=10, schedule=s) for s in ("constant", "cosine"))
    assert [constant._lr_factor(step, 110) for step in (0, 5, 10, 109)] == [1e-3, 0.5, 1.0, 1.0]
    assert [cosine._lr_factor(step, 110) for step in (5, 10, 60, 110)] == pytest.approx([0.5, 1.0, 0.5, 0.0])
