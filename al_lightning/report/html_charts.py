"""Charts as inline SVG whose colours follow the page's: curves with intervals, bars, strips and clouds of points."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from al_lightning.report.html_elements import element, text

WIDTH = 460.0
WHISKER = 5.0
"""Pixels between the whiskers of two curves."""

BANDS = 2
"""Curves whose intervals can be bands."""

HUES = 8
"""Numbered colours of the style sheet, ``hue-0`` to ``hue-7``."""


@dataclass(frozen=True)
class Point:
    """A point of a curve.

    Attributes:
        x: abscissa.
        y: ordinate.
        half: half of its interval; None without.
        tip: what is said of it.
        seeds: what it is the mean of; shown as dots of their own where there is no interval.
    """

    x: float
    y: float
    half: float | None
    tip: str
    seeds: Sequence[float] = ()


@dataclass(frozen=True)
class Curve:
    """A curve with a name.

    Attributes:
        name: in the legend.
        points: by growing x.
        hue: number of its colour.
        reference: drawn thinner and dashed.
    """

    name: str
    points: Sequence[Point]
    hue: int
    reference: bool = False


@dataclass(frozen=True)
class Scale:
    """Numbers to pixels, linearly.

    Attributes:
        low: smallest number.
        high: largest number.
        start: pixel of the smallest.
        end: pixel of the largest.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Pixel of a number."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that cover a range: the first at most ``low``, the last at least ``high``."""
    if high <= low:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def tick_texts(values: Sequence[float], sign: str = "") -> list[str]:
    """Ticks with as many digits behind the point as one of them needs; 0 has no sign."""
    step = values[1] - values[0]
    digits = next((d for d in range(12) if all(abs(round(v, d) - v) < step * 1e-6 for v in values)), 12)
    return [f"{value:{sign}.{digits}f}" if abs(value) > step * 1e-6 else "0" for value in values]


def svg(key: str, height: float, description: str, *marks: str, width: float = WIDTH) -> str:
    """A drawing that is as wide as its place; the title of the figure ``key`` names it."""
    desc = element("desc", text(description), id=f"{key}-desc")
    return element(
        "svg", desc, *marks, viewBox=f"0 0 {width:g} {height:g}", role="group", aria_labelledby=f"{key}-title",
        aria_describedby=f"{key}-desc", data_marks=True,
    )  # fmt: skip


def mark(tag: str, tip: str, **attributes: str | float | None) -> str:
    """A shape that says something on hover and focus."""
    return element(tag, "", data_tip=tip, aria_label=tip, role="img", **attributes)


def legend(entries: Sequence[tuple[str, str]], *, toggles: bool = True) -> str:
    """Names of colours; pressed, a name hides what it stands for.

    Args:
        entries: name, and the class that both the swatch and the marks have.
        toggles: whether there is something to hide.
    """
    items = []
    for name, kind in entries:
        inner = element("span", "", class_=f"swatch {kind}") + text(name)
        if toggles:
            inner = element("button", inner, type="button", aria_pressed="true", data_toggles=kind.split()[0])
        items.append(element("li", inner))
    return element("ul", *items, class_="legend")


def chart(drawing: str, names: str) -> str:
    """A drawing with its legend, beside it where there is room."""
    return element("div", drawing, names, class_="chart")


def label(value: str, x: float, y: float, kind: str = "middle") -> str:
    """A piece of text in a drawing."""
    return element("text", text(value), x=x, y=y, class_=kind)


