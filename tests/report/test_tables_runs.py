from pathlib import Path

import pytest
import yaml
from fake_reports import POOL, write_run

from al_lightning.report.tables_groups import FULL, group
from al_lightning.report.tables_runs import RunReadError, read_run, read_runs

THREE = {"mIoU": [0.1, 0.2, 0.3]}


def test_a_run_is_read(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", 3, metrics=THREE, picks={1: [0, 1, 2, 3]}))
    assert run.seed == 3
    assert run.pool == POOL
    assert run.metrics[2] == {"cycle": 2, "labeled": 12, "share": 12 / POOL, "mIoU": 0.3}
    assert run.acquired[1] == {"u0", "u1", "u2", "u3"}
    assert [len(run.acquired[k]) for k in (0, 2)] == [4, 4]


def test_only_results_are_opened(tmp_path: Path, openings: list[str]) -> None:
    write_run(tmp_path / "run", 0, metrics=THREE)
    openings.clear()
    read_runs(tmp_path)
    names = {Path(name).name for name in openings if str(tmp_path) in name and Path(name).is_file()}
    assert names == {"config.yaml", "metrics.csv", "pool.csv"}


def test_seeds_are_repetitions_and_criteria_are_methods(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / f"random-{seed}", seed, metrics=THREE)
        write_run(tmp_path / f"b-{seed}", seed, ("b", "a"), metrics=THREE)
        write_run(tmp_path / f"full-{seed}", seed, metrics={"mIoU": [0.5]}, seed_size=POOL, cycles=1)
    (experiment,) = group(read_runs(tmp_path))
    assert [method.name for method in experiment.methods] == ["random", "a + b", FULL]
    assert [sorted(method.runs) for method in experiment.methods] == [[0, 1]] * 3
    assert experiment.last == 2


def test_one_is_one(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0, metrics=THREE, weight=1)
    write_run(tmp_path / "b", 1, metrics=THREE, weight=1.0)
    write_run(tmp_path / "c", 0, metrics=THREE, weight=2)
    (experiment,) = group(read_runs(tmp_path))
    assert {method.name: sorted(method.runs) for method in experiment.methods} == {
        "random (acquisition.weights.random=1)": [0, 1], "random (acquisition.weights.random=2)": [0]
    }  # fmt: skip


def test_what_else_differs_is_named_or_another_experiment(tmp_path: Path) -> None:
    write_run(tmp_path / "4", 0, metrics=THREE)
    write_run(tmp_path / "8", 0, metrics=THREE, seed_size=8)
    write_run(tmp_path / "other", 0, metrics=THREE, loss="another")
    first, second = group(read_runs(tmp_path))
    assert [method.name for method in first.methods] == ["random (loop.seed_size=4)", "random (loop.seed_size=8)"]
    assert (first.name, second.name) == ("fake", "fake (2)")
    assert first.remarks == ()
    assert second.remarks == ("fake (2) is not compared with fake, from which it differs in loss: None -> 'another'.",)


def test_what_touches_no_result_makes_no_method(tmp_path: Path) -> None:
    write_run(tmp_path / "0", 0, metrics=THREE, weights="data/resnet50.pth", trainer={"log_every_n_steps": 1})
    path = write_run(tmp_path / "1", 1, metrics=THREE, weights="/other/resnet50.pth", trainer={"log_every_n_steps": 2})
    config = yaml.safe_load((path / "config.yaml").read_text())
    config |= {"experiment": "renamed", "data": config["data"] | {"root": "/elsewhere"}}
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    (experiment,) = group(read_runs(tmp_path))
    assert experiment.name == "fake"
    assert [sorted(method.runs) for method in experiment.methods] == [[0, 1]]
    text = (path / "pool.csv").read_text()
    (path / "pool.csv").write_text(text.replace("u3,", "v3,"))
    assert [one.name for one in group(read_runs(tmp_path))] == ["fake", "renamed"]


def test_rows_are_in_the_order_of_the_numbers_in_which_they_differ(tmp_path: Path) -> None:
    for seed_size in (16, 8, 4, 12):
        write_run(tmp_path / str(seed_size), 0, metrics=THREE, seed_size=seed_size)
    (experiment,) = group(read_runs(tmp_path))
    assert [method.name for method in experiment.methods] == [
        f"random (loop.seed_size={seed_size})" for seed_size in (4, 8, 12, 16)
    ]


def test_the_same_run_twice_counts_once(tmp_path: Path) -> None:
    write_run(tmp_path / "short", 0, metrics={"mIoU": [0.1, 0.2]})
    write_run(tmp_path / "long", 0, metrics=THREE)
    (experiment,) = group(read_runs(tmp_path))
    assert experiment.methods[0].values("mIoU", 2) == {0: 0.3}
    assert experiment.remarks == ()


def test_of_the_same_run_with_other_results_one_is_left_out_and_named(tmp_path: Path) -> None:
    for name, last in (("b", 0.3 + 1e-6), ("a", 0.3), ("c", 0.3)):
        write_run(tmp_path / name, 0, metrics={"mIoU": [0.1, 0.2, last]})
    runs = read_runs(tmp_path)
    for order in (runs, runs[::-1]):
        (experiment,) = group(order)
        assert [run.path.name for run in experiment.methods[0].runs.values()] == ["a"]
        (remark,) = experiment.remarks
        assert remark.startswith(f"{tmp_path / 'b'} is left out: {tmp_path / 'a'} is the same run")
        assert "from cycle 2 on" in remark


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    write_run(tmp_path / "away/runs/0", 0, metrics=THREE)
    here = tmp_path / "here"
    here.mkdir()
    (here / "runs").symlink_to(tmp_path / "away/runs")
    (tmp_path / "away/runs/again").symlink_to(here)
    (here / "same").symlink_to(tmp_path / "away/runs/0")
    assert [run.path for run in read_runs(here)] == [here / "runs/0"]


def test_what_is_not_yet_in_place_is_no_run(tmp_path: Path) -> None:
    write_run(tmp_path / "sweep/run", 0, metrics=THREE)
    write_run(tmp_path / "sweep/.other.partial", 1, metrics=THREE)
    assert [run.path.name for run in read_runs(tmp_path)] == ["run"]


def test_runs_that_go_on_have_the_cycles_they_have(tmp_path: Path) -> None:
    write_run(tmp_path / "0", 0, metrics=THREE)
    write_run(tmp_path / "1", 1, metrics={"mIoU": [0.4]})
    (experiment,) = group(read_runs(tmp_path))
    assert experiment.methods[0].values("mIoU", 0) == {0: 0.1, 1: 0.4}
    assert experiment.methods[0].values("mIoU", 1) == {0: 0.2}


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunReadError, match="holds no run"):
        read_runs(tmp_path)
    run = write_run(tmp_path / "run", 0, metrics=THREE)
    numbers = (run / "metrics.csv").read_text()
    (run / "metrics.csv").write_text(numbers.replace(",0.2\n", ",nan\n"))
    with pytest.raises(RunReadError, match=r"run: metrics.csv, line 3, column mIoU: nan is no finite number"):
        read_runs(tmp_path)
    (run / "metrics.csv").write_text(numbers)
    (run / "pool.csv").write_text("unit\n")
    with pytest.raises(RunReadError, match="run: a pool file needs"):
        read_runs(tmp_path)
