"""Small experiments whose galleries have everything: camera pictures, and names that HTML must escape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from fake_occupancy import FakeFrames, write_experiment, write_frames
from fake_planning import FakeDrives, write_drives, write_planning_experiment
from PIL import Image

HOSTILE = "<script>alert('&')</script>"


class PicturedFrames(FakeFrames):
    """`FakeFrames` with two cameras; the first unit has a name that a page must not believe."""

    free_class = 0

    def __init__(self, root: str, split: str) -> None:
        super().__init__(root, split)
        self.files = self.units
        self.units = (HOSTILE, *self.units[1:])

    def sample(self, row, *, annotations=True, label_mask=False, generator=None):
        named, self.units = self.units, self.files
        try:
            return super().sample(row, annotations=annotations, label_mask=label_mask, generator=generator)
        finally:
            self.units = named

    def _label(self, unit: int) -> Path:
        return self.folder / f"{self.files[unit]}.label.npy"

    def pictures(self, row: int) -> dict[str, Path]:
        return {name: self.root / f"{name}.png" for name in ("CAM_LEFT", "CAM_RIGHT", "CAM_MISSING")}


class UnpicturedDrives(FakeDrives):
    """`FakeDrives` with names of agents."""

    class_names = ("car", "truck")


def write_pictured_experiment(folder: Path, kind: str) -> list[str]:
    """Data and configuration of an experiment, "occupancy" or "planning"; returns the words that run it."""
    data, configs = folder / "data", folder / "configs"
    if kind == "planning":
        write_drives(data)
        write_planning_experiment(configs)
    else:
        write_frames(data)
        write_experiment(configs)
        for name, shade in (("CAM_LEFT", 80), ("CAM_RIGHT", 160)):
            Image.fromarray(np.full((18, 32, 3), shade, np.uint8)).save(data / f"{name}.png")
    file = configs / "experiment/fake.yaml"
    experiment = yaml.safe_load(file.read_text())
    experiment["description"] = f"a tiny loop {HOSTILE}"
    name = "UnpicturedDrives" if kind == "planning" else "PicturedFrames"
    experiment["data"]["_target_"] = f"fake_gallery.{name}"
    file.write_text(yaml.safe_dump(experiment))
    return ["experiment=fake", f"data.root={data}", f"run_dir={folder / 'run'}"]
