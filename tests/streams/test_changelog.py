"""A changelog read in order gives its last owner's rows, whoever else wrote, and wherever reading was interrupted."""

import random
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


def claim(offset, positions=None):
    return Said(offset, NOTE, encode(Note(NOBODY, positions or {})))


def note(offset, owner, **positions):
    return Said(offset, NOTE, encode(Note(owner, positions)), headers(owner))


def row(offset, owner, key, value):
    return Said(offset, key.encode(), value and value.encode(), headers(owner))


def test_in_units_a_flush_is_given_out_with_its_note():
    reading = Reading(units=True)
    assert reading.read([claim(0), row(1, 0, "a", "1"), row(2, 0, "b", "1")]) == {}
    assert (reading.note, reading.offset) == (Note(0), 0)
    assert reading.read([note(3, 0, examples=2)]) == {b"a": b"1", b"b": b"1"}
    assert (reading.note, reading.offset) == (Note(0, {"examples": 2}), 3)


def test_in_units_a_torn_flush_is_void_until_its_rows_are_said_again():
    reading = Reading(units=True)
    told = [claim(0), row(1, 0, "a", "1"), note(2, 0, examples=1), row(3, 0, "a", "2"), row(4, 0, "b", "2")]
    assert reading.read(told) == {b"a": b"1"}
    assert set(reading.begun) == {b"a", b"b"}
    assert reading.read([claim(5, {"examples": 1})]) == {}
    assert (reading.note, reading.offset) == (Note(5, {"examples": 1}, (b"a", b"b")), 5)
    told = [row(6, 5, "a", "1"), row(7, 5, "b", None), note(8, 5, examples=1)]
    assert reading.read(told) == {b"a": b"1", b"b": None}
    assert reading.note == Note(5, {"examples": 1})


def test_in_units_what_a_fenced_worker_says_behind_the_last_note_is_said_again():
    reading = Reading(units=True)
    flush = [Said(1, b"a", b"1", headers(0)), Said(2, NOTE, encode(Note(0, {"examples": 1})), headers(0))]
    reading.read([Said(0, NOTE, encode(Note())), *flush])
    stale = [Said(4, b"b", b"0", headers(0)), Said(5, NOTE, encode(Note(0, {"examples": 1})), headers(0))]
    rows = reading.read([Said(3, NOTE, encode(Note(NOBODY, {"examples": 2}))), *stale])
    assert rows == {}
    assert (reading.offset, reading.note) == (3, Note(3, {"examples": 2}, (b"b", NOTE)))


def test_in_units_rows_whose_notes_compaction_took_are_given_out_as_they_come():
    reading = Reading(units=True)
    assert reading.read([row(3, 0, "a", "1"), row(7, 5, "b", "2")]) == {b"a": b"1", b"b": b"2"}
    assert (reading.note, reading.offset) == (Note(), -1)  # who stops here begins anew
    assert reading.read([claim(9, {"examples": 4}), row(10, 9, "a", "3")]) == {}
    assert (reading.note, reading.offset) == (Note(9, {"examples": 4}), 9)


