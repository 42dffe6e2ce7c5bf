"""Users of a file: each once, in its order, and what names nobody is refused with the place."""

import polars as pl
import pytest

from ops.recommend.whom import named
from streams.errors import Refused


@pytest.fixture
def file(tmp_path):
    def make(name, content):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content)
        elif name.endswith(".csv"):
            content.write_csv(path)
        else:
            content.write_parquet(path)
        return path

    return make


def test_one_on_each_line(file):
    assert named(file("users.txt", "anna\nben\r\n\n  carl \nanna\n")) == ["anna", "ben", "carl"]


@pytest.mark.parametrize("name", ["users.csv", "users.parquet"])
def test_a_column_of_a_table(file, name):
    table = pl.DataFrame({"id": [3, 1, 3], "email": ["c@x", "a@x", "c@x"]})
    assert named(file(name, table), "id") == ["3", "1"]


@pytest.mark.parametrize(
    ("name", "content", "column", "says"),
    [
        ("users.txt", "", "", "users.txt names no user"),
        ("users.txt", "\n \n", "", "names no user"),
        ("users.txt", b"\xff\xfe\x00", "", "cannot be read"),
        ("users.txt", "x" * 257, "", "over 256 bytes"),
        ("users.txt", "é" * 129, "", "over 256 bytes"),
        ("users.txt", "anna", "id", "leave out --user"),
        ("users.csv", "id\n1\n", "", "--user COLUMN"),
        ("users.csv", "id\n1\n", "user", "no column 'user'; it has id"),
        ("users.csv", "id,x\n1,2\n,3\n", "id", "row 2 has no 'id'"),
        ("users.csv", "id\n", "id", "names no user"),
        ("users.parquet", b"PAR0", "id", "cannot be read"),
    ],
)
def test_what_names_nobody_is_refused(file, name, content, column, says):
    with pytest.raises(Refused) as refused:
        named(file(name, content), column)
    assert says in str(refused.value)
