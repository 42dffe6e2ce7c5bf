"""Lists in bulk: the file holds what was ranked and logged, whole or not at all."""

import asyncio

import polars as pl
import pytest

from api.answers import Request
from api.fake import Fake
from models.surfaces import load
from ops.past.engine import engine_of
from ops.recommend import lists
from streams.errors import Refused
from streams.events import Event
from streams.items import Item

NOW = 1_750_000_000_000


def scene(items=30):
    fake = Fake.of([], {f"i{n}": Item(categories=(f"k{n % 3}",)) for n in range(items)}, NOW, dimensions=16)
    fake.fold(
        Event(event_id=f"e{n}", type="click", at=NOW - 1000 + n, user_id=f"u{n % 4}", item_id=f"i{n % 7}")
        for n in range(20 if items else 0)
    )
    fake.refresh(NOW)
    return engine_of(fake.state, load())


def make(engine, users, out, log=None):
    told, steps = [], []

    async def remember(answers):
        told.extend(answers)

    out.parent.joinpath("parts").mkdir()
    made = asyncio.run(
        lists.write(
            engine, users, Request(at=0, n=5, surface="email"), out, out.parent / "parts", lambda: NOW,
            log or remember, steps.append,
        )
    )  # fmt: skip
    return made, told, steps


def test_the_file_holds_every_list(tmp_path, monkeypatch):
    monkeypatch.setattr(lists, "CHUNK", 2)
    out = tmp_path / "lists.parquet"
    out.write_text("what was here before")
    made, told, steps = make(scene(), ["u1", "u2", "u3", "nobody", "u0"], out)
    table = pl.read_parquet(out)
    assert table.schema == pl.Schema(lists.SCHEMA)
    assert (made.lists, made.unknown, made.empty, len(steps)) == (5, 1, 0, 5)
    assert made.rungs == {"full": 4, "popular_in_context": 1}
    assert table["user_id"].unique(maintain_order=True).to_list() == ["u1", "u2", "u3", "nobody", "u0"]
    rows = [(a.user_id, p, i.item_id, i.score, a.request_id) for a in told for p, i in enumerate(a.items)]
    assert table.select("user_id", "position", "item_id", "score", "request_id").rows() == rows
    assert table["request_id"].n_unique() == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lists.parquet", "parts"]


def test_where_nothing_can_be_shown_there_is_no_row(tmp_path):
    made, told, _ = make(scene(items=0), ["u1"], tmp_path / "lists.parquet")
    assert (made.lists, made.empty, made.unknown, told) == (0, 1, 1, [])
    assert pl.read_parquet(tmp_path / "lists.parquet").shape == (0, len(lists.SCHEMA))


def test_a_file_that_cannot_be_made_whole_is_not_made(tmp_path):
    async def away(_):
        raise ConnectionError

    out = tmp_path / "lists.parquet"
    out.write_text("what was here before")
    with pytest.raises(ConnectionError):
        make(scene(), ["u1"], out, away)
    assert out.read_text() == "what was here before"


def test_where_no_file_can_be_written_is_said_before_anything_is_done(tmp_path):
    (tmp_path / "folder.parquet").mkdir()
    for name, says in (
        ("lists.csv", "does not end in .parquet"),
        ("folder.parquet", "is a folder"),
        ("absent/lists.parquet", "cannot be written: No such file"),
    ):
        with pytest.raises(Refused, match=says):
            lists.check(tmp_path / name)
    lists.check(tmp_path / "good.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.parquet"]
