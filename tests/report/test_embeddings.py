"""The analysis of a run's embeddings: against the encoder fitted by hand, and without a trace in the run."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_planning import FRAMES, FakeDrives, write_drives, write_planning_experiment

from al_lightning import cli
from al_lightning.acquisition import ErrorWindows
from al_lightning.acquisition.functional import neighborhood_correlation
from al_lightning.config import compose, instantiate
from al_lightning.report import embeddings
from al_lightning.report.projection import project
from al_lightning.types import Summary

SCENES, SEED_SET = 12, 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("embeddings")
    write_drives(root / "data", train=SCENES)
    write_planning_experiment(root / "configs")
    words = [f"data.root={root / 'data'}", "loop.cycles=2", "loop.budget=1", "trainer.max_epochs=1"]
    assert cli.main(["experiment=fake", *words, f"run_dir={root / 'run'}"], root / "configs") == 0
    return root


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def analyse(root: Path, *words: str) -> int:
    return embeddings.main([str(root / "run"), "--perplexity", "4", *words])


def test_correlations_are_those_of_encoders_fitted_by_hand(root: Path, tmp_path: Path) -> None:
    assert analyse(root, "--out", str(tmp_path)) == 0
    with (tmp_path / "correlations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["fitted_on"], row["scenes"], row["embedded"]) for row in rows] == [
        ("all scenes", "12", "12"),
        ("the seed set", "3", "12"),
    ]
    with np.load(root / "run/cycles/0/summaries.npz") as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    scenes = Summary(arrays.pop("units"), arrays)
    drives = FakeDrives(str(root / "data"), "train", (4, 4))
    plans, row_of = scenes["reference_plan"], scenes["reference_row"].tolist()
    assert [row // FRAMES for row in row_of] == scenes.units.tolist()
    states = [
        ErrorWindows()._safety(plan, drives.sample(row).annotations) for plan, row in zip(plans, row_of, strict=True)
    ]
    scenes = Summary(scenes.units, scenes.fields | {"safety": torch.stack(states)})
    with (root / "run/pool.csv").open() as file:
        seeds = torch.tensor([row["acquired_at"] == "0" for row in csv.DictReader(file)])
    assert int(seeds.sum()) == SEED_SET
    resolved = compose(root / "configs", ["experiment=fake", "data.root=."])[1]
    representation = instantiate(resolved["acquisition"], "acquisition").representation
    generator = torch.Generator().manual_seed(0)
    for row, members in zip(rows, (torch.ones(SCENES, dtype=torch.bool), seeds), strict=True):
        loss = representation.fit(scenes.take(members.nonzero().flatten()), generator)
        embedding = representation.embed(scenes)["embedding"]
        assert float(row["correlation"]) == neighborhood_correlation(embedding, scenes["safety"])
        assert float(row["mean_correlation"]) == neighborhood_correlation(embedding, scenes["safety"], per="scene")
        assert float(row["last_loss"]) == float(loss[-1])


def test_the_figure_shows_every_scene_twice_and_is_the_same_again(root: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert analyse(root, "--out", str(tmp_path / name)) == 0
    svg = (tmp_path / "first/embeddings.svg").read_text()
    dots = [part.count("<use ") for part in svg.split('<g id="PathCollection')[1:4]]
    assert dots == [SCENES, SCENES, SEED_SET]
    assert "the seed set (3)" in svg
    assert files(tmp_path / "first").keys() == {
        tmp_path / "first" / name for name in ("correlations.csv", "embeddings.svg")
    }
    for ours, theirs in zip(files(tmp_path / "first").values(), files(tmp_path / "second").values(), strict=True):
        assert ours == theirs


def test_the_run_is_left_as_it_was(root: Path) -> None:
    before = files(root / "run")
    assert analyse(root) == 0
    after = files(root / "run")
    assert {path for path in after if path.parent.name != "embeddings"} == set(before)
    assert all(after[path] == content for path, content in before.items())


def test_the_dangerous_scenes_have_the_brightest_dots() -> None:
    members = torch.tensor([True] * 8)
    safety = torch.linspace(0, 0.5, 8)[:, None].expand(-1, 5)
    embedding = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    fitted = [embeddings.Fitted(name, members, embedding, 0.5, 0.4, 1.0) for name in ("one", "two")]
    axes = embeddings.draw(fitted, safety, 3.0).axes[0]
    dots = axes.collections[0]
    points = project(embedding, 3.0)
    for place, value in zip(dots.get_offsets(), dots.get_array(), strict=True):
        row = int(np.abs(points - place).sum(1).argmin())
        assert value == pytest.approx(float(safety[row, 0]))


def test_what_cannot_be_analysed_is_named(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert embeddings.main([str(root / "run"), "--perplexity", "12", "--out", str(tmp_path)]) == 1
    assert "below the number of scenes, 12; got 12" in capsys.readouterr().err
    assert embeddings.main([str(root / "data")]) == 1
    assert "config.yaml" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_text(
        (root / "run/config.yaml")
        .read_text()
        .replace("al_lightning.acquisition.Rarity", "al_lightning.acquisition.Rare")
    )
    assert embeddings.main([str(tmp_path)]) == 1
    assert "Rare" in capsys.readouterr().err
