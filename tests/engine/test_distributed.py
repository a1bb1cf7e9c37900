"""Two processes run one experiment: each unit is summarized once, both agree on what is selected, and both end."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_occupancy import write_experiment, write_frames

SCRIPT = """
import sys
from pathlib import Path
from al_lightning.cli import main

sys.exit(main(sys.argv[1:], Path(__file__).parent / "configs"))
"""
TOLD_TO_END = """
import os, signal, time
from al_lightning.engine import ActiveLearningCallback
from al_lightning.tasks import OccupancyTask

original = {method}

def told(self, *arguments):
    pool = arguments[1] if "{method}".endswith("select") else self._trainer and self.trainer.datamodule.pool
    if pool and pool.cycle == 1 and os.environ["LOCAL_RANK"] == "0":
        time.sleep(1)  # the other process waits for this one
        os.kill(os.getpid(), signal.SIGTERM)
    return original(self, *arguments)

{method} = told
"""
METHODS = ["OccupancyTask.training_step", "OccupancyTask.predict_step", "ActiveLearningCallback.select"]


def run(root: Path, *words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Two processes of the tiny experiment."""
    write_frames(root / "data", train=11)
    write_experiment(root / "configs")
    script = root / "train.py"
    script.write_text(before + SCRIPT)
    given = [
        "experiment=fake", f"data.root={root / 'data'}", f"run_dir={root / 'run'}", "loop.budget=2",
        "trainer.devices=2", "trainer.strategy=ddp", "loader.batch_size=1",
    ]  # fmt: skip
    paths = os.pathsep.join([str(Path(__file__).resolve().parents[1]), *sys.path])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, script, *given, *words],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    for _ in range(2):  # the second time there is nothing left to do
        done = run(tmp_path, "tracking.mode=offline")
        assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "run/metrics.csv").open() as file:
        assert [row["labeled"] for row in csv.DictReader(file)] == ["3", "5", "7"]
    for cycle in (0, 1):
        with np.load(tmp_path / f"run/cycles/{cycle}/summaries.npz") as summary:
            assert summary["units"].tolist() == list(range(11))


@pytest.mark.parametrize("method", METHODS)
def test_processes_that_are_told_to_end_in_a_later_cycle_all_do(tmp_path: Path, method: str) -> None:
    words = ("trainer.max_epochs=1", "gallery.selected=0", "gallery.rejected=0")
    done = run(
        tmp_path, *words, before=TOLD_TO_END.format(method=method)
    )  # returns when both have closed their outputs
    assert done.returncode == 143, done.stdout + done.stderr
    assert (tmp_path / "run/cycles/0/summaries.npz").exists()
    assert not (tmp_path / "run/cycles/1/selection.csv").exists()
