"""What recovery writes: a changelog in order, its note beside it, a standby's copy by whole flushes."""

from types import SimpleNamespace

import pytest
from rocksdict import Options, Rdict

from agents.fake import Message
from agents.recovery import whole
from agents.restoring import Restoring
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


def restoring(store, units=False):
    return Restoring(store, 0, units=units)


def test_rows_note_and_offset_are_restored_together(store):
    log = records(CLAIM, *flush(0, {"events": 2}, a=b"1", b=b"2"), *flush(0, {"events": 3}, a=None))

    restoring(store).take(log[:2])
    assert (store.get_row(0, b"a"), store.offset(0)) == (b"1", 1)
    assert decode(store.get_row(0, NOTE)) == Note(0, {})
    restoring(store).take(log[2:])
    assert (store.get_row(0, b"a"), store.get_row(0, b"b"), store.offset(0)) == (None, b"2", 5)
    assert decode(store.get_row(0, NOTE)) == Note(0, {"events": 3})
    assert dict(store.scan(0)) == {b"b": b"2"}


def test_a_fenced_owner_is_left_out_over_the_border_of_two_batches(store):
    log = records(CLAIM, *flush(0, {"events": 1}, a=b"true"), CLAIM, (b"a", b"stale", headers(0)))

    restoring(store).take(log[:4])
    restoring(store).take(log[4:])
    assert store.get_row(0, b"a") == b"true"
    assert b"a" in decode(store.get_row(0, NOTE)).void


def test_in_units_a_torn_flush_leaves_no_row_and_is_read_again(store):
    torn = flush(0, {"examples": 2}, a=b"2", b=b"2")
    log = records(CLAIM, *flush(0, {"examples": 1}, a=b"1"), *torn)

    first = restoring(store, units=True)
    for record in log[:-1]:
        first.take([record])
    assert (store.get_row(0, b"a"), store.offset(0)) == (b"1", 2)
    first.reach(4)
    assert dict(store.scan(0)) == {b"a": b"1"}
    assert store.offset(0) == 4  # what a claim must follow
    assert decode(store.get_row(0, NOTE)) == Note(0, {"examples": 1}, (b"a", b"b"), 2)

    again = restoring(store, units=True)  # after another crash; the note was only late
    assert again.offset == 2
    again.take(log[3:])
    again.reach(5)
    assert dict(store.scan(0)) == {b"a": b"2", b"b": b"2"}
    assert (decode(store.get_row(0, NOTE)), store.offset(0)) == (Note(0, {"examples": 2}), 5)


def test_an_emptied_end_of_a_changelog_counts_as_read(store):
    one = restoring(store)
    one.take(records(CLAIM, *flush(0, {"events": 1}, a=b"1")))
    one.reach(7)
    assert store.offset(0) == 7
    one.reach(3)
    assert store.offset(0) == 7


def test_more_rows_may_gather_while_many_are_written(store):
    for size in (16 << 20, 2 << 20):
        store.buffer(0, size)
        restoring(store).take(records(CLAIM, *flush(0, {"events": 1}, a=b"1")))
    assert store.get_row(0, b"a") == b"1"


def test_a_standby_takes_flushes_whole():
    log = records(
        CLAIM, *flush(0, {}, a=b"1"), *flush(0, {}, a=b"2", b=b"3"), CLAIM, (b"a", b"4", headers(6))
    )

    assert [whole(log[:count]) for count in range(len(log) + 1)] == [0, 0, 0, 3, 3, 3, 6, 6, 6]
