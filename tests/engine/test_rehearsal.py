"""What the rehearsal finds before training."""

from pathlib import Path

import pytest
from fake_occupancy import FakeFrames, write_experiment, write_frames

from al_lightning import cli


def test_a_network_with_other_classes_than_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_frames(tmp_path / "data")
    write_experiment(tmp_path / "configs")
    monkeypatch.setattr(FakeFrames, "class_names", ("empty", "road", "car", "tree"))
    words = ["experiment=fake", f"data.root={tmp_path / 'data'}", f"run_dir={tmp_path / 'run'}"]
    assert cli.main(words, tmp_path / "configs") == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "the network predicts 3 classes, the data set has 4: empty, road, car, tree" in said
    assert not (tmp_path / "run/cycles").exists()
