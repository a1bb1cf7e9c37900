"""Settings of all tests, and the simulated data set that they share."""

from pathlib import Path

import pytest
from hypothesis import settings

from al_lightning.simulation.generate import generate
from al_lightning.simulation.presets import PRESETS

settings.register_profile("steady", deadline=None)  # a busy machine is no bug
settings.load_profile("steady")


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of the data set of preset ``tiny`` and seed 0, written by one process; not to be changed."""
    root = tmp_path_factory.mktemp("simulation") / "tiny"
    generate(root, PRESETS["tiny"], seed=0, workers=1)
    return root