class History:
    """A changelog in units as workers write it, each restored from it; `truth` by offset of its last whole flush."""

    def __init__(self, seed, *, zombies):
        self.draw, self.said, self.truth = random.Random(seed), [], {}
        self.live, self.dead = None, []
        for _ in range(self.draw.randint(1, 12)):
            sleeper = (
                self.draw.choice(self.dead) if zombies and self.dead and self.draw.random() < 0.4 else None
            )
            if self.live is None:
                self.live = self.worker()
            elif sleeper and self.draw.random() < 0.5:
                self.flush(sleeper)
                self.end()  # the live one finds that somebody else wrote
            else:
                self.flush(self.live, sleeper)

    def worker(self):
        """One that restores everything, claims, and holds what is true."""
        reading = Reading(units=True)
        rows = reading.read(self.said)
        void = {*reading.note.void, *reading.begun} - {NOTE}
        offset = len(self.said)
        self.said.append(claim(offset, reading.note.positions))
        self.truth[offset] = self.last()
        return {"owner": offset, "rows": alive(rows), "void": void, **reading.note.positions}

    def last(self):
        return self.truth[max(self.truth)] if self.truth else ({}, 0)

    def end(self):
        self.dead.append(self.live)
        self.live = None

    def flush(self, worker, beside=None):
        """Write what is void and what changed; it may be cut off, or met by another worker's rows."""
        changed = {key: self.draw.random() < 0.7 for key in self.draw.sample("abcd", self.draw.randint(0, 3))}
        said = {key: worker["rows"].get(key) for key in worker["void"]}
        for key, stays in changed.items():
            said[key.encode()] = b"%d" % len(self.said) if stays else None
        worker["rows"] = alive({**worker["rows"], **said})
        worker["examples"] = worker.get("examples", 0) + 1
        cut, met = self.draw.randint(0, 2 * len(said) + 2), self.draw.randint(0, len(said))
        for number, (key, value) in enumerate([*said.items(), (NOTE, None)]):
            if number == cut:
                return self.end() if worker is self.live else None
            if beside and number == met:
                self.said.append(row(len(self.said), beside["owner"], "a", "stale"))
            if key != NOTE:
                self.said.append(Said(len(self.said), key, value, headers(worker["owner"])))
        if worker is self.live:
            worker["void"] = set()
            self.truth[len(self.said)] = worker["rows"], worker["examples"]
        self.said.append(note(len(self.said), worker["owner"], examples=worker["examples"]))
        return self.end() if beside else None


def alive(rows):
    return {key: value for key, value in rows.items() if value is not None}


@given(st.integers(0, 1 << 32), st.integers(0, 60))
def test_in_units_any_beginning_of_a_changelog_gives_the_state_of_its_last_note(seed, cut):
    history = History(seed, zombies=True)
    cut = min(cut, len(history.said))
    reading = Reading(units=True)
    rows = alive(reading.read(history.said[:cut]))
    whole = [offset for offset in history.truth if offset < cut]
    expected = history.truth[max(whole)] if whole else ({}, 0)
    assert (rows, reading.note.positions.get("examples", 0)) == expected
    assert reading.offset == max(whole, default=-1)
    torn = {one.key for one in history.said[reading.offset + 1 : cut] if one.key != NOTE}
    reading.read([claim(cut, reading.note.positions)])
    assert torn <= set(reading.note.void)


@given(st.integers(0, 1 << 32), st.integers(0, 60))
def test_in_units_reading_goes_on_from_the_last_note(seed, cut):
    history = History(seed, zombies=True)
    first = Reading(units=True)
    rows = first.read(history.said[:cut])
    second = Reading(decode(encode(first.note)), first.offset, units=True)
    rows |= second.read(history.said[first.offset + 1 :])
    assert alive(rows) == history.last()[0]
    there, back = Reading(units=True), Reading(units=True)
    assert there.read(history.said) == back.read(history.said[:cut]) | back.read(history.said[cut:])
    assert there.note == back.note == second.note


@given(st.integers(0, 1 << 32), st.floats(0, 1))
def test_in_units_compaction_changes_nothing(seed, share):
    history = History(seed, zombies=False)
    # not past the last note: of a claim right behind it nobody could tell what was whole before
    noted = max((one.offset for one in history.said if one.key == NOTE and one.headers), default=-1)
    up_to = round(share * (noted + 1))
    newest = {one.key: one.offset for one in history.said[:up_to]}
    left = [one for one in history.said if one.offset >= up_to or newest[one.key] == one.offset]
    reading = Reading(units=True)
    assert alive(reading.read(left)) == history.last()[0]
    assert reading.note.positions.get("examples", 0) == history.last()[1]
