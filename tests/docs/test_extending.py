"""Every file of docs/extending.md is written as it stands there, and every command runs, on a tiny world."""

import csv
import runpy
from pathlib import Path

import pytest
from fenced_blocks import PROJECT, blocks, commands

from al_lightning import cli

PAGE = PROJECT / "docs" / "extending.md"
QUICK = ["trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.progress_bar=false", "tracking.mode=disabled"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the configurations of the project, and all files of the page beside them."""
    folder = tmp_path_factory.mktemp("extending")
    for path in (PROJECT / "configs").rglob("*.yaml"):
        copy = folder / path.relative_to(PROJECT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    for language, text in blocks(PAGE):
        if language in ("python", "yaml"):
            assert text.startswith("# "), "each file begins with its name"
            (folder / text.splitlines()[0].removeprefix("# ")).write_text(text)
    return folder


@pytest.mark.parametrize("words", commands(PAGE), ids=" ".join)
def test_the_command_runs(words: list[str], project: Path, tiny_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(project))
    program, arguments = words[1], words[2:]
    if program != "train.py":
        runpy.run_path(program)
        return
    if "experiment=my_frames" not in arguments:
        arguments += [f"data.root={tiny_world}", "prepare.preset=tiny", "data.image_size=[32,96]"]
        arguments += ["loop.cycles=2", "loop.seed_size=2", "loop.budget=2"]
    (run_dir,) = [word for word in arguments if word.startswith("run_dir=")] or ["run_dir=runs/my_frames/0"]
    assert cli.main([*arguments, *QUICK], project / "configs") == 0
    with (project / run_dir.removeprefix("run_dir=") / "metrics.csv").open() as file:
        assert [row["cycle"] for row in csv.DictReader(file)] == ["0", "1", "2"][: 3 if "my_frames" in run_dir else 2]


def test_balance_prefers_what_is_neither_labeled_nor_picked(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(project))
    import torch
    from my_criterion import Balance

    from al_lightning.acquisition import Acquisition
    from al_lightning.types import Summary

    q = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]])
    pool = Summary(torch.arange(4), {"class_histogram": q})
    labeled = Summary(torch.tensor([9]), {"class_histogram": torch.tensor([[0.7, 0.12, 0.18]])})
    picks = Acquisition({"balance": Balance()}).select(pool, labeled, 2, torch.Generator())
    assert picks.units.tolist() == [1, 3]  # without the update, 2 would come second
