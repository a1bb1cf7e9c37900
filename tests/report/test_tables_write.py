import csv
import io

import pytest

from al_lightning.report.tables_write import Cell, Row, Table, comma_separated, latex, markdown

TABLE = Table(
    "name", "Title in %", ["a_b", "c"],
    [
        Row("x|y & z", [Cell("1.0 ± 0.1", {"mean": 1.0000001, "std": 0.1}, bold=True), Cell("")]),
        Row("Ours", [Cell("2.0", {"mean": 2.0}), Cell("3", {"mean": 3.0})], published=True),
    ],
    ["A note."],
)  # fmt: skip


def test_markdown() -> None:
    assert markdown(TABLE) == (
        "## Title in %\n\n|  | a_b | c |\n|---|---|---|\n| x\\|y & z | **1.0 ± 0.1** |  |\n"
        "| *Ours, published* | *2.0* | *3* |\n\nA note.\n"
    )


def test_csv_holds_the_numbers_in_full() -> None:
    rows = list(csv.DictReader(io.StringIO(comma_separated(TABLE))))
    assert rows[0] == {
        "row": "x|y & z", "published": "0", "a_b mean": "1.0000001", "a_b std": "0.1", "c mean": ""
    }  # fmt: skip
    assert rows[1] == {"row": "Ours", "published": "1", "a_b mean": "2.0", "a_b std": "", "c mean": "3.0"}


def test_latex_escapes_and_marks() -> None:
    text = latex(TABLE)
    assert r"\caption{Title in \%}" in text
    assert r" & a\_b & c \\" in text
    assert r"x|y \& z & \textbf{1.0 $\pm$ 0.1} &  \\" in text
    assert r"\textit{Ours, published} & \textit{2.0} & \textit{3} \\" in text
    assert text.count("{") == text.count("}")


def test_rows_fit_the_columns() -> None:
    with pytest.raises(ValueError, match="1 cells in row 'r' of 2"):
        Table("n", "t", ["a", "b"], [Row("r", [Cell("")])])
