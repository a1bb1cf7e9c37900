"""Short made-up drives on disk, and an experiment that plans on them: scenes are units, keyframes rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import yaml

from al_lightning.driving import BOUNDARY, LEFT, RIGHT, STRAIGHT, DrivingAnnotations, DrivingInputs
from al_lightning.types import Sample

FRAMES, STEPS = 9, 6


def write_drives(root: str | Path, train: int = 12, val: int = 3, seed: int = 0) -> None:
    """The way of each scene as sensor data, and beside it, as labels, two parked cars."""
    generator = np.random.default_rng(seed)
    for split, count in (("train", train), ("val", val)):
        (Path(root) / split).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pace = generator.uniform(1, 5) + 0.3 * generator.standard_normal(FRAMES + 2).cumsum()
            heading = np.pi / 2 + generator.normal(scale=0.1) * np.arange(FRAMES + 2)
            steps = np.maximum(pace, 0)[:, None] * np.stack((np.cos(heading), np.sin(heading)), axis=1)
            side = generator.uniform(2, 8) * np.array([1, -1])
            path = Path(root) / split / f"{number:03d}"
            np.savez(path.with_suffix(".drive.npz"), way=steps.cumsum(0), heading=heading)
            np.savez(path.with_suffix(".label.npz"), side=side, ahead=generator.uniform(0, 20, 2))


class FakeDrives:
    """Implements `ActiveDataset` on the files of `write_drives`."""

    def __init__(self, root: str, split: str, image_size: tuple[int, int] = (32, 32)) -> None:
        self.root, self.folder, self.image_size = Path(root), Path(root) / split, image_size
        self.units = tuple(path.name.split(".")[0] for path in sorted(self.folder.glob("*.drive.npz")))
        self.unit_of = np.repeat(np.arange(len(self.units)), FRAMES)
        self.subsets = {"odd": np.arange(len(self.units)) % 2 == 1}

    def __len__(self) -> int:
        return len(self.unit_of)

    def sample(self, row, *, annotations=True, label_mask=False, generator=None):
        unit, frame = divmod(row, FRAMES)
        with np.load(self.folder / f"{self.units[unit]}.drive.npz") as file:
            way, heading = file["way"], file["heading"]
        now, turn = frame + 2, np.pi / 2 - heading[frame + 2 - 1]
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        local = (np.concatenate((np.zeros((1, 2)), way)) - way[now - 1]) @ matrix.T  # the first point is the start
        ahead = np.minimum(now + np.arange(STEPS + 1), len(local) - 1)
        future = np.diff(local[ahead], axis=0)
        known = now + np.arange(1, STEPS + 1) < len(local)
        last = local[ahead[-1], 0]
        can_bus = np.zeros(18)
        can_bus[:2] = way[now - 1] - way[now - 2] if frame else 0
        can_bus[13] = 2 * np.linalg.norm(way[now - 1] - way[now - 2])
        can_bus[16:] = heading[now - 1], np.degrees(heading[now - 1] - heading[now - 2]) if frame else 0
        inputs = DrivingInputs(
            images=torch.randn(6, 3, *self.image_size, generator=torch.Generator().manual_seed(row)),
            lidar2img=rig(self.image_size),
            can_bus=_float(can_bus),
            new_scene=torch.tensor(frame == 0),
            command=torch.tensor(RIGHT if last >= 2 else LEFT if last <= -2 else STRAIGHT),
            ego_history=_float(np.diff(local[now - 2 : now + 1], axis=0)),
            ego_status=_float([*2 * (local[now] - local[now - 1]), *np.zeros(7)]),
            ego_future=_float(future),
            ego_future_mask=torch.from_numpy(known),
        )
        return Sample(row, inputs, self._annotations(unit, inputs, way[now - 1], matrix) if annotations else None)

    def annotations(self, row):
        return self.sample(row).annotations

    def _annotations(self, unit, inputs, here, matrix):
        with np.load(self._label(unit)) as file:
            places = np.stack((file["side"], file["ahead"]), axis=1)
        places = (places - here) @ matrix.T
        boxes = torch.zeros(2, 9)
        boxes[:, :2], boxes[:, 3:6], boxes[:, 6] = _float(places), torch.tensor([2.0, 4.5, 1.5]), -np.pi
        points = torch.stack((torch.full((20,), 7.0), torch.linspace(-30, 30, 20)), dim=1)
        orders = torch.stack((points, points.flip(0)))
        return DrivingAnnotations(
            boxes=boxes,
            labels=torch.zeros(2, dtype=torch.int64),
            futures=torch.zeros(2, STEPS, 2),
            future_mask=torch.ones(2, STEPS, dtype=torch.bool),
            lines=torch.stack((orders, -orders)),
            line_labels=torch.full((2,), BOUNDARY),
            ego_future=inputs.ego_future,
            ego_future_mask=inputs.ego_future_mask,
        )

    def _label(self, unit: int) -> Path:
        return self.folder / f"{self.units[unit]}.label.npz"

    def paths(self, unit: int) -> dict[str, str]:
        return {"label": str(self._label(unit).relative_to(self.root))}

    def label_problems(self, unit: int) -> list[str]:
        try:
            np.load(self._label(unit)).close()
        except (OSError, ValueError) as error:
            return [f"{self._label(unit)}: {error}"]
        return []


def rig(image_size: tuple[int, int]) -> torch.Tensor:
    """lidar2img (6, 4, 4) of six cameras that look all around from one place."""
    height, width = image_size
    view = np.array([[width / 2, 0, width / 2, 0], [0, width / 2, height / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    cameras = []
    for angle in np.radians([90, 35, 145, 270, 200, 340]):
        c, s = np.cos(angle), np.sin(angle)
        cameras.append(view @ np.array([[s, -c, 0, 0], [0, 0, -1, 0], [c, s, 0, 0], [0, 0, 0, 1]]))
    return _float(np.stack(cameras))


def _float(values) -> torch.Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)


def write_planning_experiment(config_dir: Path) -> None:
    """The experiment ``fake``: three cycles of planning with the value score."""
    acquisition = {
        "_target_": "al_lightning.acquisition.Acquisition",
        "representation": {
            "_target_": "al_lightning.acquisition.SceneRepresentation",
            "encoder": {"_target_": "al_lightning.models.SceneEncoder", "channels": 16, "dim": 8},
            "loss": {"_target_": "al_lightning.losses.SafetyContrastive"},
            "epochs": 20,
        },
        "criteria": {
            "safety": {"_target_": "al_lightning.acquisition.SafetyCriticality"},
            "rarity": {"_target_": "al_lightning.acquisition.Rarity", "neighbors": 3},
            "uncertainty": {"_target_": "al_lightning.acquisition.Uncertainty"},
        },
        "weights": {"safety": 1.0, "rarity": 1.0, "uncertainty": 1.0},
        "normalizer": {"_target_": "al_lightning.acquisition.DivideByDeviation"},
        "combiner": {"_target_": "al_lightning.acquisition.WeightedSum"},
    }
    experiment = {
        "description": "a tiny loop",
        "data": {"_target_": "fake_planning.FakeDrives", "root": "???", "image_size": [4, 4]},
        "task": {
            "_target_": "al_lightning.tasks.PlanningTask",
            "network": {"_target_": "al_lightning.models.EgoStatusPlanner", "hidden": [16]},
            "loss": {"_target_": "al_lightning.losses.Imitation"},
            "metric": {"_target_": "al_lightning.metrics.OpenLoopPlanning"},
            "passes": 3,
            "seed": "${seed}",
            "lr": 0.01,
            "warmup_steps": 2,
        },
        "summarizer": {"_target_": "al_lightning.acquisition.ErrorWindows", "horizon": 5},
        "acquisition": acquisition,
        "loop": {"cycles": 3, "seed_size": 3, "budget": 3, "weights": "previous"},
        "loader": {"batch_size": 8, "predict_batch_size": 4},
        "trainer": {
            "max_epochs": 3, "later_epochs": 2, "accelerator": "cpu", "devices": 1, "progress_bar": False
        },
        "tracking": {"mode": "disabled"},
    }  # fmt: skip
    (config_dir / "experiment").mkdir(parents=True, exist_ok=True)
    (config_dir / "experiment" / "fake.yaml").write_text(yaml.safe_dump(experiment))
