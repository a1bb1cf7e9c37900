"""Predictions of a finished run, written for the benchmark and read back."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from fake_semantickitti import write_semantickitti

from al_lightning import cli
from al_lightning.config import compose
from al_lightning.data import SemanticKITTI
from al_lightning.data.semantickitti_files import read_label
from al_lightning.export_kitti import export, main
from al_lightning.models import flashocc_nano
from al_lightning.tasks import OccupancyTask
from al_lightning.types import OccupancyPrediction, VoxelGrid, collate

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
GRID = VoxelGrid((0.0, -25.6, -2.0), (51.2, 25.6, 4.4), (32, 32, 4))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("kitti")
    write_semantickitti(root, {"00": 2, "08": 1, "12": 2})
    for path in root.glob("sequences/12/voxels/*"):
        if path.suffix != ".bin":
            path.unlink()  # as in the benchmark's test sequences
    for sequence in range(11, 22):
        if sequence != 12:
            (root / f"sequences/{sequence}").symlink_to(root / "sequences/12")
    return root


def test_every_frame_of_the_test_split_is_written(root, tmp_path, capsys):
    words = ["experiment=occupancy_kitti", "acquisition=random", f"data.root={root}", "data.grid.shape=[32,32,4]",
             "loop.cycles=1", "loop.seed_size=1", "loop.budget=1", "trainer.max_epochs=1", "loader.samples_per_epoch=1",
             "trainer.accelerator=cpu", "trainer.progress_bar=false", "tracking.mode=disabled",
             "data.image_size=[32,96]"]  # fmt: skip
    assert cli.main([*words, f"run_dir={tmp_path / 'run'}"], CONFIGS) == 0
    assert main([str(tmp_path / "run"), str(tmp_path / "out")]) == 0
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.label"))
    assert written == [f"sequences/{n}/predictions/00000{frame}.label" for n in range(11, 22) for frame in (0, 5)]
    weights = torch.load(tmp_path / "run/cycles/0/checkpoint.ckpt", weights_only=True)["state_dict"]
    network = flashocc_nano(GRID, 20, (32, 96), (2.0, 54.0, 1.0)).eval()
    network.load_state_dict({key.removeprefix("network."): value for key, value in weights.items()})
    sample = SemanticKITTI(str(root), GRID, split="test", image_size=(32, 96)).sample(1, annotations=False)
    with torch.no_grad():
        expected = network(collate([sample]).inputs).logits[0].argmax(0)
    read = read_label(tmp_path / "out" / written[1])
    np.testing.assert_array_equal(read[::8, ::8, ::8], expected)
    assert main([str(tmp_path / "run"), str(tmp_path / "out"), "--cycle", "3"]) == 1
    assert "no checkpoint of cycle 3" in capsys.readouterr().err
    for sequence in (13, 21):
        (root / f"sequences/{sequence}").unlink()
    assert main([str(tmp_path / "run"), str(tmp_path / "partial")]) == 1
    assert "lacks 13, 21" in capsys.readouterr().err
    assert not (tmp_path / "partial").exists()


def test_the_class_of_every_voxel_survives(root, tmp_path):
    class Echo(OccupancyTask):
        """Predicts a class that depends on the voxel alone."""

        def __init__(self):
            torch.nn.Module.__init__(self)

        device = torch.device("cpu")

        def predict_step(self, batch, batch_idx):
            classes = torch.arange(np.prod(GRID.shape)).view(1, *GRID.shape) % 20
            return OccupancyPrediction(torch.nn.functional.one_hot(classes, 20).movedim(-1, 1).float())

    export(Echo(), SemanticKITTI(str(root), GRID, split="val"), tmp_path)
    read = read_label(tmp_path / "sequences/08/predictions/000000.label")
    np.testing.assert_array_equal(read[4::8, 4::8, 4::8].ravel(), np.arange(np.prod(GRID.shape)) % 20)


def test_what_is_no_run_is_refused(tmp_path, capsys):
    assert main([str(tmp_path), str(tmp_path / "out")]) == 1
    assert "no config.yaml" in capsys.readouterr().err


def test_a_run_on_other_data_is_named(tmp_path, capsys):
    _, resolved = compose(CONFIGS, ["experiment=occupancy_sim", "run_dir=."])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(resolved))
    assert main([str(tmp_path), str(tmp_path / "out")]) == 1
    assert f"{tmp_path} is no experiment on SemanticKITTI: 'data' must be of the kind" in capsys.readouterr().err
