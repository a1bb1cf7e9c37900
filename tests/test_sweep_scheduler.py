"""Sweeps of runs that cost nothing: what is started, shared, resumed and retried."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_train
import pytest
import yaml

from al_lightning.sweep.files import Sweep
from al_lightning.sweep.journal import Journal, JournalError, State, locked
from al_lightning.sweep.planning import plan
from al_lightning.sweep.scheduler import PATIENCE, Scheduler


def write_sweep(folder: Path, name: str = "table", **content: object) -> Sweep:
    (folder / "train.py").write_text(Path(fake_train.__file__).read_text())
    path = folder / f"{name}.yaml"
    config = {"method": "grid", "command": ["python", str(folder / "train.py"), "${args_no_hyphens}"], **content}
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return Sweep.read(path)


def walk(folder: Path, *sweeps: Sweep, workers: int = 1, cap: int | None = None, retry: bool = False) -> list[str]:
    """Plan and walk as the command does; returns the lines of progress."""
    lines: list[str] = []
    with locked(folder / "runs") as lock:
        journal = Journal.read(folder / "runs")
        plan(journal, sweeps, (), fake_train.resolve, lines.append)
        for run in journal.runs:
            if retry and run.state is State.failed:
                run.state = State.pending
        Scheduler(
            journal, sweeps, (), fake_train.resolve, [{"SLOT": str(k)} for k in range(workers)], lock, cap, lines.append
        ).walk()
    return lines


def states(folder: Path) -> dict[str, str]:
    return {run.name: run.state.value for run in Journal.read(folder / "runs").runs}


def trained(folder: Path) -> list[str]:
    return (folder / "runs/trained").read_text().split()


GRID = {"seed": {"values": [0, 1]}, "acquisition": {"values": ["random", "cas"]}}


@pytest.mark.parametrize("workers", [1, 3])
def test_each_first_cycle_is_trained_once(tmp_path: Path, workers: int) -> None:
    sweep = write_sweep(tmp_path, parameters=GRID)
    lines = walk(tmp_path, sweep, workers=workers)
    names = [f"table/{one}" for one in ("seed-0_acquisition-random", "seed-1_acquisition-random",
                                        "seed-0_acquisition-cas", "seed-1_acquisition-cas")]  # fmt: skip
    assert states(tmp_path) == dict.fromkeys(names, "finished")
    assert len(trained(tmp_path)) == 2
    for name in names:
        metrics = json.loads((tmp_path / "runs" / name / "cycles/1/metrics.json").read_text())
        assert metrics["mIoU"] == int(name[11]) + 0.5
    assert sum("finished: mIoU" in line for line in lines) == 4
    assert sum("cycle 0 is that of table/" in line for line in lines) == 2
    assert any(line.startswith("[4/4]") for line in lines)


def test_each_worker_has_its_own_variables(tmp_path: Path) -> None:
    walk(tmp_path, write_sweep(tmp_path, parameters={"seed": {"values": [0, 1, 2]}}), workers=2)
    slots = [(tmp_path / f"runs/table/seed-{seed}/slot").read_text() for seed in (0, 1, 2)]
    assert set(slots) == {"0", "1"}
    assert slots[0] != slots[1]


def test_what_differs_in_cycle_0_is_not_shared(tmp_path: Path) -> None:
    parameters = {"seed": {"value": 0}, "wait": {"values": [0, 2]}, "gain": {"values": [0.5, 0.25]}}
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/go").touch()
    walk(tmp_path, write_sweep(tmp_path, parameters=parameters))
    assert len(trained(tmp_path)) == 2


def test_a_finished_sweep_starts_nothing(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, parameters=GRID)
    walk(tmp_path, sweep)
    before = (tmp_path / "runs/sweep.json").read_bytes()
    assert walk(tmp_path, sweep) == []
    assert (tmp_path / "runs/sweep.json").read_bytes() == before


def test_failed_runs_are_named_and_retried_only_by_request(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, parameters={"seed": {"value": 0}, "fail": {"values": [0, 1]}})
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/broken").touch()
    lines = walk(tmp_path, sweep)
    assert states(tmp_path) == {"table/fail-0": "finished", "table/fail-1": "failed"}
    log = tmp_path / "runs/table/fail-1.log"
    assert any(f"FAILED, see {log}" in line for line in lines)
    assert "fail=1" in log.read_text()
    (tmp_path / "runs/broken").unlink()
    assert walk(tmp_path, sweep) == []
    walk(tmp_path, sweep, retry=True)
    assert set(states(tmp_path).values()) == {"finished"}


def test_a_run_that_ends_well_before_its_last_cycle_has_failed(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, parameters={"seed": {"values": [0]}})
    (tmp_path / "train.py").write_text("print('labels are requested')")
    walk(tmp_path, sweep)
    assert set(states(tmp_path).values()) == {"failed"}


def test_the_same_run_of_two_sweeps_is_run_once(tmp_path: Path) -> None:
    sweeps = [
        write_sweep(tmp_path, "one", parameters=GRID),
        write_sweep(tmp_path, "two", parameters={"seed": {"values": [1, 2]}, "acquisition": {"value": "cas"}}),
    ]
    lines = walk(tmp_path, *sweeps)
    assert "two/seed-1 is one/seed-1_acquisition-cas" in lines
    assert len(states(tmp_path)) == 5
    assert walk(tmp_path, *sweeps) == ["two/seed-1 is one/seed-1_acquisition-cas"]


@pytest.mark.parametrize("wait", [1, 2])
def test_an_interrupted_sweep_stops_its_runs_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait: int
) -> None:
    """Also one that does not hear: a second signal ends it at once."""
    started: list[subprocess.Popen[bytes]] = []

    class RecordedProcess(subprocess.Popen[bytes]):
        def __init__(self, *words: Any, **options: Any) -> None:
            super().__init__(*words, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", RecordedProcess)
    sweep = write_sweep(tmp_path, parameters={"seed": {"values": [0, 1]}, "wait": {"value": wait}})

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1.5, 1.5)
    begin = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            walk(tmp_path, sweep)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert time.monotonic() - begin < PATIENCE / 2
    assert [process.returncode is not None for process in started] == [True]  # it has ended, not only been told to
    assert states(tmp_path) == {"table/seed-0": "running", "table/seed-1": "pending"}
    assert not (tmp_path / "runs/trained").exists()
    (tmp_path / "runs/go").touch()
    walk(tmp_path, sweep)  # not locked by a run that was left
    assert set(states(tmp_path).values()) == {"finished"}


def test_a_signal_that_comes_while_a_run_is_started_leaves_no_run_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def start_disturbed(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(*words, **options))
        signal.raise_signal(signal.SIGINT)
        return started[0]

    sweep = write_sweep(tmp_path, parameters={"seed": {"values": [0, 1]}, "wait": {"value": 1}})
    monkeypatch.setattr("al_lightning.sweep.scheduler.subprocess", SimpleNamespace(
        Popen=start_disturbed, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT,
        TimeoutExpired=subprocess.TimeoutExpired,
    ))  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        walk(tmp_path, sweep)
    try:
        assert started[0].poll() is not None
    finally:
        started[0].kill()
    assert states(tmp_path) == {"table/seed-0": "running", "table/seed-1": "pending"}


def test_two_sweeps_cannot_hold_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(JournalError, match="busy"), locked(tmp_path):
        pass


def test_the_runs_of_a_killed_sweep_hold_the_folder(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, parameters={"seed": {"value": 0}, "wait": {"values": [1]}})
    driver = os.fork()
    if driver == 0:
        walk(tmp_path, sweep)
        os._exit(0)
    while not (tmp_path / "runs/table/wait-1/config.yaml").exists():
        time.sleep(0.05)
    os.kill(driver, signal.SIGKILL)
    os.waitpid(driver, 0)
    with pytest.raises(JournalError, match="busy"):
        walk(tmp_path, sweep)
    (tmp_path / "runs/go").touch()
    for _ in range(100):
        try:
            walk(tmp_path, sweep)
            break
        except JournalError:
            time.sleep(0.1)
    assert set(states(tmp_path).values()) == {"finished"}
    assert len(trained(tmp_path)) == 1


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_search_goes_on_where_it_was(tmp_path: Path, method: str) -> None:
    content = {
        "method": method, "metric": {"name": "mIoU", "goal": "maximize"},
        "parameters": {"seed": {"value": 0}, "gain": {"min": 0.0, "max": 1.0}},
    }  # fmt: skip
    sweep = write_sweep(tmp_path, **content)
    for count in (2, 2, 3):
        walk(tmp_path, sweep, cap=count)
        assert len(states(tmp_path)) == count
    gains = [run.parameters["gain"]["value"] for run in Journal.read(tmp_path / "runs").runs]
    assert len(set(gains)) == 3
    assert len(trained(tmp_path)) == 1
    (tmp_path / "again").mkdir()
    walk(tmp_path / "again", write_sweep(tmp_path / "again", **content), cap=3)
    assert gains == [run.parameters["gain"]["value"] for run in Journal.read(tmp_path / "again/runs").runs]


def test_a_damaged_journal_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text('[{"name": 1}]')
    with pytest.raises(JournalError, match="damaged"):
        Journal.read(tmp_path)
