"""From run directories to the numbers in the tables' files."""

import csv
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from fake_reports import POOL, write_run

from al_lightning.report.__main__ import main
from al_lightning.report.tables_numbers import number

SEEDS = (0, 1, 2)
PAPER = {"split": "GeographicSplit", "loop": {"cycles": 3, "seed_size": 2000, "budget": 2000}}
"""What the occupancy paper's runs say; the numbers of units are those of the fake pool all the same."""

METHODS = {"random": ("random",), "entropy": ("entropy",), "cas": ("inter", "intra", "uncertainty")}


@pytest.fixture(scope="module")
def numbers() -> dict[str, np.ndarray]:
    """Method -> mIoU (seeds, cycles); the same in cycle 0."""
    generator = np.random.default_rng(0)
    start = generator.uniform(0.1, 0.12, (len(SEEDS), 1))
    return {
        name: np.hstack((start, start + generator.uniform(0.01, 0.05, (len(SEEDS), 2)).cumsum(1))) for name in METHODS
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, numbers: dict[str, np.ndarray]) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for name, criteria in METHODS.items():
        for seed in SEEDS:
            miou = numbers[name][seed].tolist()
            metrics = {
                "mIoU": miou, "night/mIoU": [value / 2 for value in miou], "rare/mIoU": miou,
                "IoU/others": [0.0] * 3, "IoU/car": miou, "acquired/night": [1, 2, 3],
            }  # fmt: skip
            picks = {1: [30, 31, 32, 33], 2: [34, 35, 36, 37]} if name != "random" and seed == 1 else None
            write_run(root / f"{name}-{seed}", seed, criteria, metrics=metrics, picks=picks, **PAPER)
    for seed in SEEDS:
        words = PAPER | {"loop": {"cycles": 1, "seed_size": 23574, "budget": 2000}}
        write_run(root / f"full-{seed}", seed, metrics={"mIoU": [0.2]}, seed_size=POOL, cycles=1, **words)
    assert main([str(root)]) == 0
    return root / "report"


def rows(path: Path, *, published: bool = False) -> dict[str, dict[str, str]]:
    with path.open() as file:
        found = [row for row in csv.DictReader(file) if row["published"] == str(int(published))]
    return {row["row"].split(" (")[0]: row for row in found}


def test_means_are_those_of_the_runs(folder: Path, numbers: dict[str, np.ndarray]) -> None:
    table = rows(folder / "fake_learning_mIoU.csv")
    for name, label in (("random", "random"), ("cas", "inter + intra + uncertainty")):
        for cycle in range(3):
            head = f"cycle {cycle} ({4 + 4 * cycle})"
            assert float(table[label][f"{head} mean"]) == pytest.approx(numbers[name][:, cycle].mean())
            assert float(table[label][f"{head} std"]) == pytest.approx(numbers[name][:, cycle].std(ddof=1))
            assert table[label][f"{head} seeds"] == "3"
    assert float(table["full supervision"]["cycle 2 (12) mean"]) == pytest.approx(0.2)


def test_the_papers_rows_stand_beside(folder: Path) -> None:
    table = rows(folder / "fake_learning_mIoU.csv", published=True)
    assert list(table) == ["Random", "Entropy", "Ours", "Fully Sup."]
    assert float(table["Ours"]["cycle 2 (12) mean"]) == pytest.approx(0.2557)
    text = (folder / "tables.md").read_text()
    assert "| *Ours, published* | *18.33* | *24.17* | *25.57* |" in text
    assert "Published (in italics): Kim et al." in text
    assert "| *Ours, published* |  | *13.42* | *13.57* |  | *59* | *95* |" in text


def test_differences_are_paired(folder: Path, numbers: dict[str, np.ndarray]) -> None:
    table = rows(folder / "fake_learning_mIoU_difference.csv")
    assert list(table) == ["entropy", "inter + intra + uncertainty"]
    difference = (numbers["entropy"] - numbers["random"])[:, 2]
    assert float(table["entropy"]["cycle 2 (12) difference"]) == pytest.approx(difference.mean())
    expected = 4.302653 * difference.std(ddof=1) / 3**0.5
    assert float(table["entropy"]["cycle 2 (12) half_width"]) == pytest.approx(expected, rel=1e-6)
    assert float(table["entropy"]["cycle 0 (4) difference"]) == 0


def test_the_best_is_bold(folder: Path, numbers: dict[str, np.ndarray]) -> None:
    lines = (folder / "tables.md").read_text().split("\n")
    best = max(METHODS, key=lambda name: numbers[name][:, 2].mean())
    label = " + ".join(METHODS[best])
    start = lines.index("## fake: mIoU in % over the cycles")
    table = {line.split(" | ")[0]: line.split(" | ")[-1] for line in lines[start : start + 12] if line.startswith("|")}
    bold = [name for name, last in table.items() if last.startswith("**")]
    assert bold == [f"| {label} (3 seeds)"]


