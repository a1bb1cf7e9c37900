"""HTML by plain functions: every text is escaped here, every child is HTML already."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

STYLE, SCRIPT = (Path(__file__).with_name(name) for name in ("report.css", "report.js"))
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Nothing is loaded from anywhere, whatever the page holds."""

NOTHING = "\N{EN DASH}"
"""Stands in the cells of a table that have no number."""

Attribute = str | float | bool | None


def text(value: object) -> str:
    """Text as HTML."""
    return escape(str(value), quote=True)


def element(tag: str, *children: str, **attributes: Attribute) -> str:
    """An element.

    Args:
        tag: its name.
        children: HTML.
        attributes: ``class_`` stands for ``class``, ``data_tip`` for ``data-tip``; None and False are left out, True
            has no value. Numbers are rounded to two digits behind the point.
    """
    words = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        key = name.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{_attribute(value)}"')
    head = " ".join(words)
    return f"<{head}>{''.join(children)}</{tag}>" if children or tag not in VOID else f"<{head}>"


VOID = ("img", "meta", "link", "br", "input")


def _attribute(value: str | float) -> str:
    if isinstance(value, str):
        return text(value)
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


# --- tables -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Datum:
    """A cell of a table.

    Attributes:
        shown: its text.
        value: what the column is sorted by; None: its text.
        style: class of the cell.
        shade: share of the accent in its background, -1 to 1 (of the opposite colour below 0).
        link: where it leads; None: nowhere.
    """

    shown: str
    value: float | None = None
    style: str | None = None
    shade: float = 0.0
    link: str | None = None


Cells = Sequence[Datum | str]
"""A row of a table."""


def quantity(value: float | None, digits: int = 3) -> Datum:
    """A number as a cell: ``digits`` significant ones; a dash where there is none."""
    return Datum(NOTHING if value is None else significant(value, digits), math.nan if value is None else value)


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, without an exponent unless it is tiny or huge."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    if places > 7 or places < -6:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(places, 0)}f}"


def table(label: str, heads: Sequence[str], rows: Sequence[Cells]) -> str:
    """A table that scrolls on its own; a click on a head sorts it. The first cell of a row is its head.

    Args:
        label: what a screen reader calls it.
        heads: of the columns.
        rows: with as many cells each.
    """
    top = "".join(element("th", element("button", text(head), type="button"), scope="col") for head in heads)
    body = "".join(element("tr", *(_cell(cell, first=i == 0) for i, cell in enumerate(row))) for row in rows)
    inner = element("table", element("thead", element("tr", top)), element("tbody", body), data_sortable=True)
    return element("div", inner, class_="scroll", tabindex=0, role="region", aria_label=label)


def _cell(cell: Datum | str, *, first: bool) -> str:
    datum = Datum(cell) if isinstance(cell, str) else cell
    value = None if datum.value is None or math.isnan(datum.value) else repr(float(datum.value))
    kinds = [datum.style or "", "number" if datum.value is not None else "", "shaded" if datum.shade else ""]
    style = f"--shade:{abs(datum.shade):.2f}" if datum.shade else None
    side = None if not datum.shade else "more" if datum.shade > 0 else "less"
    return element(
        "th" if first else "td",
        text(datum.shown) if datum.link is None else element("a", text(datum.shown), href=datum.link),
        scope="row" if first else None,
        class_=" ".join(filter(None, kinds)) or None,
        data_value=value,
        data_side=side,
        style=style,
    )


# --- parts of a page --------------------------------------------------------------------------------------------------


def figure(key: str, title: str, *body: str, note: str = "", numbers: str = "") -> str:
    """A figure with its title, a line on how to read it, and its numbers as a table to unfold.

    Args:
        key: id of the figure, unique in the page.
        title: plain text.
        body: HTML.
        note: plain text.
        numbers: HTML of the table; nothing to unfold without.
    """
    caption = element("figcaption", element("h3", text(title), id=f"{key}-title"), _note(note))
    return element("figure", caption, *body, folded("Numbers", numbers) if numbers else "", id=key)


def _note(note: str) -> str:
    return element("p", text(note), class_="note") if note else ""


def folded(summary: str, *body: str, open_: bool = False) -> str:
    """Something to unfold."""
    return element("details", element("summary", text(summary)), *body, open=open_)


def tabs(key: str, label: str, panels: Sequence[tuple[str, str]], chosen: int = -1) -> str:
    """Panels of which one is shown; without scripts all of them, one below the other.

    Args:
        key: prefix of ids, unique in the page.
        label: what is chosen.
        panels: name and HTML.
        chosen: position of the one shown first.
    """
    if len(panels) == 1:
        return panels[0][1]
    chosen %= len(panels)
    buttons = [
        element("button", text(name), type="button", role="tab", id=f"{key}-tab-{i}", aria_controls=f"{key}-panel-{i}",
                aria_selected="true" if i == chosen else "false", tabindex=0 if i == chosen else -1)
        for i, (name, _) in enumerate(panels)
    ]  # fmt: skip
    bodies = [
        element("div", body, role="tabpanel", id=f"{key}-panel-{i}", aria_labelledby=f"{key}-tab-{i}", class_="panel")
        for i, (_, body) in enumerate(panels)
    ]
    listing = element("div", *buttons, role="tablist", aria_label=label)
    return element("div", listing, *bodies, class_="tabs", data_tabs=True)


@dataclass(frozen=True)
class Section:
    """A part of a page that the navigation leads to.

    Attributes:
        key: id.
        title: plain text.
        body: HTML.
        lead: plain text below the title.
    """

    key: str
    title: str
    body: str
    lead: str = ""


def _section(part: Section) -> str:
    lead = element("p", text(part.lead), class_="lead") if part.lead else ""
    return element("section", element("h2", text(part.title)), lead, part.body, id=part.key)


def tiles(facts: Sequence[tuple[str, str, str]]) -> str:
    """The facts of a run at a glance: name, value, and what it is measured against."""
    return element(
        "dl",
        *(
            element("div", element("dt", text(name)), element("dd", text(value), element("small", text(remark))))
            for name, value, remark in facts
        ),
        class_="tiles",
    )


def page(title: str, lead: str, head: str, sections: Sequence[Section]) -> str:
    """A whole document that needs no other file.

    Args:
        title: plain text.
        lead: plain text below it.
        head: HTML before the sections.
        sections: in their order.
    """
    links = "".join(element("li", element("a", text(part.title), href=f"#{part.key}")) for part in sections)
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head>',
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", http_equiv="Content-Security-Policy", content=POLICY),
            element("meta", name="color-scheme", content="light dark"),
            element("link", rel="icon", href="data:,"),
            element("title", text(title)),
            f"<style>{STYLE.read_text(encoding='utf-8')}</style>",
            "</head><body>",
            element("a", "Skip to the content", href="#content", class_="skip"),
            element("header", element("h1", text(title)), element("p", text(lead), class_="lead"), head),
            element("nav", element("ul", links), aria_label="Sections"),
            element("main", *map(_section, sections), id="content", tabindex=-1),
            element("div", "", id="tip", role="status", hidden=True),
            f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>",
            "</body></html>\n",
        ]
    )
