"""Settings of all tests, a record of opened files, and the simulated data set that they share."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Tests compute little at a time: threads that spin until there is more take the processor from what runs meanwhile.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before OpenMP is loaded; processes that tests start have it, too

from al_lightning.simulation.generate import generate
from al_lightning.simulation.presets import PRESETS

# Workers of pytest-xdist ignore Control-C, and so would whatever they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("steady", deadline=None)  # a busy machine is no bug
settings.load_profile("steady")

opened: list[str] | None = None


def _note_opening(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and opened is not None:
        opened.append(str(arguments[0]))


sys.addaudithook(_note_opening)  # cannot be removed; silent while `opened` is None


@pytest.fixture
def openings() -> Iterator[list[str]]:
    """Names of the files opened since the test began, by whatever function."""
    global opened
    opened = []
    yield opened
    opened = None


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of the data set of preset ``tiny`` and seed 0, written by one process; not to be changed."""
    root = tmp_path_factory.mktemp("simulation") / "tiny"
    generate(root, PRESETS["tiny"], seed=0, workers=1)
    return root
