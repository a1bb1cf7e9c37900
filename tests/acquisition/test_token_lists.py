"""Lists of tokens: what is read of text and tables, and what is refused with its line."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from al_lightning.acquisition.token_lists import read_tokens
from al_lightning.types import DataFileError


@pytest.mark.parametrize("text", ["token,rank\n a ,1\nb,2\n", "rank,unit\n1,a\n\n2,b,more\n", '\ufefftoken\n"a"\nb'])
def test_a_column_of_a_csv(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    assert read_tokens(tmp_path / "list.csv") == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rank,token\n1,a\n2\n", "line 3 of .*list.csv has no token"),
        ("token,rank\n a,1\n\n ,2\n", "line 4 of .*list.csv has no token"),
        ("name\na\n", "list.csv has no column token or unit"),
        ("", "list.csv has no column token or unit"),
        ("token\n", "list.csv holds no token"),
        ("token\na\n a\n", "1 tokens twice; the first: a"),
    ],
)
def test_a_csv_that_is_no_list(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataFileError, match=message):
        read_tokens(tmp_path / "list.csv")


def test_a_column_of_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "picks.parquet"
    pq.write_table(pa.table({"token": ["b", "a"], "rank": [1, 2]}), path)
    assert read_tokens(path) == ["b", "a"]
    pq.write_table(pa.table({"unit": ["b", None]}), path)
    with pytest.raises(DataFileError, match=r"row 2 of .*picks.parquet has no unit"):
        read_tokens(path)
    pq.write_table(pa.table({"rank": [1, 2]}), path)
    with pytest.raises(DataFileError, match="has no column token or unit"):
        read_tokens(path)
    path.write_text("token\na\n")
    with pytest.raises(DataFileError, match=r"cannot read the tokens of .*picks.parquet"):
        read_tokens(path)
