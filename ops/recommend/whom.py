"""Whom: the users that lists are made for, as a file names them."""

from pathlib import Path

import polars as pl

from ops import frames
from streams.checks import MAX_ID_BYTES
from streams.errors import Refused

TABLES = (".csv", ".parquet")


def named(file: Path, column: str = "") -> list[str]:
    """Return the users of a file, each once, in its order; raises Refused.

    A CSV or Parquet file names them in a column, any other one on each line; blank lines are none.
    """
    table = file.suffix in TABLES
    if table and not column:
        raise Refused(f"{file.name} is a table: name the column of the user ids, --user COLUMN")
    if column and not table:
        raise Refused(f"{file.name} has no columns: leave out --user, or give a .csv or .parquet file")
    ids = _of_table(file, column) if table else _of_lines(file)
    for user in ids:
        if len(user.encode()) > MAX_ID_BYTES:
            raise Refused(f"{file.name}: user id {user[:40]!r}... is over {MAX_ID_BYTES} bytes")
    if not ids:
        raise Refused(f"{file.name} names no user")
    return list(dict.fromkeys(ids))


def _of_table(file: Path, column: str) -> list[str]:
    table = frames.scan(file)
    frames.check(file, table.collect_schema(), [column])
    try:
        found = table.select(pl.col(column).cast(pl.String)).collect()[column]
    except pl.exceptions.PolarsError as error:
        raise Refused(f"{file.name} cannot be read: {frames.cause(error)}") from None
    for row, user in enumerate(found, 1):
        if not user:
            raise Refused(f"{file.name}: row {row} has no {column!r}")
    return found.to_list()


def _of_lines(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file.name} cannot be read: {error}") from None
    return [line.strip() for line in lines if line.strip()]
