"""The command, from a sweep file to finished runs of the real engine and their tables."""

import os
import signal
import time
from pathlib import Path

import pytest
import yaml
from fake_occupancy import write_experiment, write_frames

from al_lightning.report.__main__ import main as report
from al_lightning.sweep.__main__ import main
from al_lightning.sweep.journal import Journal, locked

TESTS = Path(__file__).resolve().parent
ROWS = ["{inter: 1, intra: 0, uncertainty: 0}", "{inter: 0, intra: 0, uncertainty: 1}"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``train.py``, an experiment and the sweep file ``table.yaml``, which is the working directory."""
    (tmp_path / "train.py").write_text((TESTS.parent / "train.py").read_text())
    write_frames(tmp_path / "data")
    write_experiment(tmp_path / "configs")
    sweep = {
        "method": "grid",
        "command": ["python", "train.py", "${args_no_hyphens}"],
        "parameters": {
            "experiment": {"value": "fake"}, "loop.cycles": {"value": 2}, "trainer.max_epochs": {"value": 1},
            "acquisition.weights": {"values": ROWS}, "run_dir": {"value": "runs/${oc.env:WANDB_RUN_ID}"},
        },
    }  # fmt: skip
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(sweep))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


WORDS = ["table.yaml", "data.root=data", "tracking.mode=disabled", "--runs", "out"]


def test_a_sweep_of_the_engine(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--dry-run"]) == 0
    assert capsys.readouterr().out.count("pending") == 2
    assert main([*WORDS, "--workers", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "finished" in line] == ["[1/2]", "[2/2]"]
    origins = [path.read_text() for path in (project / "out").glob("table/*/cycles/0/origin.txt")]
    assert len(origins) == 1
    first, second = ((path / "cycles/0/summaries.npz").stat().st_ino for path in (project / "out/table").iterdir()
                     if path.is_dir())  # fmt: skip
    assert first == second
    assert report(["out"]) == 0
    assert "| inter (1 seed) |" in (project / "out/report/tables.md").read_text()
    assert main(WORDS) == 0  # nothing is left to do


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_takes_its_runs_with_it(project: Path, number: signal.Signals) -> None:
    driver = os.fork()
    if driver == 0:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a shell's background job
        os._exit(main(WORDS))
    journal = project / "out/sweep.json"
    while not (journal.exists() and "running" in journal.read_text()):
        time.sleep(0.05)
    os.kill(driver, number)
    assert os.waitstatus_to_exitcode(os.waitpid(driver, 0)[1]) == 130
    assert [run.state.value for run in Journal.read(project / "out").runs] == ["running", "pending"]
    with locked(project / "out"):  # a run that was left would hold it
        pass


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table.yaml", "data.rot=data", "--runs", "out"], "data.rot"),
        (["none.yaml", "--runs", "out"], "none.yaml"),
    ],
)
def test_mistakes_show_before_a_run_starts(
    project: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert not (project / "out/sweep.json").exists()


def test_a_refused_run_of_a_grid_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = yaml.safe_load((project / "table.yaml").read_text())
    table["parameters"]["loop.budget"] = {"values": [3, -1]}
    (project / "wrong.yaml").write_text(yaml.safe_dump(table))
    assert main(["wrong.yaml", "data.root=data", "--runs", "out"]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "wrong, run " in error
    assert "loop.budget=-1" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table.yaml"], "--runs"),
        (["data.root=data", "--runs", "out"], "sweep files"),
        (["table.yaml", "--runs", "out", "--workers", "0"], "at least 1"),
        (["search.yaml", "--runs", "out"], "--count"),
        (["table.yaml", "--runs", "out", "--count", "3"], "grid"),
    ],
)
def test_wrong_use_is_explained(
    project: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    search = {**yaml.safe_load((project / "table.yaml").read_text()), "method": "random"}
    (project / "search.yaml").write_text(yaml.safe_dump(search))
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
