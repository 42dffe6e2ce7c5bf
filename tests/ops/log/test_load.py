"""Anyone's file becomes events in time order, or one line says what is wrong with it."""

import datetime as dt
import time

import polars as pl
import pytest

from ops.broker import embedded
from ops.broker.topics import create
from ops.log.load import frame, load_file, rows
from streams import events
from streams.errors import Refused
from streams.partition import partition_of
from streams.read import records
from streams.settings import Settings

SECONDS = 1_700_000_000
MS = SECONDS * 1000
COLUMNS = {"user": "who", "item": "what", "at": "when"}


def table(when, **more):
    return pl.DataFrame({"who": ["a", "b"], "what": [1, 2], "when": when, **more})


@pytest.fixture(params=[".csv", ".parquet"])
def write(request, tmp_path):
    """Write a table as either kind of file."""

    def write(table):
        file = tmp_path / f"shop{request.param}"
        table.write_csv(file) if request.param == ".csv" else table.write_parquet(file)
        return file

    return write


@pytest.mark.parametrize(
    "when",
    [
        [SECONDS + 1, SECONDS],
        [SECONDS + 1.0, float(SECONDS)],
        [MS + 1000, MS],
        [dt.datetime(2023, 11, 14, 22, 13, 21), dt.datetime(2023, 11, 14, 22, 13, 20)],  # noqa: DTZ001
        ["2023-11-14 22:13:21", "2023-11-14 22:13:20"],
        ["2023-11-14T22:13:21Z", "2023-11-14T22:13:20Z"],
    ],
    ids=["seconds", "fractions of seconds", "ms", "datetime", "text", "text with its zone"],
)
def test_times_are_read_in_every_form_and_put_in_order(write, when):
    found = frame(write(table(when)), **COLUMNS)
    assert found["at"].to_list() == [MS, MS + 1000]
    assert [(e.event_id, e.user_id, e.item_id, e.type) for e in rows(found, "shop")] == [
        ("shop-1", "b", "2", "click"),
        ("shop-0", "a", "1", "click"),
    ]


def test_days_are_times(tmp_path):
    days = [dt.date(2023, 11, 15), dt.date(2023, 11, 14)]
    table(days).write_parquet(tmp_path / "shop.parquet")
    assert frame(tmp_path / "shop.parquet", **COLUMNS)["at"].to_list() == [
        1_699_920_000_000,
        1_700_006_400_000,
    ]


def test_type_value_and_category_come_from_columns(write):
    file = write(table([MS, MS], kind=["view", "rating"], stars=[None, 4.5], shelf=["x", None], row=[7, 8]))
    found = frame(file, **COLUMNS, kind="kind", value="stars", category="shelf")
    assert [(e.type, e.value, e.categories) for e in rows(found, "s")] == [
        ("view", None, ("x",)),
        ("rating", 4.5, ()),
    ]


def test_a_type_that_is_no_column_is_that_of_every_event(write):
    assert {e.type for e in rows(frame(write(table([MS, MS])), **COLUMNS, kind="purchase"), "s")} == {
        "purchase"
    }


def test_a_column_of_numbers_holds_no_types(write):
    found = frame(write(table([MS, MS], rating=[4, 5])), **COLUMNS, kind="rating", value="rating")
    assert [(e.type, e.value) for e in rows(found, "s")] == [("rating", 4.0), ("rating", 5.0)]


def test_rows_without_user_item_or_time_are_left_out(write):
    assert len(frame(write(table([MS, None])), **COLUMNS)) == 1


def test_times_can_be_moved_so_that_the_last_is_now(write):
    before = int(time.time() * 1000)
    first, last = frame(write(table([MS, MS + 500])), **COLUMNS, shift=True)["at"]
    assert last - first == 500
    assert before <= last <= int(time.time() * 1000)


def test_a_missing_column_is_named(write):
    with pytest.raises(Refused, match=r"shop.* has no column 'stars'; it has who, what, when"):
        frame(write(table([MS, MS])), **COLUMNS, value="stars")


@pytest.mark.parametrize(
    ("when", "reason"),
    [(["soon", "later"], "cannot be read"), ([True, False], "column 'when' of type Boolean is no time")],
)
def test_a_time_that_is_none_is_refused(tmp_path, when, reason):
    table(when).write_parquet(tmp_path / "shop.parquet")
    with pytest.raises(Refused, match=reason):
        frame(tmp_path / "shop.parquet", **COLUMNS)


def test_a_value_that_is_no_number_is_refused(write):
    with pytest.raises(Refused, match="cannot be read"):
        frame(write(table([MS, MS], stars=["many", "few"])), **COLUMNS, value="stars")


@pytest.mark.parametrize(
    ("name", "reason"), [("shop.xls", "only .csv and .parquet"), ("shop.csv", "cannot be read")]
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, reason):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(Refused, match=reason):
        frame(tmp_path / name, **COLUMNS)


def test_good_rows_reach_the_log_and_bad_ones_are_counted_with_the_first_reason(tmp_path):
    said = pl.DataFrame(
        {
            "who": ["a", "b", "u" * 300, "c", "d"],
            "what": ["i"] * 5,
            "when": [MS, MS + 1, MS + 2, MS + 3, MS + 10**12],
            "kind": ["click", None, "click", "view", "click"],
        }
    )
    said.write_parquet(tmp_path / "shop.parquet")
    with embedded.running(tmp_path) as bootstrap:
        settings = Settings(kafka=bootstrap, kafka_idempotence=False, partitions=2)
        create(settings)
        done = load_file(settings, tmp_path / "shop.parquet", **COLUMNS, kind="kind")
        found = {
            (event.user, event.type): record.partition
            for record in records(settings, "events", quiet_ms=500)
            for event in events.decode(record.value, record.timestamp)
        }
    assert (done["events"], done["refused"]) == (2, 3)
    assert "type" in done["reason"]
    assert found == {("a", "click"): partition_of("a", 2), ("c", "view"): partition_of("c", 2)}