def line_chart(key: str, curves: Sequence[Curve], x_name: str, y_name: str, *, zero: bool = False) -> str:
    """Curves over a number of labels with their intervals: bands, or whiskers side by side where bands would cover up.

    The ordinate covers what was measured; intervals end at its edges, and at 0 where nothing is below.

    Args:
        key: id of the figure.
        curves: at least one with a point.
        x_name: what the abscissa is.
        y_name: what the ordinate is.
        zero: let the ordinate contain 0.
    """
    points = [point for curve in curves for point in curve.points]
    ends = [value for point in points for value in (point.y, *point.seeds)] + [0.0] * zero
    heights = ticks(min(ends), max(ends))
    height, left, right, top, bottom = 280.0, 52.0, 12.0, 26.0, 42.0
    y = Scale(heights[0], heights[-1], height - bottom, top)
    banded = sum(any(point.half is not None or point.seeds for point in curve.points) for curve in curves)
    abscissas = sorted({point.x for point in points})
    room = 8 + WHISKER * len(curves) / 2 * (banded > BANDS)
    x = Scale(abscissas[0], max(abscissas[-1], abscissas[0] + 1e-9), left + room, WIDTH - right - room)
    parts = [label(y_name, left - 44, 14, "axis start")]
    for value, shown in zip(heights, tick_texts(heights), strict=True):
        parts.append(element("line", "", x1=left, x2=WIDTH - right, y1=y(value), y2=y(value), class_="grid"))
        parts.append(label(shown, left - 6, y(value) + 4, "tick end"))
    for value in _apart(abscissas, lambda value: x(value), 34):
        parts.append(label(f"{value:g}", x(value), height - bottom + 17, "tick middle"))
    parts.append(label(x_name, (left + WIDTH - right) / 2, height - 6, "axis middle"))
    for n, curve in enumerate(curves):
        aside = WHISKER * (n - (len(curves) - 1) / 2) if banded > BANDS else None
        parts.append(_curve(curve, x, y, n, aside))
    names = ", ".join(curve.name for curve in curves)
    drawing = svg(key, height, f"{y_name} over {x_name}: {names}. Arrow keys lead from point to point.", *parts)
    entries = [(curve.name, f"series-{n} hue-{curve.hue % HUES}") for n, curve in enumerate(curves)]
    return chart(drawing, legend(entries) if len(curves) > 1 else "")


def _apart(values: Sequence[float], place: Callable[[float], float], gap: float) -> list[float]:
    """Those that leave room for each other's labels, the last one among them."""
    kept: list[float] = []
    for value in reversed(values):
        if not kept or place(kept[-1]) - place(value) >= gap:
            kept.append(value)
    return kept


def _curve(curve: Curve, x: Scale, y: Scale, number: int, aside: float | None) -> str:
    """A curve with its points and intervals.

    Args:
        curve: to draw.
        x: abscissa.
        y: ordinate.
        number: of the curve.
        aside: pixels that points and whiskers are moved by; None for a band.
    """
    places = [(x(point.x) + (aside or 0) * (not curve.reference), y(point.y)) for point in curve.points]
    parts = []
    wide = [
        (place, y(max(point.y - point.half, y.low)), y(min(point.y + point.half, y.high)))
        for (place, _), point in zip(places, curve.points, strict=True)
        if point.half
    ]
    if aside is not None:
        parts = [
            element("line", "", x1=place, x2=place, y1=low, y2=high, class_="bar-line") for place, low, high in wide
        ]
    elif len(wide) > 1:
        corners = [f"{place:.1f},{high:.1f}" for place, _, high in wide]
        corners += [f"{place:.1f},{low:.1f}" for place, low, _ in reversed(wide)]
        parts = [element("polygon", "", points=" ".join(corners), class_="band")]
    parts += [
        element("circle", "", cx=place, cy=y(value), r=1.8, class_="seed")
        for (place, _), point in zip(places, curve.points, strict=True)
        if point.half is None
        for value in point.seeds
    ]
    way = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    parts.append(element("polyline", "", points=way, class_=f"line dash-{number % 4}"))
    radius = 2.5 if curve.reference else 4.0
    parts += [
        mark("circle", point.tip, cx=a, cy=b, r=radius, class_="dot")
        for point, (a, b) in zip(curve.points, places, strict=True)
    ]
    kind = f"series-{number} hue-{curve.hue % HUES}" + " reference" * curve.reference
    return element("g", *parts, class_=kind)
