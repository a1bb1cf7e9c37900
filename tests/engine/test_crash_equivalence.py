import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

DRIVER = Path(__file__).resolve().parents[1] / "kill_driver.py"
STAGES = (
    "before training_step", "after training_step", "before checkpoint",
    "start of checkpoint.ckpt", "end of checkpoint.ckpt", "after checkpoint", "before validation_step",
    "end of metrics.json", "after metrics.json", "end of metrics.csv", "before predict_step", "end of summaries.npz",
    "after summaries.npz", "end of scores.parquet", "after scores.parquet", "end of selection.csv",
    "after selection.csv", "end of gallery.npz", "after gallery.npz", "start of pool.csv", "end of pool.csv",
    "after pool.csv", "end of config.yaml",
)  # fmt: skip


@pytest.fixture(scope="module", params=["occupancy", "planning", "occformer"])
def killed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, dict]:
    root = tmp_path_factory.mktemp("crash")
    command = [sys.executable, DRIVER, root, request.param]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return root, json.loads(done.stdout.splitlines()[-1])


def test_every_stage_was_killed(killed: tuple[Path, dict]) -> None:
    assert set(STAGES) <= set(killed[1]["killed"])
    assert min(killed[1]["counts"].values()) > 0, killed[1]["counts"]


@pytest.mark.parametrize(
    ("runs", "reference"),
    [
        *((runs, "undisturbed") for runs in ("stages_*", "random", "timed")),
        ("options", "options_undisturbed"),
    ],
)
def test_a_killed_run_ends_bit_for_bit_like_an_undisturbed_one(
    killed: tuple[Path, dict], runs: str, reference: str
) -> None:
    found = sorted(killed[0].glob(runs))
    assert found
    for run in found:
        assert_equal(killed[0], run.name, reference)


def assert_equal(root: Path, run: str, reference: str) -> None:
    for name in ("pool.csv", "metrics.csv", "cycles/0/selection.csv", "cycles/1/selection.csv"):
        assert (root / run / name).read_bytes() == (root / reference / name).read_bytes(), name
    kept = [theirs for name in ("representation.*", "embeddings.npz", "gallery.npz")
            for theirs in root.glob(f"{reference}/cycles/*/{name}")]  # fmt: skip
    assert len(kept) >= 2
    for theirs in kept:
        assert (root / run / theirs.relative_to(root / reference)).read_bytes() == theirs.read_bytes()
    for cycle in (0, 1):
        path = f"cycles/{cycle}/scores.parquet"
        assert pq.read_table(root / run / path).equals(pq.read_table(root / reference / path))
    for cycle in (0, 1, 2):
        path = f"cycles/{cycle}/checkpoint.ckpt"
        ours, theirs = (torch.load(root / name / path, weights_only=True)["state_dict"] for name in (run, reference))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_nothing_half_written_is_left_behind(killed: tuple[Path, dict]) -> None:
    assert not list((killed[0] / "undisturbed").rglob("*.partial"))
