"""The fold of the log without Faust gives the very rows that a worker's agents give, in any portions."""

import random

import pytest

from agents.fake import Rows
from models import users
from models.actions import DEFAULTS
from models.users import User
from ops.prove.histories import POISON
from ops.state import fold as folding
from ops.state.fold import ends, fingerprints, fold, identity
from ops.state.scratch import Scratch
from streams import archives, events
from streams.changelog import NOTE
from streams.errors import StateError
from streams.events import Event
from streams.log import Record
from streams.settings import Settings
from streams.topology import STAGES
from tests.ops.state.lived import a_log, disks, places

SETTINGS, _ = a_log()
AT = 1_700_000_000_000


def rows_for(stage):
    return {table: Rows() for table in folding.STAGES[stage]}


def without_notes(rows):
    return {key: row for key, row in rows.items() if key != NOTE}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("most", [1, 5, 10_000])
def test_it_gives_the_rows_that_the_agents_give(tmp_path, monkeypatch, stage, most):
    monkeypatch.setattr(folding, "MOST_DIRTY", dict.fromkeys(folding.MOST_DIRTY, most))
    (_, log), expected = a_log(), disks()
    with Scratch(tmp_path, identity(SETTINGS, DEFAULTS)) as scratch:
        for number in (number for each, number in places() if each == stage):
            until = ends(log, stage, number)
            folded = fold(log, SETTINGS, stage, number, scratch, until, DEFAULTS)
            assert folded.records == sum(until.values())
            for table in folding.STAGES[stage]:
                rows = scratch.rows(table)
                assert dict(rows.scan(number)) == without_notes(expected[table][number])
                sources = folding.SOURCES[table]
                assert rows.note(number).positions == {source: until[source] for source in sources}


@pytest.mark.parametrize("stage", STAGES)
def test_portions_give_what_the_whole_gives(stage):
    (_, log), draw = a_log(1), random.Random(1)
    until = ends(log, stage, 0)
    whole, parts = rows_for(stage), rows_for(stage)
    fold(log, SETTINGS, stage, 0, whole, until, DEFAULTS)
    reached = dict.fromkeys(until, 0)
    while reached != until:
        reached = {source: min(end, reached[source] + draw.randint(0, 30)) for source, end in until.items()}
        fold(log, SETTINGS, stage, 0, parts, reached, DEFAULTS)
    assert {name: rows.rows for name, rows in parts.items()} == {
        name: rows.rows for name, rows in whole.items()
    }


def test_it_goes_on_from_the_table_that_is_behind():
    _, log = a_log(2)
    until = ends(log, "items", 0)
    whole, torn = rows_for("items"), rows_for("items")
    fold(log, SETTINGS, "items", 0, whole, until, DEFAULTS)
    fold(log, SETTINGS, "items", 0, torn, {**until, "touches": until["touches"] // 2}, DEFAULTS)
    behind = dict(torn["popular"].rows)
    fold(log, SETTINGS, "items", 0, torn, until, DEFAULTS)
    torn["popular"].rows = behind
    fold(log, SETTINGS, "items", 0, torn, until, DEFAULTS)
    assert torn["popular"].rows == whole["popular"].rows
    assert torn["items"].rows == whole["items"].rows


def test_every_event_is_counted_as_folded_duplicate_or_refused():
    (_, log), rows = a_log(3), rows_for("users")
    until = ends(log, "users", 0)
    seen = []
    folded = fold(log, SETTINGS, "users", 0, rows, until, DEFAULTS, seen.append)
    said = [record for batch in log.read("events", 0) for record in batch]
    good = [record for record in said if record.value not in POISON]
    assert folded.events == sum(len(events.decode(r.value, int(r.timestamp * 1000))) for r in good)
    every = [(source, record.value) for source in until for batch in log.read(source, 0) for record in batch]
    bad = [each for each in every if each[1] in POISON and each != ("profiles", None)]  # that is a tombstone
    assert folded.refused == len(bad) > 0
    tallies = [User.from_row(row).tally for row in without_notes(rows["users"].rows[0]).values()]
    assert sum(tally[users.FOLDED] + tally[users.DUPLICATES] for tally in tallies) == folded.events
    assert sum(seen) == sum(until.values())


@pytest.mark.parametrize("count", [1, 15, 16, 500])
def test_events_are_counted_without_decoding_them(count):
    batch = [Event(event_id=str(n), type="click", at=AT, user_id="u") for n in range(count)]
    whole = Record("events", 0, 0, b"u", events.encode(batch), AT / 1000)
    assert folding.events_in(whole) == count
    cut = Record("events", 0, 0, b"u", events.without(whole.value, {0}), AT / 1000, archives.HEADERS)
    assert folding.events_in(cut) == count - 1


def test_a_compacted_catalogue_folds_to_the_same_rows_at_its_end():
    (_, log), (_, again) = a_log(4), a_log(4)
    again.compact("items")
    until = ends(log, "items", 1)
    assert ends(again, "items", 1) == until
    whole, compacted = rows_for("items"), rows_for("items")
    fold(log, SETTINGS, "items", 1, whole, until, DEFAULTS)
    fold(again, SETTINGS, "items", 1, compacted, until, DEFAULTS)
    assert compacted["items"].rows == whole["items"].rows


def test_rows_that_are_further_than_asked_are_refused():
    (_, log), rows = a_log(5), rows_for("users")
    until = ends(log, "users", 0)
    fold(log, SETTINGS, "users", 0, rows, until, DEFAULTS)
    with pytest.raises(StateError, match=r"fold of events up to \d+, not 3: fold into an empty folder"):
        fold(log, SETTINGS, "users", 0, rows, {"events": 3, "profiles": 0}, DEFAULTS)


def test_a_row_of_another_version_is_refused():
    (_, log), rows = a_log(6), rows_for("users")
    rows["users"].rows[0] = {f"u{n}".encode(): b"\x91\x07" for n in range(5)}
    with pytest.raises(StateError, match=f"version 7, this code reads {users.VERSION}; rebuild"):
        fold(log, SETTINGS, "users", 0, rows, ends(log, "users", 0), DEFAULTS)


def test_a_fingerprint_tells_what_rows_depend_on():
    one = fingerprints(SETTINGS, DEFAULTS)
    assert one == fingerprints(SETTINGS, dict(reversed(DEFAULTS.items())))
    heavier = fingerprints(SETTINGS, {**DEFAULTS, "click": 2.0})
    assert heavier["users"] != one["users"]
    assert heavier["items"] == one["items"]
    assert heavier["learner"] == one["learner"]
    longer = fingerprints(Settings(dimensions=SETTINGS.dimensions + 1), DEFAULTS)
    assert [stage for stage in one if longer[stage] != one[stage]] == ["learner"]
