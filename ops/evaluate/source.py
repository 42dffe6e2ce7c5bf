"""Source: the events of a file in time order, read batch by batch, and what was wrong with the others."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ops.evaluate.positive import positive as condition
from ops.frames import cause, check, kind_of, millis, scan
from streams.errors import Refused
from streams.events import MAX_CATEGORIES, Event

BATCH = 50_000  # rows in memory at once
USERS = ("user_id", "user", "userid", "visitor_id", "customer_id")
ITEMS = ("item_id", "item", "itemid", "movie_id", "movieid", "product_id", "sku")
TIMES = ("timestamp", "at", "time", "datetime", "date", "ts")
CLICK = "click"


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column says what; empty names of `user`, `item` and `at` are guessed, others are not there.

    `kind` names a column, or is the type of all rows. `positive` says which rows are predicted; rows it leaves out
    teach only when a `kind` is given.
    """

    user: str = ""
    item: str = ""
    at: str = ""
    kind: str = ""
    value: str = ""
    category: str = ""
    positive: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """An event with its number in time order, and whether it is one to predict."""

    number: int
    event: Event
    wanted: bool


def row_of(
    number: int, user: str, item: str, at: int, kind: str, value: float | None,
    categories: Sequence[str] | None, wanted: bool,
) -> Row:  # fmt: skip
    """Return the row of these values of our own Parquet file."""
    event = Event(
        event_id=str(number),
        type=kind,
        at=at,
        user_id=user,
        item_id=item,
        value=value,
        categories=tuple(categories or ()),
    )
    return Row(number, event, wanted)


@dataclass(frozen=True)
class Source:
    """A file's events in a Parquet file of our own, and what is to be said of them.

    `refused` counts rows by what they lack, `left_out` those that --positive left out; `time` says what times were
    taken for.
    """

    path: Path
    rows: int
    events: int
    refused: dict[str, int]
    left_out: int
    time: str
    columns: Columns

    def __iter__(self) -> Iterator[Row]:
        table = pl.scan_parquet(self.path)
        for start in range(0, self.events, BATCH):
            batch = table.slice(start, BATCH).collect().iter_rows()
            for number, values in enumerate(batch, start):
                yield row_of(number, *values)


@contextlib.contextmanager
def opened(file: Path, columns: Columns) -> Iterator[Source]:
    """Give the source of a file within the block; rows of the same time keep their order.

    Raises Refused, naming what the file lacks.
    """
    table = scan(file)
    columns = guessed(file, table.collect_schema(), columns)
    with tempfile.TemporaryDirectory(prefix="refold-evaluate-") as folder:
        try:
            yield _prepared(file, table, columns, Path(folder))
        except pl.exceptions.PolarsError as error:
            raise Refused(f"{file.name} has a value that cannot be read: {cause(error)}") from None


def guessed(file: Path, schema: pl.Schema, columns: Columns) -> Columns:
    """Return the columns with user, item and time found by their usual names; raises Refused for what is not there."""
    said = [name for name in (columns.value, columns.category) if name]
    found = {}
    for field, usual in (("user", USERS), ("item", ITEMS), ("at", TIMES)):
        name = getattr(columns, field)
        if not name:
            known = {column.lower(): column for column in schema}
            name = next((known[each] for each in usual if each in known), "")
        if not name:
            raise Refused(f"{file.name}: which column is the --{field}? It has {', '.join(schema)}")
        found[field] = name
    check(file, schema, [*found.values(), *said])
    return Columns(**found, kind=columns.kind, value=columns.value, category=columns.category,
                   positive=columns.positive)  # fmt: skip


def _prepared(file: Path, table: pl.LazyFrame, columns: Columns, folder: Path) -> Source:
    schema = table.collect_schema()
    at, time = millis(table, columns.at)
    wanted = condition(columns.positive, schema) if columns.positive else pl.lit(value=True)
    raw, ordered = folder / "raw.parquet", folder / "ordered.parquet"
    table.select(
        *(_id(name).alias(as_) for name, as_ in ((columns.user, "user"), (columns.item, "item"))),
        at.alias("at"),
        kind_of(schema, columns.kind or CLICK).alias("kind"),
        (pl.col(columns.value).cast(pl.Float64) if columns.value else pl.lit(None, pl.Float64)).alias(
            "value"
        ),
        _categories(schema, columns.category).alias("categories"),
        wanted.alias("wanted"),
    ).sink_parquet(raw)
    lacking = {f"no {name}": pl.col(name).is_null() for name in ("user", "item", "at")}
    teaches = pl.lit(value=True) if columns.kind else pl.col("wanted")
    whole = pl.all_horizontal(*(~lack for lack in lacking.values()))
    counted = (
        pl.scan_parquet(raw)
        .select(
            pl.len().alias("rows"),
            *(lack.sum().alias(name) for name, lack in lacking.items()),
            (whole & ~teaches).sum().alias("left out"),
            (whole & teaches).sum().alias("events"),
            pl.col("user").filter(whole & teaches).n_unique().alias("users"),
        )
        .collect()
        .row(0, named=True)
    )
    refused = {name: counted[name] for name in lacking if counted[name]}
    if not counted["events"]:
        lacks = "".join(f", {number} with {name}" for name, number in refused.items())
        lacks += f", {counted['left out']} that are not {columns.positive}" if columns.positive else ""
        raise Refused(f"{file.name} has no event to learn from: {counted['rows']} rows{lacks}")
    if counted["users"] == 1:
        raise Refused(f"{file.name} has a single user: there is nobody to learn from")
    pl.scan_parquet(raw).filter(whole & teaches).sort("at", maintain_order=True).sink_parquet(ordered)
    raw.unlink()
    return Source(ordered, counted["rows"], counted["events"], refused, counted["left out"], time, columns)


def _id(name: str) -> pl.Expr:
    text = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def _categories(schema: pl.Schema, name: str) -> pl.Expr:
    if not name:
        return pl.lit(None, pl.List(pl.String))
    if isinstance(schema[name], pl.List):
        parts = pl.col(name).cast(pl.List(pl.String))
    else:
        parts = pl.col(name).cast(pl.String).str.split("|")
    return parts.list.eval(pl.element().filter(pl.element() != "")).list.head(MAX_CATEGORIES)
