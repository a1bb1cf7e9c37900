"""Finished runs whose directories the tests of the report read."""

from pathlib import Path

import pytest
from fake_gallery import write_pictured_experiment

from al_lightning import cli


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each kind by the command line: three cycles, each shows two picks and two units left behind."""
    found = {}
    for kind in ("occupancy", "planning"):
        folder = tmp_path_factory.mktemp(kind)
        words = write_pictured_experiment(folder, kind)
        words += ["trainer.max_epochs=1", "gallery.selected=2", "gallery.rejected=2"]
        assert cli.main(words, folder / "configs") == 0
        found[kind] = folder / "run"
    return found
