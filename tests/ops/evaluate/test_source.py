"""Anyone's file becomes events in time order, with a count of what is wrong in it."""

import datetime as dt

import polars as pl
import pytest

from ops.evaluate.source import BATCH, Columns, opened
from streams.errors import Refused

SECONDS = 1_700_000_000
TABLE = {"user_id": ["a", "b", "a"], "item_id": [1, 2, 2], "timestamp": [SECONDS + 2, SECONDS, SECONDS + 1]}


@pytest.fixture(params=[".csv", ".parquet"])
def write(request, tmp_path):
    """Write a table as either kind of file."""

    def write(columns):
        file, table = tmp_path / f"shop{request.param}", pl.DataFrame(columns)
        table.write_csv(file) if request.param == ".csv" else table.write_parquet(file)
        return file

    return write


def read(file, **columns):
    with opened(file, Columns(**columns)) as source:
        return source, [(row.event.user_id, row.event.item_id, row.event.at) for row in source]


def test_events_come_in_time_order_with_columns_found_by_their_names(write):
    source, found = read(write(TABLE))
    ms = SECONDS * 1000
    assert found == [("b", "2", ms), ("a", "2", ms + 1000), ("a", "1", ms + 2000)]
    assert (source.rows, source.events, source.refused, source.time) == (3, 3, {}, "seconds")


@pytest.mark.parametrize(
    "names", [("userId", "movieId", "timestamp"), ("user", "item", "time"), ("USER", "SKU", "At")]
)
def test_usual_names_are_known(write, names):
    source, found = read(write(dict(zip(names, TABLE.values(), strict=True))))
    assert (source.columns.user, source.columns.item, source.columns.at) == names
    assert len(found) == 3


def test_rows_of_one_time_keep_their_order(write):
    many = 2 * BATCH // 1000
    users = [str(n) for n in range(many)]
    _, found = read(write({"user": users, "item": users, "at": [SECONDS] * (many - 1) + [SECONDS - 1]}))
    assert [user for user, _, _ in found] == [users[-1], *users[:-1]]


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ([SECONDS, SECONDS + 1], "seconds"),
        ([SECONDS + 0.25, SECONDS + 1.0], "seconds"),
        ([SECONDS * 1000, SECONDS * 1000 + 1], "ms"),
        ([SECONDS * 10**6, SECONDS * 10**6 + 1], "us"),
        (["2023-11-14 22:13:20", "2023-11-14 22:13:21"], "text"),
    ],
)
def test_times_are_recognised_and_said(write, at, said):
    source, found = read(write({"user": ["a", "b"], "item": ["x", "y"], "at": at}))
    assert source.time == said
    assert found[0][2] // 1000 == SECONDS


def test_datetimes_are_times(tmp_path):
    at = [dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)] * 2
    pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "at": at}).write_parquet(tmp_path / "shop.parquet")
    source, found = read(tmp_path / "shop.parquet")
    assert (source.time, found[0][2]) == ("datetime", SECONDS * 1000)


def test_rows_that_lack_something_are_counted_by_what(write):
    source, found = read(
        write(
            {
                "user": ["a", None, " ", "b", "c"],
                "item": ["x", "x", "x", None, "x"],
                "at": [SECONDS, SECONDS, SECONDS, None, SECONDS],
            }
        )
    )
    assert source.refused == {"no user": 2, "no item": 1, "no at": 1}
    assert [user for user, _, _ in found] == ["a", "c"]


def test_only_positive_rows_teach_unless_a_type_is_given(write):
    file = write({**TABLE, "rating": [5, 4, 2]})
    source, found = read(file, positive="rating >= 4")
    assert (source.left_out, [user for user, _, _ in found]) == (1, ["b", "a"])
    with opened(file, Columns(positive="rating >= 4", kind="rating", value="rating")) as source:
        rows = [(row.event.type, row.event.value, row.wanted) for row in source]
    assert (source.left_out, rows) == (
        0,
        [("rating", 4.0, True), ("rating", 2.0, False), ("rating", 5.0, True)],
    )


def test_categories_are_parted_by_bars(write):
    with opened(write({**TABLE, "genre": ["Drama|War", "", None]}), Columns(category="genre")) as source:
        assert [row.event.categories for row in source] == [(), (), ("Drama", "War")]


def test_categories_may_be_lists(tmp_path):
    file = tmp_path / "shop.parquet"
    pl.DataFrame({**TABLE, "genres": [["Drama", ""], [], [str(n) for n in range(20)]]}).write_parquet(file)
    with opened(file, Columns(category="genres")) as source:
        assert [len(row.event.categories) for row in source] == [0, 8, 1]


@pytest.mark.parametrize(
    ("columns", "said", "reason"),
    [
        ({**TABLE, "user_id": ["a"] * 3}, {}, "shop.* has a single user: there is nobody to learn from"),
        ({**TABLE, "user_id": [None] * 3}, {}, "has no event to learn from: 3 rows, 3 with no user"),
        ({**TABLE, "stars": [1, 2, 3]}, {"positive": "stars > 3"}, "3 rows, 3 that are not stars > 3"),
        ({"who": ["a"], "what": ["x"]}, {}, "which column is the --user.* It has who, what"),
        (TABLE, {"user": "who"}, "no column 'who'; it has user_id, item_id, timestamp"),
        (TABLE, {"value": "stars"}, "no column 'stars'; it has user_id, item_id, timestamp"),
        (TABLE, {"category": "genre"}, "no column 'genre'"),
        ({**TABLE, "timestamp": ["soon"] * 3}, {}, "shop.* has a value that cannot be read"),
        ({**TABLE, "timestamp": [1e30] * 3}, {}, "'timestamp' holds 1e[+]30, which is no time"),
        ({**TABLE, "timestamp": [True] * 3}, {}, "'timestamp' of type Boolean is no time"),
        ({**TABLE, "stars": ["many"] * 3}, {"value": "stars"}, "shop.* has a value that cannot be read"),
    ],
)
def test_a_file_without_what_it_takes_is_refused(tmp_path, columns, said, reason):
    pl.DataFrame(columns).write_parquet(tmp_path / "shop.parquet")
    with pytest.raises(Refused, match=reason):
        read(tmp_path / "shop.parquet", **said)


def test_an_empty_file_is_refused(tmp_path):
    pl.DataFrame(TABLE).clear().write_parquet(tmp_path / "shop.parquet")
    with pytest.raises(Refused, match="has no event to learn from: 0 rows"):
        read(tmp_path / "shop.parquet")


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "shop.xls").write_bytes(b"")
    with pytest.raises(Refused, match=r"only .csv and .parquet"):
        read(tmp_path / "shop.xls")
