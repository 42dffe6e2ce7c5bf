"""Load anyone's events from a CSV or Parquet file into the log, in time order."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.progress import track

from ops.frames import cause, check, kind_of, millis, scan
from streams.errors import Refused
from streams.events import Event, decode, encode
from streams.settings import Settings
from streams.write import EventWriter, producer

CHUNK = 2_000
ROW = "refold row"  # a file may well have a column "row"


def load_file(settings: Settings, file: Path, **columns: Any) -> dict[str, Any]:
    """Write the events of a file; return how many were sent and refused, with the first reason.

    Arguments are those of `frame`. Event ids are made of the file's name and the row, so that loading the same
    file twice counts its last events once only (a user's 64 most recent ids are remembered).
    """
    table = frame(file, **columns)
    sent, refused, reason = 0, 0, ""
    now = int(time.time() * 1000)
    with producer(settings) as to:
        writer = EventWriter(settings, to)
        chunks = range(0, len(table), CHUNK)
        for start in track(chunks, description=f"loading {file.name}", console=Console(stderr=True)):
            for event in rows(table[start : start + CHUNK], file.stem):
                try:
                    # through the wire: one event that breaks its types would have its whole batch refused
                    writer.write(decode(encode([event]), now))
                except Refused as error:
                    refused += 1
                    reason = reason or str(error)
        writer.finish()
        sent = writer.sent
    return {"events": sent, "records": writer.records, "refused": refused, "reason": reason}


def frame(
    file: Path,
    *,
    user: str,
    item: str,
    at: str,
    kind: str = "click",
    value: str = "",
    category: str = "",
    shift: bool = False,
) -> pl.DataFrame:
    """Return the file's events as columns row, user, item, at (ms), type, value, category, in time order.

    `kind` names a column of text, or else is the type of every event. Raises Refused, naming what the file lacks.
    """
    table = scan(file)
    schema = table.collect_schema()
    check(file, schema, filter(None, (user, item, at, value, category)))
    try:
        lazy = table.with_row_index(ROW).select(
            pl.col(ROW).alias("row"),
            pl.col(user).cast(pl.String).alias("user"),
            pl.col(item).cast(pl.String).alias("item"),
            millis(table, at)[0].alias("at"),
            kind_of(schema, kind).alias("type"),
            (pl.col(value).cast(pl.Float64) if value else pl.lit(None, dtype=pl.Float64)).alias("value"),
            (pl.col(category).cast(pl.String) if category else pl.lit(None, dtype=pl.String)).alias(
                "category"
            ),
        )
        chosen = lazy.drop_nulls(["user", "item", "at"]).sort("at", maintain_order=True).collect()
    except pl.exceptions.PolarsError as error:
        raise Refused(f"{file.name} has a value that cannot be read: {cause(error)}") from None
    if shift and len(chosen):
        chosen = chosen.with_columns(pl.col("at") + (int(time.time() * 1000) - chosen["at"][-1]))
    return chosen


def rows(table: pl.DataFrame, stem: str) -> Iterator[Event]:
    """Yield the events of such columns."""
    for row, user, item, at, kind, value, category in table.iter_rows():
        yield Event(
            event_id=f"{stem}-{row}",
            type=kind,
            at=at,
            user_id=user,
            item_id=item,
            value=value,
            categories=(category,) if category else (),
        )
