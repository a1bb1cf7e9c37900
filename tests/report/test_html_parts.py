import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from fake_reports import POOL, write_run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from al_lightning.report.__main__ import main
from al_lightning.report.html_charts import Curve, Point, line_chart, ticks
from al_lightning.report.html_colors import HEAT, class_colors, heat
from al_lightning.report.html_drives import drive, in_window
from al_lightning.report.html_elements import Datum, element, significant, table, text
from al_lightning.report.html_marks import Interval, bar_groups, intervals
from al_lightning.report.html_pictures import class_map, from_above
from al_lightning.report.tables_groups import FULL
from al_lightning.types import IGNORE


@pytest.mark.parametrize("shares", [[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
def test_bars_of_a_network_that_knows_one_class(shares: list[float]) -> None:
    svg = bar_groups("classes", ["road", "car"], {"pool": shares}, [], "voxels")
    assert "nan" not in svg
    assert "10 %" in svg
    assert "100 %" in svg


@given(st.text())
def test_text_cannot_become_markup(value: str) -> None:
    for html in (text(value), element("p", data_tip=value)):
        inner = html.removeprefix('<p data-tip="').removesuffix('"></p>')
        assert not set(inner) & set("<>\"'")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (1234.5, "1234"), (0.012345, "0.0123"), (-2.0, "-2.00"), (1e-12, "1.00e-12"), (9.99e9, "9.99e+09")],
)
def test_significant_digits(value: float, shown: str) -> None:
    assert significant(value) == shown


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_are_round_and_cover(low: float, width: float, count: int) -> None:
    places = ticks(low, low + width, count)
    slack = 1e-6 * max(abs(low), width)
    assert places[0] <= low + slack
    assert places[-1] >= low + width - slack
    steps = np.diff(places)
    assert np.allclose(steps, steps[0])
    assert 2 <= len(places) <= count + 3


def test_a_cell_tells_what_it_is_sorted_by() -> None:
    html = table("t", ["name", "value"], [["a", Datum("5 %", 0.05)], ["b", Datum("none", float("nan"))]])
    assert re.findall(r'data-value="([^"]*)"', html) == ["0.05"]


def test_intervals_are_bands_or_whiskers() -> None:
    def drawn(count: int) -> str:
        points = [Point(x, 1.0, 0.5, "tip") for x in (1.0, 2.0)]
        return line_chart("key", [Curve(f"c{n}", points, n) for n in range(count)], "x", "y")

    assert drawn(2).count('class="band"') == 2
    assert drawn(3).count('class="band"') == 0
    assert drawn(3).count('class="bar-line"') == 6


def test_an_axis_is_that_of_what_was_measured_and_intervals_end_there() -> None:
    def ends(html: str, axis: str) -> list[float]:
        lines = re.findall(r'<line [^>]*class="bar-line"[^>]*>', html)
        return [float(re.search(rf'{axis}{n}="([^"]*)"', line).group(1)) for line in lines for n in (1, 2)]

    points = [Point(x, 1.0, 9.0, "tip", (0.8, 1.2)) for x in (1.0, 2.0)]
    html = line_chart("key", [Curve(f"c{n}", points, n) for n in range(3)], "x", "y")
    assert '">0.8</text>' in html
    assert '">1.2</text>' in html
    assert '">1.4</text>' not in html
    assert set(ends(html, "y")) == {26.0, 238.0}  # top and bottom of the plot
    html = intervals("key", [Interval("a", -1.0, 9.0, "tip", 0, (-1.5, -0.5))], "y")
    assert '">-2.0</text>' not in html
    assert ends(html, "x") == [26.0, 434.0]


def test_two_seeds_are_dots_and_three_an_interval(tmp_path: Path) -> None:
    def seeds_drawn(count: int) -> tuple[int, int]:
        folder = tmp_path / str(count)
        for seed in range(count):
            for gain, name in enumerate(("random", "a", "b")):
                metrics = {"mIoU": [0.1, 0.2 + 0.01 * seed * (gain + 1), 0.3 + 0.01 * seed * gain]}
                write_run(folder / f"{name}-{seed}", seed, (name,), metrics=metrics)
        assert main([str(folder)]) == 0
        page = (folder / "report/report.html").read_text()
        return page.count('class="seed"'), page.count('class="bar-line"')

    assert seeds_drawn(1) == (0, 0)
    # Of three methods two dots a point, three points each; of two differences two each
    assert seeds_drawn(2) == (2 * 3 * 3 + 2 * 2, 0)
    dots, whiskers = seeds_drawn(3)
    assert dots == 0
    assert whiskers > 0


def test_all_differences_are_those_of_one_cycle(tmp_path: Path) -> None:
    for name, values in {"random": [0.1, 0.2, 0.3], "a": [0.1, 0.25, 0.5], "b": [0.1, 0.3]}.items():
        write_run(tmp_path / name, 0, (name,), metrics={"mIoU": values})
    assert main([str(tmp_path)]) == 0
    page = (tmp_path / "report/report.html").read_text()
    assert "mIoU in %, difference to random after cycle 1 (8)" in page
    assert "a: +5.00 over 1 pairs, cycle 1" in page
    assert "b: +10.00 over 1 pairs, cycle 1" in page
    write_run(tmp_path / "full", 0, metrics={"mIoU": [0.6]}, seed_size=POOL, cycles=1)
    assert main([str(tmp_path), "--baseline", FULL]) == 0
    assert 'id="e0-difference' not in (tmp_path / "report/report.html").read_text()


def test_what_lies_outside_of_a_drive_is_not_drawn() -> None:
    way = np.stack([np.zeros(6), np.linspace(1, 6, 6)], axis=1)  # the window is 24 m wide, around (0, 3)
    places = [(0, 5), (13, 3), (16, 3), (40, 3)]  # beside it with its nose in it; outside; comes in later; outside
    agents = np.array([[[x, y, 0, 4, 2]] * 2 for x, y in places], dtype=np.float64)
    agents[2, 1, 0] = 5
    arrays = {
        "plan": way, "way": way, "known": np.ones(6, dtype=bool), "agents": agents,
        "present": np.ones((4, 2), dtype=bool), "agent_labels": np.array([0, 1, 2, 0]),
        "boundaries": np.array([[[-9, 0], [-9, 50]], [[-20, -20], [-20, 20]]], dtype=np.float64),
    }  # fmt: skip
    shown, boundaries = in_window(arrays)
    assert shown == [0, 1, 2]
    assert boundaries.tolist() == [[[-9, 0], [-9, 50]]]
    html = drive("key", arrays, ["car", "bus", "truck"])
    assert html.count('class="agent"') == 3
    assert html.count('class="kerb"') == 1
    arrays["present"][2, 1] = False
    assert in_window(arrays | {"boundaries": np.zeros((0, 2, 2))})[0] == [0, 1]
    assert in_window({name: arrays[name] for name in ("plan", "way", "known")})[0] == []  # no labels


def test_the_highest_solid_voxel_is_seen_from_above() -> None:
    classes = np.random.default_rng(0).choice([0, 1, 2, IGNORE], (6, 5, 4)).astype(np.uint8)
    top = from_above(classes, free=2)
    for x in range(6):
        for y in range(5):
            solid = [c for c in classes[x, y] if c not in (2, IGNORE)]
            assert top[x, y] == (solid[-1] if solid else IGNORE)


def test_a_map_has_forward_up_and_left_to_the_left() -> None:
    top = np.full((3, 2), IGNORE, dtype=np.uint8)
    top[2, 1] = 1  # far ahead, to the left
    html = class_map(top, [(1, 2, 3), (250, 10, 20)], "what")
    data = re.search(r"base64,([^\"]+)", html)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data.group(1)))).convert("RGBA"))
    assert picture.shape == (3, 2, 4)
    assert picture[0, 0].tolist() == [250, 10, 20, 255]
    assert (picture[..., 3] > 0).sum() == 1


def test_colours() -> None:
    assert class_colors(["car"])[0] == class_colors(["bus", "car"])[1]
    assert len(set(class_colors([f"class {k}" for k in range(12)]))) == 12
    assert heat(np.array([0.0, 1.0])).tolist() == [HEAT[0].tolist(), HEAT[-1].tolist()]
