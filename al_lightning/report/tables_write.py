"""Tables as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "$": r"\$", "{": r"\{", "}": r"\}",
         "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "≥": r"$\ge$"}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what Markdown and LaTeX show.
        values: name -> number, the columns that CSV makes of it; the name is appended to that of the column.
        bold: the best of its column.
    """

    text: str
    values: dict[str, float | str] = field(default_factory=dict)
    bold: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: what it is.
        cells: one a column.
        published: from the paper, not from runs.
    """

    name: str
    cells: Sequence[Cell]
    published: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: of its files.
        title: one line.
        columns: their heads, without that of the row names.
        rows: with as many cells each.
        notes: lines below it.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(f"{self.name}: {len(row.cells)} cells in row '{row.name}' of {len(self.columns)}")


def markdown(table: Table) -> str:
    """The table as Markdown, title and notes included; published rows are in italics."""
    lines = [f"## {table.title}", "", _line(["", *table.columns]), "|---" * (len(table.columns) + 1) + "|"]
    for row in table.rows:
        cells = [f"**{cell.text}**" if cell.bold else cell.text for cell in row.cells]
        if row.published:
            cells = [f"*{cell}*" if cell else "" for cell in cells]
        lines.append(_line([f"*{row.name}, published*" if row.published else row.name, *cells]))
    lines += [line for note in table.notes for line in ("", note)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def comma_separated(table: Table) -> str:
    """The table's numbers at full precision as CSV: ``row``, ``published``, and the values of each column."""
    heads = dict.fromkeys(
        _head(column, name)
        for row in table.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
        for name in cell.values
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, ["row", "published", *heads], lineterminator="\n")
    writer.writeheader()
    for row in table.rows:
        numbers = {
            _head(column, name): value
            for column, cell in zip(table.columns, row.cells, strict=True)
            for name, value in cell.values.items()
        }
        writer.writerow({"row": row.name, "published": int(row.published), **numbers})
    return text.getvalue()


def _head(column: str, name: str) -> str:
    return f"{column} {name}".strip()


def latex(table: Table) -> str:
    r"""The table for ``\input`` in a document that uses booktabs."""
    lines = [
        r"\begin{table}", r"\centering", rf"\caption{{{_tex(table.title)}}}", rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}", r"\toprule",
        " & ".join(["", *(_tex(column) for column in table.columns)]) + r" \\", r"\midrule",
    ]  # fmt: skip
    for row in table.rows:
        name = rf"\textit{{{_tex(row.name)}, published}}" if row.published else _tex(row.name)
        style = r"\textit" if row.published else r"\textbf"
        cells = [
            rf"{style}{{{_tex(cell.text)}}}" if (cell.bold or row.published) and cell.text else _tex(cell.text)
            for cell in row.cells
        ]
        lines.append(" & ".join([name, *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {_tex(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _tex(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in text)
