"""What recovery writes: a changelog in order, its note beside it, a standby's copy by whole flushes."""

from types import SimpleNamespace

import pytest
from rocksdict import Options, Rdict

from agents.fake import Message
from agents.recovery import whole
from agents.store import Store
from streams.changelog import NOTE, Note, decode, encode, headers


def records(*said):
    return [Message("c", 0, offset, key, value, headers=by) for offset, (key, value, by) in enumerate(said)]


def flush(owner, positions, **rows):
    by = headers(owner)
    note = (NOTE, encode(Note(owner, positions)), by)
    return [*((key.encode(), value, by) for key, value in rows.items()), note]


CLAIM = (NOTE, encode(Note()), ())


@pytest.fixture
def store(tmp_path):
    store = object.__new__(Store)  # what surrounds one in Faust is an app that runs
    db = Rdict(str(tmp_path / "db"), options=Options(raw_mode=True))
    store._dbs = {0: db}
    store.table = SimpleNamespace(name="users")
    yield store
    db.close()


def test_rows_note_and_offset_are_restored_together(store):
    log = records(CLAIM, *flush(0, {"events": 2}, a=b"1", b=b"2"), *flush(0, {"events": 3}, a=None))

    store.restore(0, log[:2])
    assert (store.get_row(0, b"a"), store.offset(0)) == (b"1", 1)
    assert decode(store.get_row(0, NOTE)) == Note(0, {})
    store.restore(0, log[2:])
    assert (store.get_row(0, b"a"), store.get_row(0, b"b"), store.offset(0)) == (None, b"2", 5)
    assert decode(store.get_row(0, NOTE)) == Note(0, {"events": 3})


def test_a_fenced_owner_is_left_out_over_the_border_of_two_batches(store):
    log = records(CLAIM, *flush(0, {"events": 1}, a=b"true"), CLAIM, (b"a", b"stale", headers(0)))

    store.restore(0, log[:4])
    store.restore(0, log[4:])
    assert store.get_row(0, b"a") == b"true"
    assert b"a" in decode(store.get_row(0, NOTE)).void


def test_an_emptied_end_of_a_changelog_counts_as_read(store):
    store.restore(0, records(CLAIM, *flush(0, {"events": 1}, a=b"1")))
    store.reach(0, 7)
    assert store.offset(0) == 7
    store.reach(0, 3)
    assert store.offset(0) == 7


def test_more_rows_may_gather_while_many_are_written(store):
    for size in (16 << 20, 2 << 20):
        store.buffer(0, size)
        store.restore(0, records(CLAIM, *flush(0, {"events": 1}, a=b"1")))
    assert store.get_row(0, b"a") == b"1"


def test_a_standby_takes_flushes_whole():
    log = records(
        CLAIM, *flush(0, {}, a=b"1"), *flush(0, {}, a=b"2", b=b"3"), CLAIM, (b"a", b"4", headers(6))
    )

    assert [whole(log[:count]) for count in range(len(log) + 1)] == [0, 0, 0, 3, 3, 3, 6, 6, 6]
