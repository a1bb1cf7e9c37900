"""Drives from above, and how far a plan strays from the driven path, as SVG; y (forward) is up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from al_lightning.report.evidence import Arrays
from al_lightning.report.html_charts import WIDTH, Scale, label, mark, svg, ticks
from al_lightning.report.html_colors import class_colors, css
from al_lightning.report.html_elements import element

EGO = np.array([0, 0, np.pi / 2, 4.1, 1.7])
"""Footprint of nuScenes' vehicle: x, y, yaw, length, width."""


def drive(key: str, arrays: Arrays, agent_names: Sequence[str]) -> str:
    """Planned and driven path, and the agents and road boundaries where labels tell them.

    Args:
        key: id of the figure.
        arrays: ``plan``, ``way`` and ``known``; of labeled units ``agents``, ``present``, ``agent_labels`` and
            ``boundaries``.
        agent_names: of the classes of agents.
    """
    paths = _paths(arrays)
    low, high = _window(paths)
    size = 360.0
    x, y = Scale(low[0], high[0], 0, size), Scale(low[1], high[1], size, 0)
    parts = [element("rect", "", x=0, y=0, width=size, height=size, class_="ground")]
    parts += _rings(x, y, high[0] - low[0])
    colors = class_colors(agent_names)
    agents, boundaries = in_window(arrays)
    for (a, b), (c, d) in boundaries:
        parts.append(element("line", "", x1=x(a), y1=y(b), x2=x(c), y2=y(d), class_="kerb"))
    for n in agents:
        which = int(arrays["agent_labels"][n])
        parts.append(_agent(arrays["agents"][n], arrays["present"][n], agent_names[which], css(colors[which]), x, y))
    parts.append(_box(EGO, x, y, "ego", "the ego vehicle"))
    for name, path, kind in zip(("planned", "driven"), paths, ("plan", "way"), strict=True):
        line = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in path)
        dots = [
            mark("circle", f"{name}, {step / 2:g} s: {a:.1f} m to the right, {b:.1f} m ahead", cx=x(a), cy=y(b), r=3.5)
            for step, (a, b) in enumerate(path[1:].tolist(), start=1)
        ]
        parts.append(element("g", element("polyline", "", points=line), *dots, class_=f"path {kind}"))
    parts += _ring_names(x, y, high[0] - low[0])
    return svg(key, size, "Seen from above: planned path, driven path and surroundings.", *parts, width=size)


def in_window(arrays: Arrays) -> tuple[list[int], NDArray[np.float64]]:
    """Numbers of the agents that are or come into the picture of `drive`, and its road boundaries (S, 2, 2)."""
    if "agents" not in arrays:
        return [], np.zeros((0, 2, 2))
    low, high = _window(_paths(arrays))
    reach = arrays["agents"][..., 3:4] / 2  # half of a length around the centre
    inside = ((arrays["agents"][..., :2] >= low - reach) & (arrays["agents"][..., :2] <= high + reach)).all(-1)
    shown = inside[:, 0] | (inside & arrays["present"]).any(1)
    ends = arrays["boundaries"]
    near = ((ends.max(1) >= low) & (ends.min(1) <= high)).all(-1)
    return np.flatnonzero(shown).tolist(), ends[near]


def _paths(arrays: Arrays) -> list[NDArray[np.float64]]:
    """Planned and driven path from the place of the ego vehicle."""
    return [np.vstack((np.zeros((1, 2)), path)) for path in (arrays["plan"], arrays["way"][arrays["known"]])]


def _window(paths: Sequence[NDArray[np.float64]]) -> tuple[list[float], list[float]]:
    """Corners of a square that holds the paths with room around them, at least 24 m wide."""
    points = np.vstack(paths)
    low, high = points.min(0), points.max(0)
    half = max(12.0, float((high - low).max()) / 2 + 7)
    middle = (low + high) / 2
    return (middle - half).tolist(), (middle + half).tolist()


def _rings(x: Scale, y: Scale, width: float) -> list[str]:
    """Circles of equal distance from the ego vehicle."""
    pixels = abs(x(1.0) - x(0.0))
    return [element("circle", "", cx=x(0), cy=y(0), r=radius * pixels, class_="ring") for radius in _radii(width)]


def _ring_names(x: Scale, y: Scale, width: float) -> list[str]:
    places = [(radius, x(0) - radius * abs(x(1.0) - x(0.0))) for radius in _radii(width)]
    return [label(f"{radius} m", place + 3, y(0) - 4, "tick start over") for radius, place in places if place >= 0]


def _radii(width: float) -> range:
    step = 5 if width <= 40 else 10 if width <= 90 else 25
    return range(step, round(width) + 1, step)


def _agent(boxes: NDArray[np.float64], present: NDArray[np.bool_], name: str, color: str, x: Scale, y: Scale) -> str:
    """The footprint of an agent now, and its way."""
    places = " ".join(f"{x(float(box[0])):.1f},{y(float(box[1])):.1f}" for box in boxes[present])
    tip = f"{name}, {float(np.hypot(*boxes[0, :2])):.1f} m away"
    trail = element("polyline", "", points=places, class_="trail")
    return element("g", trail, _box(boxes[0], x, y, "agent", tip), style=f"--hue:{color}")


def _box(box: NDArray[np.float64], x: Scale, y: Scale, kind: str, tip: str) -> str:
    right, ahead, yaw, length, width = (float(value) for value in box)
    corners = []
    for along, across in ((1, 1), (1, -1), (-1, -1), (-1, 1)):
        a, b = along * length / 2, across * width / 2
        corners.append(
            f"{x(right + a * np.cos(yaw) - b * np.sin(yaw)):.1f},{y(ahead + a * np.sin(yaw) + b * np.cos(yaw)):.1f}"
        )
    return mark("polygon", tip, points=" ".join(corners), class_=kind)


def deviations(key: str, own: NDArray[np.float64], passes: NDArray[np.float64]) -> str:
    """Distance of the plan from the driven path over time.

    Args:
        key: id of the figure.
        own: (H,) metres, without dropout.
        passes: (K, H) metres, of stochastic passes.
    """
    height, left, bottom = 150.0, 40.0, 34.0
    places = ticks(0, float(max(own.max(), passes.max(initial=0))), 3)
    x, y = Scale(1, len(own), left + 10, WIDTH - 14), Scale(0, places[-1], height - bottom, 22)
    parts = [label("metres", 0, 12, "axis start"), label("seconds ahead", WIDTH / 2, height - 2, "axis middle")]
    for value in places:
        parts.append(element("line", "", x1=left, x2=WIDTH - 8, y1=y(value), y2=y(value), class_="grid"))
        parts.append(label(f"{value:g}", left - 6, y(value) + 4, "tick end"))
    for step in range(1, len(own) + 1):
        parts.append(label(f"{step / 2:g}", x(step), height - bottom + 15, "tick middle"))
    for values, kind in (*((one, "thin") for one in passes), (own, "line")):
        way = " ".join(f"{x(step):.1f},{y(float(value)):.1f}" for step, value in enumerate(values, start=1))
        parts.append(element("polyline", "", points=way, class_=kind))
    return element("div", svg(key, height, f"{len(passes)} stochastic passes.", *parts), class_="hue-0")
