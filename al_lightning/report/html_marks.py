"""More charts as inline SVG: histograms with a part picked out, strips, clouds of points, intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_lightning.report.html_charts import WIDTH, Scale, chart, label, legend, mark, svg, tick_texts, ticks
from al_lightning.report.html_elements import element, significant

BINS = 24

NAME = 56
"""Letters that fit above a row, 7.6 pixels each on a narrow screen."""

DECADES = 5
"""Powers of ten that a logarithmic axis shows at most."""


def histogram(key: str, values: NDArray[np.float64], picked: NDArray[np.bool_], name: str) -> str:
    """How a number is spread over the candidates; those that were picked stand out.

    Args:
        key: id of the figure.
        values: (N,) of the candidates.
        picked: (N,) bool.
        name: of the number.
    """
    edges = np.histogram_bin_edges(values, BINS)
    everything, _ = np.histogram(values, edges)
    chosen, _ = np.histogram(values[picked], edges)
    height, left, right, top, bottom = 170.0, 40.0, 10.0, 24.0, 34.0
    x = Scale(float(edges[0]), float(edges[-1]), left, WIDTH - right)
    heights = ticks(0, float(everything.max()), 3)
    y = Scale(0, heights[-1], height - bottom, top)
    parts = [
        label("candidates", 0, 14, "axis start"),
        label(name, (left + WIDTH - right) / 2, height - 4, "axis middle"),
    ]
    for value in heights:
        parts.append(element("line", "", x1=left, x2=WIDTH - right, y1=y(value), y2=y(value), class_="grid"))
        parts.append(label(f"{value:g}", left - 6, y(value) + 4, "tick end"))
    for value in np.linspace(edges[0], edges[-1], 4):
        side = "start" if value == edges[0] else "end" if value == edges[-1] else "middle"
        parts.append(label(significant(float(value), 2), x(float(value)), height - bottom + 15, f"tick {side}"))
    for i, (count, part) in enumerate(zip(everything.tolist(), chosen.tolist(), strict=True)):
        begin, end = x(float(edges[i])), x(float(edges[i + 1]))
        tip = (
            f"{significant(float(edges[i]))} to {significant(float(edges[i + 1]))}: {count} candidates, {part} selected"
        )
        if count:
            wide = max(end - begin - 1, 1.0)
            parts.append(mark("rect", tip, x=begin, width=wide, y=y(count), height=y(0) - y(count), class_="rest bar"))
        if part:
            parts.append(
                element("rect", "", x=begin, width=wide, y=y(part), height=y(0) - y(part), class_="hue-1 bar still")
            )
    drawing = svg(
        key, height, f"Histogram of {name} over {len(values)} candidates, {int(picked.sum())} selected.", *parts
    )
    return drawing + legend([("candidates", "rest"), ("selected", "hue-1")], toggles=False)


def strip(key: str, rows: Sequence[tuple[str, Sequence[int]]], count: int) -> str:
    """Which units of a data set, in its own order, were acquired when: a row of dashes a cycle.

    Args:
        key: id of the figure.
        rows: name of a cycle, and the numbers of its units.
        count: number of all units.
    """
    left, right, top, step = 78.0, 8.0, 8.0, 22.0
    height = top + step * len(rows) + 34
    x = Scale(0, count, left, WIDTH - right)
    wide = max((WIDTH - left - right) / count, 0.8)
    parts = []
    for n, (name, units) in enumerate(rows):
        y = top + n * step
        parts.append(label(name, left - 8, y + 14, "tick end"))
        parts.append(element("rect", "", x=left, y=y, width=WIDTH - left - right, height=step - 5, class_="track"))
        dashes = "".join(f"M{x(unit) + wide / 2:.1f} {y:.1f}v{step - 5:g}" for unit in units)
        parts.append(
            mark("path", f"{name}: {len(units)} units", d=dashes, class_=f"dash hue-{n % 8}", stroke_width=wide)
        )
    base = top + step * len(rows)
    for value, side in ((0, "start"), (count // 2, "middle"), (count, "end")):
        parts.append(label(f"{value}", x(value), base + 12, f"tick {side}"))
    parts.append(label("number of the unit in the data set", (left + WIDTH - right) / 2, base + 28, "axis middle"))
    return svg(key, height, "Units acquired in every cycle, in the order of the data set.", *parts)


@dataclass(frozen=True)
class Cloud:
    """Points of one kind.

    Attributes:
        name: in the legend.
        kind: class of its marks.
        places: (N, 2).
        tips: N texts.
    """

    name: str
    kind: str
    places: NDArray[np.float64]
    tips: Sequence[str]


def scatter(key: str, clouds: Sequence[Cloud], description: str) -> str:
    """Points in a plane without axes, the last cloud on top."""
    everything = np.concatenate([cloud.places for cloud in clouds])
    low, high = everything.min(0), everything.max(0)
    margin = 12.0
    size = np.maximum(high - low, 1e-9)
    height = float(np.clip((WIDTH - 2 * margin) * size[1] / size[0] + 2 * margin, 200.0, 400.0))
    pixels = min((WIDTH - 2 * margin) / size[0], (height - 2 * margin) / size[1])
    reach, middle = np.array([WIDTH, height]) / pixels / 2, (low + high) / 2
    x = Scale(float(middle[0] - reach[0]), float(middle[0] + reach[0]), 0, WIDTH)
    y = Scale(float(middle[1] - reach[1]), float(middle[1] + reach[1]), height, 0)
    groups = [
        element(
            "g",
            *(
                mark("circle", tip, cx=x(float(a)), cy=y(float(b)), r=3.2)
                for (a, b), tip in zip(cloud.places, cloud.tips, strict=True)
            ),
            class_=f"cloud {cloud.kind}",
        )
        for cloud in clouds
    ]
    frame = element("rect", "", x=0.5, y=0.5, width=WIDTH - 1, height=height - 1, class_="frame")
    drawing = svg(key, height, description, frame, *groups)
    return chart(drawing, legend([(cloud.name, cloud.kind) for cloud in clouds]))


@dataclass(frozen=True)
class Interval:
    """A number with its interval.

    Attributes:
        name: what it is of.
        value: the number.
        half: half of the interval; None without.
        tip: what is said of it.
        hue: number of its colour.
        seeds: what it is the mean of; shown as dots of their own where there is no interval.
    """

    name: str
    value: float
    half: float | None
    tip: str
    hue: int
    seeds: Sequence[float] = ()


def intervals(key: str, rows: Sequence[Interval], name: str) -> str:
    """Numbers with their intervals below each other, each below its name, and a line at 0.

    The axis covers what was measured, and 0; intervals end at its edges.

    Args:
        key: id of the figure.
        rows: from top to bottom.
        name: of the number.
    """
    ends = [0.0, *(value for row in rows for value in (row.value, *row.seeds))]
    places = ticks(min(ends), max(ends), 4)
    left, right, top, step = 26.0, 26.0, 8.0, 34.0
    height = top + step * len(rows) + 38
    x = Scale(places[0], places[-1], left, WIDTH - right)
    base = top + step * len(rows)
    parts = [label(name, (left + WIDTH - right) / 2, height - 4, "axis middle")]
    for value, shown in zip(places, tick_texts(places, "+"), strict=True):
        kind = "zero" if abs(value) < 1e-12 else "grid"
        parts.append(element("line", "", x1=x(value), x2=x(value), y1=top, y2=base, class_=kind))
        parts.append(label(shown, x(value), base + 15, "tick middle"))
    for n, row in enumerate(rows):
        y = top + step * n + 24
        parts.append(label(_short(row.name, NAME), 2, y - 10, "tick start over"))
        if row.half is not None:
            low, high = x(max(row.value - row.half, x.low)), x(min(row.value + row.half, x.high))
            inner = [element("line", "", x1=low, x2=high, y1=y, y2=y, class_="bar-line")]
        else:
            inner = [element("circle", "", cx=x(value), cy=y, r=1.8, class_="seed") for value in row.seeds]
        inner.append(mark("circle", row.tip, cx=x(row.value), cy=y, r=4.5, class_="dot"))
        parts.append(element("g", *inner, class_=f"hue-{row.hue % 8}"))
    return svg(key, height, f"{name}: {', '.join(row.name for row in rows)}.", *parts)


def bar_groups(
    key: str, names: Sequence[str], series: Mapping[str, Sequence[float]], colors: Sequence[str], unit: str
) -> str:
    """Shares of classes as horizontal bars on a logarithmic axis, one bar a series beside each name.

    Args:
        key: id of the figure.
        names: of the classes.
        series: name -> share of each class, 0 to 1.
        colors: of the classes, for a swatch beside each name; empty for none.
        unit: what a bar is a share of.
    """
    positive = [value for values in series.values() for value in values if value > 0]
    low = min(max(math.floor(math.log10(min(positive, default=1))), -DECADES), -1)
    left, right, top, step = 136.0, 26.0, 26.0, 9.0
    group = step * len(series) + 10
    height = top + group * len(names) + 6
    x = Scale(low, 0, left, WIDTH - right)
    parts = []
    for power in range(low, 1):
        parts.append(element("line", "", x1=x(power), x2=x(power), y1=top, y2=height - 6, class_="grid"))
        parts.append(label(f"{100 * 10.0**power:g} %", x(power), top - 8, "tick middle"))
    for i, name in enumerate(names):
        y = top + group * i + 5
        if colors:
            middle = y + step * len(series) / 2
            parts.append(
                element("rect", "", x=2, y=middle - 5, width=10, height=10, rx=2, fill=colors[i], class_="chip")
            )
        parts.append(label(_short(name), 18, y + step * len(series) / 2 + 4, "tick start"))
        for n, (what, values) in enumerate(series.items()):
            if values[i] <= 0:
                continue
            reach = x(max(math.log10(values[i]), low)) - left
            tip = f"{name}, {what}: {significant(100 * values[i])} % of {unit}"
            parts.append(
                mark("rect", tip, x=left, y=y + n * step, width=max(reach, 1.0), height=step - 2, rx=1,
                     class_=f"series-{n} hue-{n} bar")
            )  # fmt: skip
    drawing = svg(key, height, f"Shares of {len(names)} classes: {', '.join(series)}.", *parts)
    return chart(drawing, legend([(what, f"series-{n} hue-{n}") for n, what in enumerate(series)]))


def _short(name: str, longest: int = 16) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
