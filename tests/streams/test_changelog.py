"""A changelog read in order gives its last owner's rows, whoever else wrote, and wherever reading was interrupted."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from streams import changelog
from streams.changelog import NOBODY, NOTE, Note, Reading, decode, encode, headers


class Said(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple = ()


def test_a_note_survives_its_bytes():
    note = Note(7, {"events": 3}, (b"a",))
    assert decode(encode(note)) == note
    assert decode(None) == Note()


def test_rows_without_any_claim_are_rows():
    reading = Reading()
    assert reading.read([Said(0, b"a", b"1"), Said(1, b"a", b"2"), Said(2, b"b", None)]) == {
        b"a": b"2",
        b"b": None,
    }
    assert reading.note == Note()


def test_a_claim_names_its_owner_and_keeps_the_positions_of_the_last_note():
    reading = Reading()
    reading.read([Said(4, NOTE, encode(Note(NOBODY, {"events": 5})))])
    assert reading.note == Note(4, {"events": 5})
    reading.read([Said(5, b"a", b"1", headers(4)), Said(6, NOTE, encode(Note(4, {"events": 9})), headers(4))])
    assert reading.note == Note(4, {"events": 9})


def test_a_claim_that_comes_late_takes_no_position_back():
    """A worker may restore, be paused, and claim only after another has claimed, folded and noted more."""
    reading = Reading()
    reading.read([Said(0, NOTE, encode(Note(NOBODY, {"events": 3})))])
    reading.read([Said(1, NOTE, encode(Note(0, {"events": 9, "profiles": 1})), headers(0))])
    reading.read([Said(2, NOTE, encode(Note(NOBODY, {"events": 3})))])
    assert reading.note == Note(2, {"events": 9, "profiles": 1}, (NOTE,))  # to be said again
    reading.read([Said(3, NOTE, encode(Note(2, {"events": 9, "profiles": 1})), headers(2))])
    assert reading.note == Note(2, {"events": 9, "profiles": 1})


def test_a_row_names_its_owner_where_compaction_took_the_claim():
    reading = Reading()
    rows = reading.read([Said(6, b"a", b"new", headers(5)), Said(7, b"a", b"stale", headers(3))])
    assert rows == {b"a": b"new"}
    assert reading.note == Note(5, {}, (b"a",))


def test_a_fenced_workers_rows_and_notes_are_void():
    reading = Reading()
    rows = reading.read(
        [
            Said(0, NOTE, encode(Note())),
            Said(1, b"a", b"old", headers(0)),
            Said(2, NOTE, encode(Note())),
            Said(3, b"a", b"new", headers(2)),
            Said(4, NOTE, encode(Note(2, {"events": 7})), headers(2)),
            Said(5, b"a", b"stale", headers(0)),
            Said(6, b"b", b"stale", headers(0)),
            Said(7, NOTE, encode(Note(0, {"events": 99})), headers(0)),
        ]
    )
    assert rows == {b"a": b"new"}
    assert reading.note == Note(2, {"events": 7}, (b"a", b"b", NOTE))
    assert reading.read([Said(8, b"a", b"new", headers(2))]) == {b"a": b"new"}
    assert reading.note.void == (b"b", NOTE)


def test_positions_merge_to_the_further_of_each():
    assert changelog.merge({}, {"events": 1}) == {"events": 1}


@st.composite
def logs(draw):
    """A changelog by several workers of which each may go on after the next has taken over."""
    owners, said = [], []
    for offset in range(draw(st.integers(0, 30))):
        if not owners or draw(st.integers(0, 4)) == 0:
            owners.append(offset)
            said.append(Said(offset, NOTE, encode(Note(NOBODY, {"events": offset}))))
            continue
        owner = draw(st.sampled_from(owners[-2:]))
        if draw(st.booleans()):
            said.append(Said(offset, NOTE, encode(Note(owner, {"events": offset})), headers(owner)))
        else:
            value = draw(st.sampled_from([None, b"%d" % offset]))
            said.append(Said(offset, draw(st.sampled_from([b"a", b"b"])), value, headers(owner)))
    return said


@given(logs(), st.integers(0, 30))
def test_reading_may_be_interrupted_anywhere(said, cut):
    whole, first = Reading(), Reading()
    rows = whole.read(said)
    parts = first.read(said[:cut])
    second = Reading(decode(encode(first.note)))
    assert parts | second.read(said[cut:]) == rows
    assert second.note == whole.note


@given(logs())
def test_what_is_read_is_what_each_worker_wrote_before_the_next_took_over(said):
    expected, owner = {}, NOBODY
    for record in said:
        claim = record.key == NOTE and not record.headers
        owner = record.offset if claim else owner
        if record.key != NOTE and record.headers == headers(owner):
            expected[record.key] = record.value
    assert Reading().read(said) == expected
