"""Reached: a process says what its rows are the fold of between flushes, and never by halves."""

import asyncio
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.reached import TAKEOVER_SECONDS, Standing
from api.replica import Replica
from api.tables import CHUNKS, chunks
from models.items import ItemRow
from streams.changelog import NOTE, Note, Reading, encode, headers
from streams.settings import Settings
from streams.slates import Reached

NOBODY, HALF = Reached(0, ((0, 0), (0, 0)), (0, 0), (0,)), (-1, -1)


class Said(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple = ()


class Changelog:
    """One partition of items; `flush` writes so many rows, each with a count, and a note unless it is cut short."""

    def __init__(self):
        self.end, self.owner, self.count = 0, -1, 0

    def claim(self):
        self.owner = self.end
        return [self._said(NOTE, encode(Note(positions={"touches": self.count})), ())]

    def flush(self, rows, *, note=True):
        self.count += 1
        head = tuple(headers(self.owner))
        said = [self._said(f"i{n}".encode(), ItemRow(chosen=self.count).row(), head) for n in range(rows)]
        positions = {"items": 7, "touches": self.count}
        return [*said, self._said(NOTE, encode(Note(self.owner, positions)), head)] if note else said

    def _said(self, *values):
        self.end += 1
        return Said(self.end - 1, *values)


@pytest.fixture
def settings(tmp_path):
    return Settings(data=tmp_path, partitions=2, dimensions=16)


def opened(settings):
    replica = Replica(settings)
    asyncio.run(replica.load())
    return replica


def test_rows_are_the_fold_of_what_their_note_says_and_of_nothing_certain_before_it(settings):
    replica, log = opened(settings), Changelog()
    assert replica.reached == NOBODY
    replica.apply("items", 1, log.claim() + log.flush(3))
    assert replica.reached.items == ((0, 0), (7, 1))
    assert replica.reached is replica.reached
    replica.apply("items", 1, log.flush(2, note=False))
    assert replica.reached.items == ((0, 0), HALF)
    replica.apply("items", 1, log.flush(2))
    assert replica.reached.items == ((0, 0), (7, 3))
    replica.close()
    again = opened(settings)
    assert again.reached == replica.reached
    again.resume({("items", n): (0, log.end if n else 0) for n in range(2)})
    assert again.reached == replica.reached
    again.close()


def test_what_is_read_before_the_end_that_there_was_is_not_certain(settings):
    replica, log = opened(settings), Changelog()
    said = log.claim() + log.flush(2) + log.flush(2)
    replica.resume({("items", 0): (0, log.end)})
    replica.apply("items", 0, said[:4])
    assert replica.reached.items[0] == HALF
    replica.apply("items", 0, said[4:])
    assert replica.reached.items[0] == (7, 2)
    replica.close()


def test_a_flush_that_another_worker_ended_is_felt_for_a_while():
    now = [0.0]
    standing, log, reading, place = Standing(Settings(), lambda: now[0]), Changelog(), Reading(), ("items", 0)
    for seconds, said, expected in (
        (0.0, log.claim() + log.flush(2), (7, 1)),
        (1.0, log.claim() + log.flush(1), (7, 2)),  # whole, so nothing was left behind
        (2.0, log.flush(2, note=False), HALF),
        (3.0, log.claim() + log.flush(1), HALF),
        (3.0 + TAKEOVER_SECONDS, log.flush(1), (7, 5)),
    ):
        now[0] = seconds
        reading.read(said)
        standing.stand(place, standing.noted(place, reading), reading.offset)
        assert standing.now.items[0] == expected
        standing.leave(place)
        assert standing.now.items[0] == HALF


def test_whoever_looks_between_sees_a_whole_flush_or_none(settings):
    replica, log = opened(settings), Changelog()
    size = CHUNKS["items"]
    said = log.claim() + [one for rows in (2, size - 3, 3 * size, 1, 5) for one in log.flush(rows)]
    seen = []

    async def look(until):
        while not until.done():
            chosen = replica.columns.chosen[: len(replica.columns)].astype(int).tolist()
            seen.append((replica.reached.items[0], chosen))
            await asyncio.sleep(0)

    async def both():
        taking = asyncio.create_task(replica.take("items", 0, said))
        await look(taking)

    asyncio.run(both())
    flushes, rows = {}, {}
    for count, length in enumerate((2, size - 3, 3 * size, 1, 5), 1):
        rows |= dict.fromkeys(range(length), count)
        flushes[count] = [rows[n] for n in sorted(rows)]
    certain = {reached[1]: chosen for reached, chosen in seen if reached[1] > 0}
    assert set(certain) >= {2, 5}
    assert all(chosen == flushes[count] for count, chosen in certain.items())
    assert HALF in {reached for reached, _ in seen}  # the third is shown in parts
    replica.close()


@given(st.lists(st.booleans()), st.integers(1, 7))
def test_chunks_are_all_of_it_and_end_with_a_flush_where_they_can(notes, size):
    records = [Said(n, NOTE if note else b"i", b"") for n, note in enumerate(notes)]
    found = list(chunks(records, size))
    assert [one for chunk in found for one in chunk] == records
    for chunk in found:
        assert 1 <= len(chunk) <= size
        within = [n for n, one in enumerate(records[chunk[0].offset :][:size]) if one.key == NOTE]
        assert len(chunk) == (within[-1] + 1 if within else len(records[chunk[0].offset :][:size]))
