import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from al_lightning.report.html_charts import Curve, Point, line_chart, ticks
from al_lightning.report.html_colors import HEAT, class_colors, heat
from al_lightning.report.html_elements import Datum, element, significant, table, text
from al_lightning.report.html_pictures import class_map, from_above
from al_lightning.types import IGNORE


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
