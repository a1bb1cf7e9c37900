"""Generation: the same bytes whatever happens, whole or not there, one at a time, in its own folder."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from al_lightning.simulation import generate as subject
from al_lightning.simulation.__main__ import main
from al_lightning.simulation.claim import GENERATOR_VERSION, GenerationError, claimed, describe
from al_lightning.simulation.generate import ensure, generate
from al_lightning.simulation.parallel import call_in_parallel
from al_lightning.simulation.presets import PRESETS
from al_lightning.simulation.vocabulary import VERSION

TINY = PRESETS["tiny"]


def digest(root):
    """Path -> hash of every file."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def start(root, preset):
    command = [sys.executable, "-m", "al_lightning.simulation", "--root", str(root), "--preset", preset]
    return subprocess.Popen(
        [*command, "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs ignore it
    )


def wait_for(condition, seconds=240.0):
    """The first true value of a condition."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return value


def session_members(session):
    """Living processes of a session."""
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            members.append(int(path.parent.name))
    return members


@pytest.fixture
def copy(tiny_world, tmp_path):
    """The data set again, of hard links: files may be added or replaced, never written to."""
    return shutil.copytree(tiny_world, tmp_path / "copy", copy_function=os.link)


@pytest.fixture
def forbidden(monkeypatch):
    """No scene may be written."""

    def refuse(*_):
        raise AssertionError("wrote a scene")

    monkeypatch.setattr(subject, "write_scene", refuse)


def parts(root):
    """Scenes that are done, by inode of their part."""
    return {path.name: path.stat().st_ino for path in (root / ".staging").glob("scene-????")}


def test_control_c_ends_it_at_once(tmp_path):
    root = tmp_path / "world"
    process = start(root, "mini")
    wait_for(lambda: parts(root))
    pressed = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    output = process.communicate(timeout=30)[0].decode().replace("\n", " ")
    assert time.monotonic() - pressed < 10
    assert process.returncode == 130
    assert "The same command goes on" in output
    assert "Traceback" not in output
    assert not (root / VERSION).exists()


def test_killed_and_started_again_it_ends_with_the_same_bytes(tiny_world, tmp_path):
    """Two processes, killed amid their work, write what one process writes at once."""
    root = tmp_path / "world"
    process = start(root, "tiny")
    wait_for(lambda: parts(root) or process.poll() is not None)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not session_members(process.pid), 10)
    killed = parts(root)
    assert 1 <= len(killed) < 4
    assert not (root / VERSION).exists()

    process = start(root, "tiny")
    output = process.communicate(timeout=90)[0].decode()
    assert process.returncode == 0
    assert f"{len(killed)} of 4 scenes are there already" in output
    assert digest(root) == digest(tiny_world)


def test_only_the_real_formats_are_left(tiny_world):
    assert {path.name for path in tiny_world.iterdir()} == {
        *("simulation.json", VERSION, "samples", "maps", "can_bus", "gts")
    }
    assert json.loads((tiny_world / "simulation.json").read_text()) == {
        "version": GENERATOR_VERSION,
        "preset": "tiny",
        "seed": 0,
        "options": {
            "train_scenes": 3,
            "val_scenes": 1,
            "keyframes": 3,
            "image_size": [90, 160],
            "blocks": TINY.blocks,
            "towns": TINY.towns,
        },
    }


def test_a_whole_data_set_is_left_as_it_is(copy, tiny_world, forbidden):
    times = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    assert ensure(str(copy), "tiny") == copy
    generate(copy, TINY)
    assert times == {path: path.stat().st_mtime_ns for path in copy.rglob("*")}


def test_leftovers_of_a_kill_after_the_last_step_are_removed(copy, tiny_world, forbidden):
    (copy / ".staging" / "scene-0001").mkdir(parents=True)
    generate(copy, TINY)
    assert digest(copy) == digest(tiny_world)
    assert not (copy / ".staging").exists()


@pytest.mark.parametrize(("preset", "seed"), [("tiny", 1), ("mini", 0)])
def test_a_folder_of_another_data_set_is_refused_and_both_are_named(copy, tiny_world, forbidden, preset, seed):
    with pytest.raises(GenerationError) as error:
        ensure(copy, preset, seed)
    assert f"there is preset tiny, seed 0, version {GENERATOR_VERSION}" in str(error.value)
    assert f"asked for is preset {preset}, seed {seed}, version {GENERATOR_VERSION}" in str(error.value)
    assert digest(copy) == digest(tiny_world)


def test_data_of_an_older_generator_are_refused(copy, forbidden):
    path = copy / "simulation.json"
    identity = json.loads(path.read_text())
    path.unlink()
    path.write_text(json.dumps({**identity, "version": GENERATOR_VERSION - 1}))
    with pytest.raises(GenerationError, match=f"version {GENERATOR_VERSION - 1} .*version {GENERATOR_VERSION} "):
        generate(copy, TINY)


def test_whoever_waited_finds_the_set_whole(tmp_path, monkeypatch):
    root, calls = tmp_path / "world", []

    def slowly(folder, *_):
        calls.append(folder)
        (folder / ".staging").mkdir()
        time.sleep(0.5)
        (folder / VERSION).mkdir()

    monkeypatch.setattr(subject, "_generate", slowly)
    threads = [threading.Thread(target=generate, args=(root, TINY)) for _ in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an exception in a thread is a warning to pytest
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert calls == [root]
    assert sorted(path.name for path in root.iterdir()) == ["simulation.json", VERSION]


def test_an_empty_description_makes_no_folder_ours(tmp_path, forbidden):
    (tmp_path / "simulation.json").touch()
    (tmp_path / "samples").mkdir()
    with pytest.raises(GenerationError, match="did not write"):
        generate(tmp_path, TINY)


def test_a_folder_that_holds_something_else_is_refused(tmp_path, forbidden):
    (tmp_path / "v1.0-trainval").mkdir()
    with pytest.raises(GenerationError, match="did not write"):
        generate(tmp_path, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["v1.0-trainval"]


def test_a_damaged_description_is_told(tmp_path, forbidden):
    (tmp_path / "simulation.json").write_text('{"version": 1')
    with pytest.raises(GenerationError, match=r"simulation.json is damaged"):
        generate(tmp_path, TINY)


def test_a_second_generator_waits_for_the_first(tmp_path, caplog):
    order = []

    def second():
        with claimed(tmp_path, describe(TINY, 0)):
            order.append("second")

    with claimed(tmp_path, describe(TINY, 0)):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.5)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert f"another process generates in {tmp_path}: waiting" in caplog.text


@pytest.mark.parametrize(("seed", "workers"), [(-1, 1), (0, 0)])
def test_numbers_out_of_range_are_refused(tmp_path, seed, workers):
    with pytest.raises(ValueError, match=f"got {seed} and {workers}"):
        generate(tmp_path, TINY, seed, workers)


def test_unknown_preset_is_refused(tmp_path):
    with pytest.raises(ValueError, match="preset must be one of"):
        ensure(tmp_path, "huge")


def test_command_tells_what_is_wrong(tmp_path, capsys):
    (tmp_path / "something").touch()
    assert main(["--root", str(tmp_path), "--preset", "tiny"]) == 1
    assert "error: " in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit_:
        main(["--root", str(tmp_path), "--preset", "huge"])
    assert exit_.value.code == 2


def test_progress_shows_in_a_log_a_line_each_tenth(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(subject, "_write_part", lambda *_: None)
    subject._write_parts(tmp_path, TINY, 0, [None] * 25, 1)
    *lines, last = capsys.readouterr().out.splitlines()
    shown = [int(line.split()[0]) for line in lines if line.endswith(f" of {25 * TINY.keyframes} keyframes")]
    assert shown == [TINY.keyframes * scenes for scenes in (3, 5, 8, 10, 13, 15, 18, 20, 23, 25)]
    assert last.startswith(f"{25 * TINY.keyframes} keyframes in ")


def test_command_leaves_a_whole_data_set_alone(copy, forbidden):
    assert main(["--root", str(copy), "--preset", "tiny"]) == 0


def test_help_lists_the_presets(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    assert all(f"  {name}" in printed for name in PRESETS)
    assert "1600 x 900" in printed


def test_failure_in_a_worker_ends_the_others():
    started, calls = time.monotonic(), []
    with pytest.raises(ZeroDivisionError):
        call_in_parallel(divmod, [(1, 0), *[(1, 1)] * 3], 2, lambda: calls.append(1))
    assert len(calls) <= 3
    with pytest.raises(BrokenProcessPool):
        call_in_parallel(os._exit, [(1,)], 1, lambda: calls.append(1))
    assert time.monotonic() - started < 30


def test_workers_do_linear_algebra_in_one_thread():
    before = dict(os.environ)
    call_in_parallel(exec, [("import os; assert os.environ['OMP_NUM_THREADS'] == '1'",)], 1, lambda: None)
    assert dict(os.environ) == before


def test_a_killed_worker_is_told(tmp_path, monkeypatch):
    def fail(*_):
        raise BrokenProcessPool

    monkeypatch.setattr(subject, "_generate", fail)
    with pytest.raises(GenerationError, match=r"a process was killed.*fewer workers goes on"):
        generate(tmp_path / "world", TINY)
