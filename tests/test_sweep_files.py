"""Sweep files: those of the papers' tables are what W&B takes, and every run of theirs can be composed."""

from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from al_lightning.config import compose, instantiate
from al_lightning.engine.reuse import result_settings
from al_lightning.sweep.files import WORDS, Sweep, SweepFileError, words_of

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "sweeps").glob("*.yaml"))
RUNS = {
    "detection_sim": 9, "planning_table1_paper": 70, "planning_table1_sim": 70,
    "planning_table1_baseline_paper": 10, "planning_table1_baseline_sim": 10,
    "occupancy_table1_paper": 12, "occupancy_table1_sim": 20, "occupancy_full_paper": 3, "occupancy_full_sim": 5,
    "occupancy_table2_paper": 12, "occupancy_table2_small": 12,
    "occupancy_table2_full_paper": 3, "occupancy_table2_full_small": 3,
    "occupancy_table4_paper": 18, "occupancy_table4_sim": 18, "occupancy_table5_paper": 9, "occupancy_table5_sim": 15,
}  # fmt: skip
GRID = {"method": "grid", "command": ["python", "train.py", WORDS], "parameters": {"seed": {"values": [0, 1]}}}


def resolved(sweep: Sweep, parameters) -> dict:
    return compose(ROOT / "configs", words_of(parameters))[1]


def test_all_tables_are_there() -> None:
    assert {path.stem: len(Sweep.read(path).grid()) for path in FILES} == RUNS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_run_can_be_composed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "7fk2")  # set by `wandb agent`
    sweep = Sweep.read(path)
    for parameters in sweep.grid():
        if parameters["seed"]["value"] != 0:
            continue
        config = resolved(sweep, parameters)
        assert config["run_dir"] == f"runs/{path.stem}/7fk2"
        assert config["tracking"]["mode"] == "online"
        wanted = config["loop"]["seed_size"] + config["loop"]["budget"] * (config["loop"]["cycles"] - 1)
        assert wanted <= {"paper": {"occupancy_nuscenes": 23574, "planning_nuscenes": 700, "occformer_kitti": 3834},
                          "sim": {"detection_sim": 576, "occupancy_sim": 576, "planning_status_sim": 72},
                          "small": {"occformer_kitti_mini": 40}}[
            path.stem.rpartition("_")[2]
        ][config["experiment"]]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "criteria"),
    [
        (["planning_table1"], ("safety", "rarity", "uncertainty")),
        (["occupancy_table4", "occupancy_table1"], ("uncertainty", "inter", "intra")),
    ],
)
@pytest.mark.parametrize("size", ["paper", "sim"])
def test_the_rows_of_the_ablations_are_all_combinations(
    names: list[str], criteria: tuple[str, ...], size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "7fk2")
    sweeps = [Sweep.read(ROOT / f"sweeps/{name}_{size}.yaml") for name in names]
    rows = [
        frozenset(instantiate(resolved(sweep, parameters)["acquisition"], "acquisition").criteria)
        for sweep in sweeps
        for parameters in sweep.grid()
        if parameters["seed"]["value"] == 0
    ]
    every = [frozenset(c for i, c in enumerate(criteria) if bits >> i & 1) for bits in range(1, 8)]
    assert sorted(map(sorted, (row for row in rows if row <= set(criteria)))) == sorted(map(sorted, every))


@pytest.mark.parametrize("size", ["paper", "sim"])
def test_no_two_files_of_occupancy_have_the_same_run(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "7fk2")
    found = [
        result_settings(resolved(sweep, parameters))
        for path in sorted(ROOT.glob(f"sweeps/occupancy_*_{size}.yaml"))
        for sweep in [Sweep.read(path)]
        for parameters in sweep.grid()
        if parameters["seed"]["value"] == 0
    ]
    assert len(found) > 10
    assert [one for i, one in enumerate(found) if one in found[:i]] == []


@pytest.mark.parametrize("path", [path for path in FILES if path.stem.endswith("_paper")], ids=lambda path: path.stem)
def test_the_papers_runs_start_from_the_official_weights(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "7fk2")
    sweep = Sweep.read(path)
    for parameters in sweep.grid()[:1]:
        network = resolved(sweep, parameters)["task"]["network"]
        assert network["backbone_checkpoint"].startswith("data/")
        assert network.get("pretrained", "data/").startswith("data/")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_words_are_those_of_wandb_agent(path: Path) -> None:
    for parameters in Sweep.read(path).grid():
        theirs = create_sweep_command_args({"args": parameters})
        assert words_of(parameters) == theirs[WORDS.strip("${}")]


def test_null_is_null_here_and_with_wandb_agent() -> None:
    parameters = {name: {"value": None} for name in ("loader.samples_per_epoch", "tracking.group")}
    theirs = create_sweep_command_args({"args": parameters})[WORDS.strip("${}")]
    ours = words_of(parameters)
    assert ours == ["loader.samples_per_epoch=null", "tracking.group=null"]
    group = {"tracking.group": {"value": "mine"}, "loader.samples_per_epoch": {"value": 3}}
    for words in (ours, theirs):
        config = compose(ROOT / "configs", [*words_of(group), *words])[1]
        assert (config["loader"]["samples_per_epoch"], config["tracking"]["group"]) == (None, None)


def write(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({**GRID, **changes}))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "gird"}, "gird"),
        ({"programme": "train.py"}, "programme"),
        ({"parameters": {"seed": {"value": 0, "values": [1]}}}, "seed|valid"),
        ({"command": ["python", "train.py", "${args}"]}, "command must be"),
        ({"command": ["python", "main.py", WORDS]}, "command must be"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 3}}, "server"),
        ({"parameters": {"loop": {"parameters": {"budget": {"value": 1}}}}}, "with dots"),
    ],
)
def test_a_file_that_cannot_be_walked_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(SweepFileError, match=message):
        Sweep.read(write(tmp_path, **changes))


def test_no_sweep_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SweepFileError, match="missing"):
        Sweep.read(tmp_path / "missing.yaml")
    (tmp_path / "text.yaml").write_text("text")
    with pytest.raises(SweepFileError, match="mapping"):
        Sweep.read(tmp_path / "text.yaml")


def test_a_runs_name_tells_what_the_sweep_varies(tmp_path: Path) -> None:
    parameters = {"loop.cycles": {"value": 2}, "seed": {"values": [3]}, "task.lr": {"values": [1e-4]},
                  "acquisition.weights": {"values": ["{inter: 1, intra: 0}"]}}  # fmt: skip
    sweep = Sweep.read(write(tmp_path, parameters=parameters))
    names = [sweep.run_name(run) for run in sweep.grid()]
    assert [sorted(name.split("_")) for name in names] == [["lr-0.0001", "seed-3", "weights-inter-1-intra-0"]]


def test_run_cap_ends_a_grid(tmp_path: Path) -> None:
    assert len(Sweep.read(write(tmp_path, run_cap=1)).grid()) == 1


def test_a_random_search_draws_the_same_again_and_else_another(tmp_path: Path) -> None:
    sweep = Sweep.read(write(tmp_path, method="random", parameters={"task.lr": {"min": 0.0, "max": 1.0}}))
    first = sweep.suggest([])
    assert sweep.suggest([]) == first
    assert sweep.suggest([(first, "running", {})]) != first
