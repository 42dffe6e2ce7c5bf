"""Frames: anyone's CSV or Parquet file of events, its columns checked and its times understood."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from streams.errors import Refused

UNITS = (("seconds", 1e11, 1e3), ("ms", 1e14, 1.0), ("us", 1e17, 1e-3))  # name, numbers below, in ms


def scan(file: Path) -> pl.LazyFrame:
    """Return a file's table, read when it is collected; raises Refused for another kind of file or a broken one."""
    try:
        if file.suffix == ".csv":
            table = pl.scan_csv(file, infer_schema_length=10_000)
        elif file.suffix == ".parquet":
            table = pl.scan_parquet(file)
        else:
            raise Refused(f"{file.name}: only .csv and .parquet files can be read")
        table.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Refused(f"{file.name} cannot be read: {cause(error)}") from None
    return table


def check(file: Path, schema: pl.Schema, names: Iterable[str]) -> None:
    """Raise Refused for a name that is no column of the file, naming those there are."""
    for name in names:
        if name not in schema:
            raise Refused(f"{file.name} has no column {name!r}; it has {', '.join(schema)}")


def millis(table: pl.LazyFrame, name: str) -> tuple[pl.Expr, str]:
    """Return a column as ms since 1970, and what it was taken for; raises Refused for what is no time.

    Numbers are seconds, ms or microseconds by their largest. A text that is no time fails when it is collected.
    """
    kind, column = table.collect_schema()[name], pl.col(name)
    if isinstance(kind, pl.Datetime):
        return column.dt.epoch("ms"), "datetime"
    if kind == pl.Date:
        return column.cast(pl.Datetime("ms")).dt.epoch("ms"), "date"
    if kind == pl.String:
        return column.str.to_datetime(time_unit="ms", time_zone="UTC").dt.epoch("ms"), "text"
    if not kind.is_numeric():
        raise Refused(
            f"column {name!r} of type {kind} is no time: give a datetime, or seconds or ms since 1970"
        )
    number = column.cast(pl.Float64).fill_nan(None)
    largest = table.select(number.max()).collect().item() or 0.0
    for unit, below, factor in UNITS:
        if largest < below:
            return (number * factor).round().cast(pl.Int64), unit
    raise Refused(
        f"column {name!r} holds {largest:g}, which is no time in seconds, ms or microseconds since 1970"
    )


def kind_of(schema: pl.Schema, kind: str) -> pl.Expr:
    """Return the event type of each row: of the column so named if it holds text, else the name itself.

    A column of numbers, as `rating` mostly is, cannot hold types.
    """
    if schema.get(kind) in (pl.String, pl.Categorical, pl.Enum):
        return pl.col(kind).cast(pl.String)
    return pl.lit(kind)


def cause(error: Exception) -> str:
    """Return the first line of what a library said."""
    return str(error).partition("\n")[0]
