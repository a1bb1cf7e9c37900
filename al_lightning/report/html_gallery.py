"""The gallery of a cycle: a list of units, and of each its pictures and why it was selected or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_lightning.report.evidence import Arrays, Cycle, Exhibit, Gallery, selection_name
from al_lightning.report.html_colors import Color, class_colors, css
from al_lightning.report.html_drives import deviations, drive, in_window
from al_lightning.report.html_elements import Cells, Datum, element, quantity, significant, table, text
from al_lightning.report.html_pictures import class_map, from_above, heat_map, montage
from al_lightning.report.reasons import Case, reason
from al_lightning.types import IGNORE

KINDS = {
    "selected": ("selected", "Selected"),
    "runner-up": ("rejected", "Not selected: among the best of the rest"),
    "lowest": ("rejected", "Not selected: among the lowest scores"),
}
UNLABELED = "Not labeled: its truth is unknown to the run, and is not shown."


@dataclass(frozen=True)
class Hall:
    """What the exhibits of a cycle share.

    Attributes:
        cycle: that selected.
        units: ids of all units.
        names: of the classes.
        colors: of the classes.
        free: the class of empty voxels, None if there is none.
        criteria: name -> criterion, for the reasons.
        peak: largest uncertainty of a column of voxels.
    """

    cycle: Cycle
    units: Sequence[str]
    names: Sequence[str]
    colors: Sequence[Color]
    free: int | None
    criteria: Mapping[str, Any]
    peak: float


def gallery(
    cycle: Cycle, kept: Gallery, units: Sequence[str], class_names: Sequence[str], criteria: Mapping[str, Any]
) -> str:
    """The units of a cycle's gallery; arrow keys lead from one to the next.

    Args:
        cycle: that selected.
        kept: its gallery.
        units: ids of all units.
        class_names: of the classes of the summaries; the gallery's own come first.
        criteria: name -> criterion, for the reasons.
    """
    names = list(kept.class_names or class_names)
    names += [f"class {k}" for k in range(len(names), IGNORE)]
    maps = [exhibit.arrays["uncertainty_map"] for exhibit in kept.exhibits if "uncertainty_map" in exhibit.arrays]
    peak = max((float(values.max()) for values in maps), default=1.0)
    hall = Hall(cycle, units, names, class_colors(names), kept.free_class, criteria, peak)
    key = f"gallery-{cycle.number}"
    chips = [_chip(f"{key}-{i}", cycle, exhibit, chosen=i == 0) for i, exhibit in enumerate(kept.exhibits)]
    articles = [_exhibit(f"{key}-{i}", hall, exhibit) for i, exhibit in enumerate(kept.exhibits)]
    listing = element(
        "ol", *chips, class_="chips", aria_label=f"Units shown of the selection {selection_name(cycle.number)}"
    )
    return element("div", listing, *articles, class_="gallery", data_gallery=True)


def _chip(key: str, cycle: Cycle, exhibit: Exhibit, *, chosen: bool) -> str:
    """The button that shows a unit."""
    score = float(cycle.scores["score"][cycle.position[exhibit.unit]])
    what = f"pick {list(cycle.picks).index(exhibit.unit) + 1}" if exhibit.unit in cycle.picks else exhibit.kind
    button = element(
        "button",
        element("span", text(exhibit.name), class_="id"),
        element("small", text(f"{what} · {significant(score)}")),
        type="button",
        aria_controls=key,
        data_show=key,
        class_=KINDS[exhibit.kind][0],
        aria_current="true" if chosen else None,
        tabindex=0 if chosen else -1,
    )
    return element("li", button)


def _exhibit(key: str, hall: Hall, exhibit: Exhibit) -> str:
    kind, words = KINDS[exhibit.kind]
    picks = list(hall.cycle.picks)
    if exhibit.unit in picks:
        words = f"{words}: pick {picks.index(exhibit.unit) + 1} of {len(picks)}"
    frame = f", keyframe {exhibit.keyframe + 1} of {exhibit.keyframes}" if exhibit.keyframes > 1 else ""
    badge = element("p", text(words + frame), class_=f"badge {kind}")
    head = element("header", element("h4", text(exhibit.name)), badge)
    seen = element("div", _cameras(key, exhibit), *_maps(key, hall, exhibit))
    why = element("div", element("h5", "Why"), _reasons(key, hall, exhibit), _around(key, hall, exhibit))
    spoken = f"{exhibit.name}: {words}"
    return element("article", head, seen, why, id=key, class_="exhibit", tabindex=-1, aria_label=spoken)


# --- pictures ---------------------------------------------------------------------------------------------------------


def _cameras(key: str, exhibit: Exhibit) -> str:
    if "montage" not in exhibit.arrays:
        return element("p", "No camera pictures were kept of this unit.", class_="absent")
    caption = " · ".join(camera.removeprefix("CAM_").replace("_", " ").lower() for camera in exhibit.cameras)
    return small_figure(f"{key}-cameras", "Cameras", montage(exhibit.arrays, exhibit.cameras), caption)


def _maps(key: str, hall: Hall, exhibit: Exhibit) -> list[str]:
    """What is seen from above; nothing of a unit of which only pictures were kept."""
    maps = []
    if "predicted_classes" in exhibit.arrays:
        maps.append(_voxels(key, hall, exhibit.arrays))
    if "plan" in exhibit.arrays:
        maps.append(_drive(key, hall, exhibit.arrays))
    return maps


def small_figure(key: str, title: str, picture: str, note: str = "") -> str:
    """A picture with its title and a line on it, as there are several of a unit."""
    remark = element("p", text(note)) if note else ""
    return element(
        "figure", element("figcaption", element("h5", text(title), id=f"{key}-title"), remark), picture, id=key
    )


def _absent(key: str, title: str) -> str:
    return small_figure(key, title, element("p", UNLABELED, class_="absent"))


def _voxels(key: str, hall: Hall, arrays: Arrays) -> str:
    (low_x, low_y), (high_x, high_y) = arrays["bounds"].tolist()
    predicted = from_above(arrays["predicted_classes"], hall.free)
    picture = class_map(predicted, hall.colors, "Predicted classes from above")
    extent = f"{high_x - low_x:.0f} m x {high_y - low_y:.0f} m, forward is up"
    maps, seen = [small_figure(f"{key}-prediction", "Prediction", picture, extent)], [predicted]
    if "true_classes" in arrays:
        seen.append(from_above(arrays["true_classes"], hall.free))
        picture = class_map(seen[-1], hall.colors, "True classes from above")
        maps.append(small_figure(f"{key}-truth", "Truth", picture, "acquired with it"))
    else:
        maps.append(_absent(f"{key}-truth", "Truth"))
    values = arrays["uncertainty_map"].astype(np.float64)
    note = f"frequency-weighted, sums up to {significant(float(values.sum()))} nats"
    picture = heat_map(values, hall.peak, "Uncertainty from above")
    maps.append(small_figure(f"{key}-uncertainty", "Uncertainty", picture, note))
    scale = f"uncertainty of a column, 0 to {significant(hall.peak)}"
    entries = [*_swatches(hall, np.concatenate([top.flatten() for top in seen])), swatch(scale, "heat")]
    return element("div", *maps, class_="birds") + element("ul", *entries, class_="legend")


def _drive(key: str, hall: Hall, arrays: Arrays) -> str:
    known, gap = arrays["known"], np.hypot(*(arrays["plan"] - arrays["way"]).T)
    seconds = {step: (step + 1) / 2 for step in (1, 3, 5) if step < len(gap) and known[step]}
    note = ", ".join(f"{gap[step]:.2f} m after {time:g} s" for step, time in seconds.items())
    picture = drive(f"{key}-path", arrays, hall.names)
    path = small_figure(f"{key}-path", "Planned and driven path", picture, f"apart by {note}" if note else "")
    agents, boundaries = in_window(arrays)
    lines = [swatch("planned", "path plan"), swatch("driven", "path way")]
    lines += [swatch("road boundary", "kerb")] if len(boundaries) else []
    classes = _swatches(hall, arrays["agent_labels"][agents]) if agents else []
    return path + element("ul", *lines, *classes, class_="legend")


def swatch(what: str, kind: str = "", color: str | None = None) -> str:
    """An entry of a legend."""
    style = None if color is None else f"background:{color}"
    return element("li", element("span", "", class_=f"swatch {kind}".strip(), style=style), text(what))


def _swatches(hall: Hall, classes: NDArray[Any]) -> list[str]:
    """The legend of the classes that there are."""
    present = [k for k in np.unique(classes).tolist() if k != IGNORE]
    return [swatch(hall.names[k], color=css(hall.colors[k])) for k in present]


def _around(key: str, hall: Hall, exhibit: Exhibit) -> str:
    """Agents by distance, and what the plan costs, as labels tell; nothing of another task."""
    arrays = exhibit.arrays
    if "plan" not in arrays:
        return ""
    if "agents" not in arrays:
        return _absent(f"{key}-around", "Agents")
    near = np.hypot(*arrays["agents"][:, 0, :2].T)
    rows: list[Cells] = [
        [hall.names[int(arrays["agent_labels"][i])], Datum(f"{near[i]:.1f} m", float(near[i]))]
        for i in np.argsort(near, kind="stable")
    ]
    listing = table("Agents by distance", ["Agent", "Distance"], rows)
    cost = ", ".join(f"{value:.2f}" for value in arrays["safety"].tolist())
    body = listing if rows else element("p", "There is none.", class_="absent")
    return small_figure(f"{key}-around", "Agents", body, f"soft collision cost of the planned steps: {cost}")


# --- reasons ----------------------------------------------------------------------------------------------------------


def _reasons(key: str, hall: Hall, exhibit: Exhibit) -> str:
    cycle = hall.cycle
    position = cycle.position[exhibit.unit]
    rows: list[Cells] = []
    sentences = []
    for name in ("score", *cycle.criteria):
        scores = cycle.scores[name].astype(np.float64)
        own = float(scores[position])
        normalized = cycle.scores.get(f"{name}_normalized")
        share = None if normalized is None else float(normalized[position])
        rows.append([name, quantity(own), quantity(share), _rank(cycle, exhibit, scores, own)])
        if name in hall.criteria:
            words = reason(hall.criteria[name], Case(cycle, exhibit, hall.units, hall.names, own, scores))
            sentences.append(element("li", element("b", text(name)), " ", text(words)) if words else "")
    listing = element("ul", *sentences, class_="reasons") if any(sentences) else ""
    numbers = table(f"Scores of {exhibit.name}", ["", "raw", "normalized", "left with more"], rows)
    return listing + numbers + _windows(key, cycle, exhibit)


def _rank(cycle: Cycle, exhibit: Exhibit, scores: NDArray[np.float64], own: float) -> Datum:
    """How many of those left behind have a larger value: only they were all scored at one moment, at the last pick."""
    left = scores[~np.isin(cycle.candidates, [*cycle.picks, exhibit.unit])]
    larger = int((left > own).sum())
    return Datum(f"{larger} of {len(left)}", larger)


def _windows(key: str, cycle: Cycle, exhibit: Exhibit) -> str:
    """Deviations of the plan from the driven way, and those of the stochastic passes."""
    if "error_window" not in cycle.fields:
        return ""
    own = np.hypot(*cycle.fields["error_window"][exhibit.unit].T)
    samples = cycle.fields.get("error_window_samples", np.zeros((len(cycle.fields["error_window"]), 0, len(own), 2)))
    passes = np.hypot(*np.moveaxis(samples[exhibit.unit], -1, 0))
    return small_figure(f"{key}-errors", "Deviation from the driven path", deviations(f"{key}-errors", own, passes),
                  "thick without dropout, thin each stochastic pass, at its own worst moment")  # fmt: skip


def absent(cycles: Sequence[int]) -> str:
    """What to say of cycles without a gallery."""
    which = ", ".join(selection_name(k) for k in cycles)
    why = "labels are awaited, the run is old, or it was told to keep none"
    return element("p", text(f"No gallery was kept of the selection {which}: {why}."), class_="absent")
