"""What the rehearsal finds before training."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_occupancy import Accuracy, FakeFrames, TinyNetwork, write_experiment, write_frames

from al_lightning import cli


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What the command says that refuses the experiment before it trains."""

    def refused() -> str:
        write_frames(tmp_path / "data")
        write_experiment(tmp_path / "configs")
        words = ["experiment=fake", f"data.root={tmp_path / 'data'}", f"run_dir={tmp_path / 'run'}"]
        assert cli.main(words, tmp_path / "configs") == 2
        assert not (tmp_path / "run/cycles").exists()
        return " ".join(capsys.readouterr().out.split())

    return refused


def test_a_network_with_other_classes_than_the_data(
    refused: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeFrames, "class_names", ("empty", "road", "car", "tree"))
    assert "the network predicts 3 classes, the data set has 4: empty, road, car, tree" in refused()


@pytest.mark.parametrize(("part", "name"), [(TinyNetwork, "network"), (Accuracy, "metric")])
def test_a_network_or_metric_with_the_same_classes_in_another_order(
    refused: Callable[[], str], monkeypatch: pytest.MonkeyPatch, part: type, name: str
) -> None:
    """As many, so that nothing else would show that the labels are swapped."""
    monkeypatch.setattr(FakeFrames, "class_names", ("car", "road", "nothing"))
    monkeypatch.setattr(part, "class_names", ("road", "car"), raising=False)
    assert f"the {name}'s classes are road, car, the data set's car, road, nothing: they must be the same" in refused()
