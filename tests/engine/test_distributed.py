"""Two processes run one experiment: each unit is summarized once, and both agree on what is selected."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from fake_occupancy import write_experiment, write_frames

SCRIPT = """
import sys
from pathlib import Path
from al_lightning.cli import main

sys.exit(main(sys.argv[1:], Path(__file__).parent / "configs"))
"""


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    write_frames(tmp_path / "data", train=11)
    write_experiment(tmp_path / "configs")
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    words = [
        "experiment=fake", f"data.root={tmp_path / 'data'}", f"run_dir={tmp_path / 'run'}", "loop.budget=2",
        "trainer.devices=2", "trainer.strategy=ddp", "loader.batch_size=1", "tracking.mode=offline",
    ]  # fmt: skip
    paths = os.pathsep.join([str(Path(__file__).resolve().parents[1]), *sys.path])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    for _ in range(2):  # the second time there is nothing left to do
        done = subprocess.run(
            [sys.executable, script, *words], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "run/metrics.csv").open() as file:
        assert [row["labeled"] for row in csv.DictReader(file)] == ["3", "5", "7"]
    for cycle in (0, 1):
        with np.load(tmp_path / f"run/cycles/{cycle}/summaries.npz") as summary:
            assert summary["units"].tolist() == list(range(11))
