"""The notebooks run from start to end on tiny runs and show what they promise; in git they hold no outputs."""

import os
import shutil
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from fake_planning import write_drives, write_planning_experiment
from nbclient import NotebookClient

from al_lightning import cli

TESTS = Path(__file__).resolve().parents[1]
PROJECT = TESTS.parent
NOTEBOOKS = PROJECT / "notebooks"
NAMES = ("add_a_criterion", "occupancy", "planning")


def execute(name: str, folder: Path, **environment: str) -> tuple[Counter[str], str]:
    """Run a notebook in a folder: how many outputs of each kind it shows, and all it says.

    An error in a cell is an error here; so are warnings.
    """
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}})
    client.execute(env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)} | environment)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    streams = {kind: "".join(o.text for o in outputs if o.get("name") == kind) for kind in ("stdout", "stderr")}
    assert streams["stderr"] == ""
    shown = [output.data for output in outputs if "data" in output]
    kinds = ("image/png", "image/svg+xml", "text/markdown")
    said = [streams["stdout"], *(data.get("text/markdown", data["text/plain"]) for data in shown)]
    return Counter(kind for data in shown for kind in kinds if kind in data), "\n".join(said)


def test_every_notebook_is_tried() -> None:
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_file_holds_no_outputs(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs for cell in code)
    assert {cell.execution_count for cell in code} == {None}


@pytest.fixture(scope="session")
def project(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the project's, with a run that selects by CAS."""
    folder = tmp_path_factory.mktemp("notebooks")
    shutil.copy(PROJECT / "train.py", folder)
    shutil.copytree(PROJECT / "configs", folder / "configs")
    assert cli.main([*size(tiny_world), f"run_dir={folder / 'runs/cas'}"], folder / "configs") == 0
    return folder


def size(world: Path) -> list[str]:
    """Words of a run of seconds."""
    return [
        f"data.root={world}", "prepare.preset=tiny", "data.image_size=[32,96]", "loop.cycles=2", "loop.seed_size=2",
        "loop.budget=2", "trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.progress_bar=false",
        "tracking.mode=disabled",
    ]  # fmt: skip


def test_add_a_criterion(project: Path, tiny_world: Path) -> None:
    kinds, said = execute("add_a_criterion", project, SIZE=" ".join(size(tiny_world)))
    assert kinds == {"image/png": 1, "text/markdown": 2}
    assert "tensor([1.0760, 1.7100]" in said  # 0.5 + 0.5 * log2(1 / 0.45), ...
    assert "| surprise (1 seed) |" in said
    assert "| random / surprise |" in said
    selections = {path.read_text() for path in project.glob("runs/*/*/*/cycles/0/selection.csv")}
    assert sorted(text.splitlines()[0].split(",")[3] for text in selections) == ["random", "surprise"]


def test_occupancy(project: Path) -> None:
    kinds, said = execute("occupancy", NOTEBOOKS, RUN=str(project / "runs/cas"), RUNS=str(project / "runs"))
    assert kinds == {"image/svg+xml": 1, "image/png": 8, "text/markdown": 4}
    assert "selects by inter, intra, uncertainty" in said
    assert "2 picks of" in said
    assert "| inter + intra + uncertainty (1 seed) |" in said


def test_planning(tmp_path: Path) -> None:
    write_drives(tmp_path / "data")
    write_planning_experiment(tmp_path / "configs")
    rows = {"value": (), "without_rarity": ("acquisition.weights.rarity=0",)}
    for name, words in rows.items():
        given = ["experiment=fake", f"data.root={tmp_path / 'data'}", f"run_dir={tmp_path / name}", *words]
        assert cli.main(given, tmp_path / "configs") == 0
    kinds, said = execute("planning", NOTEBOOKS, RUN=str(tmp_path / "value"), RUNS=str(tmp_path))
    assert kinds == {"image/png": 7, "text/markdown": 2}
    assert "selects by rarity, safety, uncertainty" in said
    assert "| safety + uncertainty (1 seed) |" in said
    assert "rest of the pool  mean" in said
