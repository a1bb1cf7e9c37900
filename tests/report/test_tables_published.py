"""The numbers beside ours are those that the papers print."""

import json
import re
from pathlib import Path

import pytest

from al_lightning.report.tables_groups import Method
from al_lightning.report.tables_published import Published, published
from al_lightning.report.tables_runs import ReportedRun

SHARED = Path(__file__).resolve().parents[3] / "shared"
CLASSES = 17


def rows(source: str) -> list[Published]:
    found = [row for row in published() if source in row.source]
    assert found
    return found


def paper(number: str) -> str:
    """A paper's text with single spaces, without superscripts."""
    files = list((SHARED / "papers").glob(f"{number}_*.txt"))
    if not files:
        pytest.skip("the papers' texts are not here")
    return " ".join(re.sub(r"\^\{[^}]*\}", "", files[0].read_text()).split())


def printed(values: list[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)


def test_table_1_of_occupancy_stands_in_the_paper() -> None:
    text, lines = paper("004"), 0
    for row in rows("Occ3D-nuScenes"):
        for numbers in row.values.values():
            classes = [value for name, value in numbers.items() if name.startswith("IoU/")]
            if classes:
                assert len(classes) == CLASSES
                assert printed([numbers["mIoU"], *classes]) in text
                lines += 1
    assert lines == 1 + 4 * 4 + 1


def test_night_and_rain_stand_in_the_paper() -> None:
    text = paper("004")
    strategies = [row for row in rows("Occ3D-nuScenes") if "night/mIoU" in row.values.get(1, {})]
    assert len(strategies) == 4
    for row in strategies:
        cells = [
            f"{row.values[k][f'{subset}/mIoU']:.2f} {row.values[k][f'acquired/{subset}']:.0f}"
            for subset in ("night", "rain")
            for k in (1, 2, 3, 4)
        ]
        assert " ".join(cells) in text


@pytest.mark.parametrize(("source", "count"), [("Occ3D-nuScenes", 13), ("SemanticKITTI", 4)])
def test_curves_stand_in_the_paper(source: str, count: int) -> None:
    text = paper("004")
    curves = [row for row in rows(source) if 4 in row.values]
    assert len(curves) == count
    for row in curves:
        values = [row.values[k]["mIoU"] for k in (1, 2, 3, 4)]
        if row.name in ("Entropy", "Coreset") and source == "Occ3D-nuScenes":  # Table I only, checked above
            continue
        assert printed(values) in text, row.name
        if 0 in row.values:
            assert f"{row.values[0]['mIoU']:.2f}" in text


def test_planning_stands_in_the_paper() -> None:
    text = paper("000")
    table = rows("Inoue")
    assert len(table) == 8
    for row in table:
        assert f"{row.name} {printed(list(row.values[1].values()))}" in text


def test_full_supervision_is_that_of_the_specifications() -> None:
    file = SHARED / "specs/published_numbers.json"
    if not file.exists():
        pytest.skip("the published numbers are not here")
    numbers = json.loads(file.read_text())["published"]
    (vad,) = rows("Jiang")
    assert list(vad.values[0].values()) == [*numbers["VAD"]["tiny"]["L2"], *numbers["VAD"]["tiny"]["col"]]
    (completion,) = [row for row in rows("SemanticKITTI") if row.full]
    assert f"fully-supervised row {completion.values[0]['mIoU']}" in numbers["OccFormer_SemanticKITTI"]["note"]


def method(
    criteria: set[str], seed_size: int, budget: int, data: str = "Occ3DNuScenes", *, full: bool = False, **options: str
) -> Method:
    if "split" in options:
        options |= {"splits": {"_target_": f"al_lightning.data.{options.pop('split')}"}}
    config = {
        "data": {"_target_": f"al_lightning.data.{data}", **options}, "loop": {"seed_size": seed_size, "budget": budget}
    }  # fmt: skip
    return Method("", frozenset(criteria), full, {0: ReportedRun(Path(), config, {}, {}, ())})


GEO = {"split": "GeographicSplit", "version": "v1.0-trainval"}
SIM = {"version": "v1.0-sim"}
CAS = {"inter", "intra", "uncertainty"}


@pytest.mark.parametrize(
    ("ours", "names"),
    [
        (method({"random"}, 2000, 2000, **GEO), ["Random"]),
        (method({"random"}, 2000, 2000, split="GeographicSplit"), ["Random"]),
        (method({"random"}, 2000, 2000), []),  # the official split
        (method({"random"}, 2000, 2000, split="OfficialSplit"), []),
        (method({"random"}, 2000, 500, **GEO), []),
        (method({"random"}, 49, 49, **GEO), []),
        (method({"random"}, 4000, 2000, **GEO), []),
        (method(CAS, 2000, 2000, **GEO), ["Ours"]),
        (method(CAS, 8000, 2000, **GEO), ["Ours"]),
        (method({"uncertainty"}, 2000, 2000, **GEO), ["U_fw"]),
        (method({"random"}, 2000, 2000, **GEO | SIM), []),
        (method({"random"}, 23574, 2000, full=True, **GEO), ["Fully Sup."]),
        (method({"random"}, 576, 2000, full=True, **GEO), []),
        (method({"random"}, 23574, 2000, full=True, **GEO | SIM), []),
        (method(CAS, 299, 299, "SemanticKITTI"), ["Ours"]),
        (method(CAS, 300, 300, "SemanticKITTI"), ["Ours"]),  # even numbers, for one GPU
        (method(CAS, 4, 4, "SemanticKITTI"), []),
        (method({"random"}, 3834, 299, "SemanticKITTI", full=True), ["Fully Sup."]),
        (method({"random"}, 40, 4, "SemanticKITTI", full=True), []),
        (method({"uncertainty"}, 70, 10, "NuScenesDriving"), ["U"]),
        (method({"random"}, 70, 10, "NuScenesDriving"), ["baseline"]),
        (method({"random"}, 70, 10, "NuScenesDriving", version="v1.0-trainval"), ["baseline"]),
        (method({"random"}, 70, 10, "NuScenesDriving", split="RegionSplit"), []),
        (method({"random"}, 70, 10, "NuScenesDriving", **SIM), []),
        (method({"random"}, 7, 1, "NuScenesDriving"), []),
        (method({"random"}, 70, 70, "NuScenesDriving"), []),
        (method({"random"}, 700, 10, "NuScenesDriving", full=True), ["VAD-tiny"]),
        (method({"random"}, 72, 10, "NuScenesDriving", full=True, **SIM), []),
        (method({"random"}, 2000, 2000, "Another", **GEO), []),
    ],
)
def test_a_row_stands_beside_its_own_method(ours: Method, names: list[str]) -> None:
    assert [row.name for row in published() if row.stands_beside(ours)] == names


def test_larger_seed_sets_are_rows_of_their_own() -> None:
    (row,) = [row for row in published() if row.stands_beside(method(CAS, 8000, 2000, **GEO))]
    assert {cycle: values["mIoU"] for cycle, values in row.values.items()} == {
        0: 24.36, 1: 25.81, 2: 26.12, 3: 26.40, 4: 26.66
    }  # fmt: skip
