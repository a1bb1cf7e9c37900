"""The numbers beside ours are those that the papers print."""

import json
import re
from pathlib import Path

import pytest

from al_lightning.report.tables_published import Published, published
from al_lightning.report.tables_runs import Method, ReportedRun

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
    criteria: set[str], seed_size: int, data: str = "Occ3DNuScenes", *, full: bool = False, **options: str
) -> Method:
    config = {
        "data": {"_target_": f"al_lightning.data.{data}", **options}, "loop": {"seed_size": seed_size, "budget": 49}
    }  # fmt: skip
    return Method("", frozenset(criteria), full, {0: ReportedRun(Path(), config, {}, {}, 0)})


@pytest.mark.parametrize(
    ("ours", "names"),
    [
        (method({"random"}, 49), ["Random"]),
        (method({"random"}, 98), []),
        (method({"inter", "intra", "uncertainty"}, 49), ["Ours"]),
        (method({"inter", "intra", "uncertainty"}, 196), ["Ours"]),
        (method({"uncertainty"}, 49), ["U_fw"]),
        (method({"uncertainty"}, 7 * 49, "NuScenesDriving"), ["U"]),
        (method({"random"}, 7 * 49, "NuScenesDriving"), ["baseline"]),
        (method({"random"}, 7 * 49, "NuScenesDriving", version="v1.0-trainval"), ["baseline"]),
        (method({"random"}, 7 * 49, "NuScenesDriving", version="v1.0-sim"), []),
        (method({"random"}, 49, "NuScenesDriving"), []),
        (method({"random"}, 700, "NuScenesDriving", full=True), ["VAD-tiny"]),
        (method({"random"}, 72, "NuScenesDriving", full=True, version="v1.0-sim"), []),
        (method({"random"}, 49, version="v1.0-sim"), []),
        (method({"random"}, 576, full=True, version="v1.0-sim"), []),
        (method({"random"}, 576, full=True), ["Fully Sup."]),
        (method({"random"}, 40, "SemanticKITTI", full=True), ["Fully Sup."]),
        (method({"random"}, 49, "Another"), []),
    ],
)
def test_a_row_stands_beside_its_own_method(ours: Method, names: list[str]) -> None:
    assert [row.name for row in published() if row.stands_beside(ours)] == names


def test_larger_seed_sets_are_rows_of_their_own() -> None:
    (row,) = [row for row in published() if row.stands_beside(method({"inter", "intra", "uncertainty"}, 4 * 49))]
    assert row.values[0] == {"mIoU": 24.36}