def test_classes_and_subsets_have_tables(folder: Path, numbers: dict[str, np.ndarray]) -> None:
    classes = rows(folder / "fake_classes_cycle_2.csv")["entropy"]
    assert float(classes["car mean"]) == pytest.approx(numbers["entropy"][:, 2].mean())
    assert float(classes["others mean"]) == 0
    night = rows(folder / "fake_subset_night_mIoU.csv")["entropy"]
    assert float(night["cycle 1 (8) mean"]) == pytest.approx(numbers["entropy"][:, 1].mean() / 2)
    assert float(night["night units for cycle 2 mean"]) == 3
    assert (folder / "fake_learning_rare_mIoU.csv").exists()
    assert not (folder / "fake_learning_night_mIoU.csv").exists()


def test_label_efficiency(folder: Path, numbers: dict[str, np.ndarray]) -> None:
    row = rows(folder / "fake_efficiency_mIoU.csv")["random"]
    areas = [(curve[0] + 2 * curve[1] + curve[2]) / 4 for curve in numbers["random"]]
    assert float(row["mean over 4 to 12 labels mean"]) == pytest.approx(np.mean(areas))
    curve = numbers["random"].mean(0)
    if curve[-1] < 0.2 * 0.9:
        assert row["labels for 90% of full not with"] == "12"
    else:
        assert np.interp(float(row["labels for 90% of full labels"]), [4, 8, 12], curve) == pytest.approx(0.18)


def test_overlap_of_the_picks(folder: Path) -> None:
    table = rows(folder / "fake_overlap.csv")
    both = table["entropy / inter + intra + uncertainty"]
    assert both["first pick seeds"] == "3"
    # The seed decides the made-up picks: these two have the same ones.
    assert float(both["first pick mean"]) == float(both["all picks mean"]) == 1
    assert float(table["random / entropy"]["first pick mean"]) < 1
    chance = 4 * 4 / 36
    assert float(both["first, by chance mean"]) == pytest.approx(chance / (8 - chance))


def test_other_seeds_are_not_compared_in_bold(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0, metrics={"mIoU": [0.1, 0.2, 0.3]})
    write_run(tmp_path / "b", 1, ("entropy",), metrics={"mIoU": [0.1, 0.3]})
    assert main([str(tmp_path)]) == 0
    text = (tmp_path / "report/tables.md").read_text()
    assert "**" not in text
    assert "Not finished: b (2 of 3 cycles)." in text


def test_other_numbers_of_labels_are_not_compared(tmp_path: Path) -> None:
    for seed in SEEDS:
        write_run(tmp_path / f"a-{seed}", seed, metrics={"mIoU": [0.1, 0.2, 0.3 + seed]})
        write_run(tmp_path / f"b-{seed}", seed, ("entropy",), metrics={"mIoU": [0.1, 0.2, 0.4]})
        write_run(tmp_path / f"c-{seed}", seed, ("entropy",), metrics={"mIoU": [0.5, 0.6, 0.7]}, seed_size=8)
    assert main([str(tmp_path)]) == 0
    report = tmp_path / "report"
    table = rows(report / "fake_learning_mIoU_difference.csv")  # two rows, entropy (loop.seed_size=...)
    assert table["entropy"]["cycle 0 difference"] == ""  # the later row, with more labels
    text = (report / "tables.md").read_text()
    assert "| entropy (loop.seed_size=4) | +0.00 ± 0.00 |" in text
    assert "| entropy (loop.seed_size=8) |  |  |  |" in text
    assert "| entropy (loop.seed_size=8) (3 seeds) | 50.00 ± 0.00, 8 labels | 60.00 ± 0.00, 12 labels |" in text
    assert "**70.00" not in text
    assert not (report / "fake_efficiency_mIoU.csv").exists()


def test_means_over_different_classes_are_not_compared_in_bold(tmp_path: Path) -> None:
    for name, counts in {"random": [17, 16, 17], "entropy": [17, 17, 17]}.items():
        for seed in SEEDS:
            metrics = {"mIoU": [0.1, 0.2, 0.3 + 0.1 * (name == "random")], "classes_present": counts}
            metrics["mIoU"][1] += 0.1 * (name == "entropy")
            write_run(tmp_path / f"{name}-{seed}", seed, (name,), metrics=metrics)
    assert main([str(tmp_path)]) == 0
    text = (tmp_path / "report/tables.md").read_text()
    assert "| entropy (3 seeds) | 10.00 ± 0.00 | 30.00 ± 0.00 | 30.00 ± 0.00 |" in text  # the best, but over 17 classes
    assert "| random (3 seeds) | 10.00 ± 0.00 | 20.00 ± 0.00 | **40.00 ± 0.00** |" in text
    assert "| entropy | +0.00 ± 0.00 | +10.00 ± 0.00 | **-10.00 ± 0.00** |" in text
    assert text.count("different numbers of classes (cycle 1 (8): 16 to 17)") == 2  # means and differences
    assert text.count("different numbers of classes (cycle 1: 16 to 17)") == 1  # the area under the curves


