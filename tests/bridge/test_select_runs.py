"""Selection from the summaries that a run keeps: the picks of the run itself."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_select_files import BUDGET, CONFIGS, UNITS, generator, loop_selection, occupancy_summary

from al_lightning.data import LabelPool
from al_lightning.engine import RunDirectory
from al_lightning.select import configured
from al_lightning.select.__main__ import main


@pytest.fixture
def cycle(tmp_path):
    """The folder of cycle 1 of a run that has gone on to cycle 2, and what cycle 1 selected."""
    summary, run = occupancy_summary(), RunDirectory(tmp_path / "run")
    pool = LabelPool([f"token-{unit:03d}" for unit in np.random.default_rng(0).permutation(UNITS)])
    pool.acquire([3, 14, 15, 41])
    pool.acquire(pool.unlabeled[::7])
    keep_all = SimpleNamespace(with_labels=lambda labeled, annotations: labeled)
    selections = {
        name: loop_selection(summary, pool, configured(CONFIGS / f"{name}.yaml")[0], keep_all)
        for name in ("cas", "entropy", "coreset")
    }
    picks = {name: [pool.units[unit] for unit in found.units.tolist()] for name, found in selections.items()}
    pool.acquire(selections["cas"].units.numpy())
    run.write_pool(pool)
    run.write_summaries(1, summary.take(torch.randperm(UNITS, generator=generator())))
    return SimpleNamespace(folder=run.cycle(1), picks=picks)


@pytest.mark.parametrize("name", ["cas", "entropy", "coreset"])
def test_a_cycle_of_a_run_is_selected_from_anew(cycle, tmp_path, monkeypatch, name):
    monkeypatch.chdir(cycle.folder)
    for number, folder in enumerate((str(cycle.folder), ".")):
        words = ["--summaries", folder, "--config", str(CONFIGS / f"{name}.yaml"), "--budget", str(BUDGET)]
        assert main([*words, "--out", str(tmp_path / f"picks{number}.txt")]) == 0
        assert (tmp_path / f"picks{number}.txt").read_text().split() == cycle.picks[name]


def test_folders_that_are_no_cycles_are_refused(cycle, tmp_path, capsys):
    words = ["--config", str(CONFIGS / "entropy.yaml"), "--budget", "1", "--out", str(tmp_path / "p.csv")]

    def refused(folder, *more):
        assert main([*words, "--summaries", str(folder), *more]) == 1
        return capsys.readouterr().err

    assert "which says itself what is labeled" in refused(cycle.folder, "--labeled", str(tmp_path / "seed.txt"))
    assert "of a run, give the folder of the cycle" in refused(cycle.folder / "summaries.npz")
    for folder in (tmp_path / "run", tmp_path / "run" / "cycles"):
        assert "must be the folder of a cycle that kept summaries: RUN/cycles/K/" in refused(folder)
    table = tmp_path / "run" / "pool.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]))
    assert re.search("summaries.npz does not hold each of the 59 units of its run once", refused(cycle.folder))
    table.unlink()
    assert re.search("cannot read .*pool.csv, which names the units of", refused(cycle.folder))
