"""A tiny occupancy world on disk, a network with batch norm and dropout, and an experiment that loops over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torchmetrics import Metric

from al_lightning.types import CameraInputs, OccupancyAnnotations, OccupancyPrediction, Sample

CLASSES = ("free", "road", "car")
SHAPE = (4, 4, 2)


def write_frames(root: str | Path, train: int = 12, val: int = 3, seed: int = 0) -> None:
    """Images whose brightness tells the class of each half of the grid, and labels beside them."""
    generator = np.random.default_rng(seed)
    for split, count in (("train", train), ("val", val)):
        (Path(root) / split).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            classes = generator.integers(0, 3, 2)
            image = generator.normal(scale=0.3, size=(1, 3, 8, 8)).astype(np.float32)
            image[..., :4] += classes[0] - 1
            image[..., 4:] += classes[1] - 1
            labels = np.repeat(classes, 2)[:, None, None] * np.ones(SHAPE, dtype=np.uint8)
            np.save(Path(root) / split / f"{number:03d}.image.npy", image)
            np.save(Path(root) / split / f"{number:03d}.label.npy", labels.astype(np.uint8))


class FakeFrames:
    """Implements `ActiveDataset` on the files of `write_frames`."""

    class_names = CLASSES

    def __init__(self, root: str, split: str) -> None:
        self.root, self.folder = Path(root), Path(root) / split
        self.units = tuple(path.name.split(".")[0] for path in sorted(self.folder.glob("*.image.npy")))
        self.unit_of = np.arange(len(self.units))
        self.subsets = {"odd": self.unit_of % 2 == 1}

    def __len__(self) -> int:
        return len(self.units)

    def sample(self, row, *, annotations=True, label_mask=False, generator=None):
        image = torch.from_numpy(np.load(self.folder / f"{self.units[row]}.image.npy"))
        if generator is not None:
            image = image + torch.from_numpy(generator.normal(scale=0.05, size=image.shape).astype(np.float32))
        eye = torch.eye(3)[None]
        inputs = CameraInputs(image, torch.eye(4)[None], eye, eye, torch.zeros(1, 3), torch.eye(4))
        truth = self.annotations(row) if annotations else None
        return Sample(row, inputs, truth, torch.ones(SHAPE, dtype=torch.bool) if label_mask else None)

    def annotations(self, row):
        labels = torch.from_numpy(np.load(self._label(row)))
        return OccupancyAnnotations(labels, torch.ones(SHAPE, dtype=torch.bool))

    def _label(self, unit: int) -> Path:
        return self.folder / f"{self.units[unit]}.label.npy"

    def paths(self, unit: int) -> dict[str, str]:
        return {"label": str(self._label(unit).relative_to(self.root))}

    def label_problems(self, unit: int) -> list[str]:
        try:
            labels = np.load(self._label(unit))
        except (OSError, ValueError) as error:
            return [f"{self._label(unit)}: {error}"]
        return [] if labels.shape == SHAPE else [f"{self._label(unit)}: shape {labels.shape}, expected {SHAPE}"]


class TinyNetwork(nn.Module):
    """Convolution, batch norm, dropout, and one linear layer for all voxels."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Linear(4 * 3 * 3, len(CLASSES) * int(np.prod(SHAPE)))

    def forward(self, inputs: CameraInputs) -> OccupancyPrediction:
        features = self.trunk(inputs.images[:, 0])
        return OccupancyPrediction(self.head(features.flatten(1)).view(-1, len(CLASSES), *SHAPE), features)


class CrossEntropy(nn.Module):
    def forward(self, prediction: OccupancyPrediction, annotations: OccupancyAnnotations) -> dict[str, Tensor]:
        return {"cross_entropy": nn.functional.cross_entropy(prediction.logits, annotations.semantics.long())}


class Accuracy(Metric):
    def __init__(self) -> None:
        super().__init__()
        self.add_state("right", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("all", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, semantics: Tensor, mask: Tensor) -> None:
        self.right += (prediction == semantics)[mask].sum()
        self.all += mask.sum()

    def compute(self) -> dict[str, Tensor]:
        share = self.right / self.all
        return {"mIoU": share, "IoU/road": share / 2}


def write_experiment(config_dir: Path) -> None:
    """The experiment ``fake``: three cycles of three epochs with the combined acquisition score."""
    grid = {"_target_": "al_lightning.types.VoxelGrid", "lower": [0, 0, 0], "upper": [4, 4, 2], "shape": list(SHAPE)}
    criterion = {
        "inter": "InterSampleDiversity", "intra": "IntraSetDiversity", "uncertainty": "FrequencyWeightedUncertainty"
    }  # fmt: skip
    acquisition = {
        "_target_": "al_lightning.acquisition.Acquisition",
        "criteria": {name: {"_target_": f"al_lightning.acquisition.{kind}"} for name, kind in criterion.items()},
        "weights": dict.fromkeys(criterion, 1.0),
        "normalizer": {"_target_": "al_lightning.acquisition.RobustMinMax"},
        "combiner": {"_target_": "al_lightning.acquisition.L2Norm"},
        "scope": "pool",
    }
    experiment = {
        "description": "a tiny loop",
        "data": {"_target_": "fake_occupancy.FakeFrames", "root": "???"},
        "task": {
            "_target_": "al_lightning.tasks.OccupancyTask",
            "network": {"_target_": "fake_occupancy.TinyNetwork"},
            "loss": {"_target_": "fake_occupancy.CrossEntropy"},
            "metric": {"_target_": "fake_occupancy.Accuracy"},
            "lr": 0.01,
            "warmup_steps": 2,
        },
        "summarizer": {
            "_target_": "al_lightning.acquisition.VoxelSummarizer", "grid": grid, "visibility": "all"
        },
        "acquisition": acquisition,
        "callbacks": {
            "majority": {"_target_": "al_lightning.engine.VoxelMajority", "num_classes": 3},
            "subsets": {"_target_": "al_lightning.engine.SubsetMetrics"},
        },
        "loop": {"cycles": 3, "seed_size": 3, "budget": 3},
        "loader": {"batch_size": 2, "predict_batch_size": 4},
        "trainer": {"max_epochs": 3, "accelerator": "cpu", "devices": 1, "progress_bar": False},
        "tracking": {"mode": "disabled"},
    }  # fmt: skip
    (config_dir / "experiment").mkdir(parents=True, exist_ok=True)
    (config_dir / "experiment" / "fake.yaml").write_text(yaml.safe_dump(experiment))