def test_a_mean_over_all_classes_is_always_comparable(tmp_path: Path) -> None:
    task = {"metric": {"_target_": "al_lightning.metrics.SemanticSceneCompletion"}}
    for name, count in {"random": 15, "entropy": 16}.items():
        metrics = {"mIoU": [0.1 + count / 100], "classes_present": [count]}
        write_run(tmp_path / name, 0, (name,), metrics=metrics, task=task)
    assert main([str(tmp_path)]) == 0
    text = (tmp_path / "report/tables.md").read_text()
    assert "**26.00**" in text
    assert "different numbers of classes" not in text


def test_picks_are_compared_up_to_the_last_common_cycle(tmp_path: Path) -> None:
    for seed in SEEDS:
        free = np.random.default_rng(seed).permutation(POOL)[4:].tolist()  # not of the seed set
        both = {1: free[:4], 2: free[4:8]}
        write_run(tmp_path / f"a-{seed}", seed, ("a",), metrics={"mIoU": [0.1, 0.2, 0.3]}, picks=both)
        write_run(tmp_path / f"b-{seed}", seed, ("b",), metrics={"mIoU": [0.1, 0.2, 0.3]}, picks=both)
        write_run(tmp_path / f"c-{seed}", seed, ("c",), metrics={"mIoU": [0.1]}, picks={1: free[1:5]})
    assert main([str(tmp_path)]) == 0
    assert "overlap of the picks for cycle 1\n" in (tmp_path / "report/tables.md").read_text()
    table = rows(tmp_path / "report/fake_overlap.csv")
    chance = 4 * 4 / 36
    assert float(table["a / b"]["all, by chance mean"]) == pytest.approx(chance / (8 - chance))
    assert float(table["a / c"]["all picks mean"]) == pytest.approx(3 / 5)


def test_every_share_is_shown_in_percent(tmp_path: Path) -> None:
    metrics = {"RayIoU": [0.25], "RayIoU@1": [0.2], "precision": [0.5], "recall": [0.75]}
    for name in ("random", "entropy"):
        write_run(tmp_path / name, 0, (name,), metrics=metrics)
    assert main([str(tmp_path)]) == 0
    assert "RayIoU in % over the cycles" in (tmp_path / "report/tables.md").read_text()
    assert [number(0.25, name) for name in (*metrics, "RayIoU/car", "night/RayIoU")] == ["25.00"] * 6


def test_planning_has_its_own_table(tmp_path: Path, numbers: dict[str, np.ndarray]) -> None:
    names = [f"{kind}_avg_{k}s" for kind in ("L2", "collision") for k in (1, 2, 3)]
    for name, criteria in {"random": ("random",), "all": ("rarity", "safety", "uncertainty")}.items():
        for seed in SEEDS:
            factor = 1.0 if name == "random" else 0.9
            metrics = {metric: [1.5, factor * (1 + seed / 10)] for metric in names}
            write_run(
                tmp_path / f"{name}-{seed}", seed, criteria, metrics=metrics, cycles=2,
                data="al_lightning.data.NuScenesDriving", loop={"cycles": 2, "seed_size": 70, "budget": 10},
            )  # fmt: skip
    assert main([str(tmp_path)]) == 0
    text = (tmp_path / "report/tables.md").read_text()
    assert "| *baseline, published* | *0.55* | *0.91* | *1.30* | *0.37* | *0.59* | *0.93* |" in text
    assert "| rarity + safety + uncertainty (3 seeds) | **0.990 ± 0.090** | **0.990" in text  # smaller is better
    difference = rows(tmp_path / "report/fake_last_cycle_difference.csv")["rarity + safety + uncertainty"]
    assert float(difference["L2_avg_3s in m difference"]) == pytest.approx(-0.11)
    assert (tmp_path / "report/fake_efficiency_collision_avg_3s.csv").exists()


def test_wrong_use_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing")]) == 1
    write_run(tmp_path / "a", 0, metrics={"mIoU": [0.1]})
    assert main([str(tmp_path), "--baseline", "nobody"]) == 1
    write_run(tmp_path / "b", 0, metrics={"mIoU": [float("nan")]})
    assert main([str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert f"{tmp_path / 'b'}: metrics.csv, line 2, column mIoU: nan" in errors
    assert "nothing holds no run: there is no such folder" in errors
    assert "there is no method 'nobody'; there are: random" in errors


def test_a_repeated_run_and_another_experiment_are_named(tmp_path: Path) -> None:
    for name, last in (("a", 0.3), ("b", 0.3 + 1e-6)):
        write_run(tmp_path / name, 0, metrics={"mIoU": [0.1, 0.2, last]})
    write_run(tmp_path / "c", 1, metrics={"mIoU": [0.1, 0.2, 0.3]}, loss="another")
    assert main([str(tmp_path)]) == 0
    for file in ("tables.md", "report.html"):
        text = unescape((tmp_path / "report" / file).read_text())
        assert f"{tmp_path / 'b'} is left out: {tmp_path / 'a'} is the same run" in text
        assert "fake (2) is not compared with fake, from which it differs in loss: None -> 'another'." in text
