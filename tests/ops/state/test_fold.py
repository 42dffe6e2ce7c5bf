"""The fold of the log without Faust gives the very rows that a worker's agents give, in any portions."""

import random

import pytest

from agents.fake import Message, Rows
from agents.table import Table
from agents.users import UserAgent
from models import users
from models.actions import DEFAULTS
from models.users import User
from ops.log.fake import Log
from ops.state import fold as folding
from ops.state.fold import ends, fingerprints, fold, identity
from ops.state.scratch import Scratch
from streams import archives, events, items, profiles
from streams.changelog import NOTE
from streams.errors import Refused, StateError
from streams.events import Event
from streams.items import Item
from streams.log import Record
from streams.partition import partition_of
from streams.profiles import Profile
from streams.settings import Settings
from tests.agents.simulator import Broker, fold_logs

SETTINGS = Settings(partitions=2, dimensions=16)
AT = 1_700_000_000_000


def a_world(seed=0, count=200):
    """The logs of a broker in memory: users' events and profiles, the catalogue, what the users' worker said."""
    draw, broker = random.Random(seed), Broker(SETTINGS)
    for n in range(count):
        user = f"user-{draw.randrange(12)}"
        at = partition_of(user, 2)
        said = [
            Event(
                event_id=f"{n}-{k}" if draw.random() < 0.9 else "again",
                type=draw.choice(("impression", "click", "purchase", "erase" if draw.random() < 0.02 else "view")),
                at=AT + n * 60_000 - (3 * 86_400_000 if draw.random() < 0.03 else 0),
                user_id=user,
                item_id=f"item-{int(draw.paretovariate(0.9)) % 25}",
                surface="home",
                position=k,
                categories=(f"c{k}",),
            )
            for k in range(draw.randint(1, 4))
        ]  # fmt: skip
        broker.write("events", at, user.encode(), events.encode(said))
        if draw.random() < 0.1:
            attributes = {"country": draw.choice(("de", "fr"))}
            broker.write("profiles", at, user.encode(), profiles.encode(Profile(attributes=attributes)))
            key = f"item-{draw.randrange(25)}"
            broker.write("items", partition_of(key, 2), key.encode(), items.encode(Item(title=key)))
        if draw.random() < 0.05:
            broker.write(draw.choice(("events", "items")), at, b"k", b"\xc1 poison")

    agent = UserAgent(SETTINGS, Table("users", Rows(), User, User.from_row, 1_000), DEFAULTS)
    for number in range(2):
        for offset, (key, value) in enumerate(broker.log("events", number)):
            try:
                agent.fold_events(Message("events", number, offset, key, value))
            except Refused:
                continue
    for topic, number, records in agent.take():
        broker.log(topic, number).extend(records)
    return broker


def as_log(broker):
    """What the broker holds, changelogs too, in the form in which the log is read."""
    log = Log(SETTINGS.partitions)
    for (name, number), records in broker.sender.log.items():
        beside = broker.sender.headers.get((name, number), [])
        for offset, (key, value) in enumerate(records):
            headers = beside[offset] if offset < len(beside) else ()
            log.append(name.removeprefix("refold-"), number, key, value, AT, headers)
    return log


def rows_for(stage):
    return {table: Rows() for table in folding.STAGES[stage]}


def without_notes(rows):
    return {key: row for key, row in rows.items() if key != NOTE}


@pytest.mark.parametrize("stage", ["users", "items"])
@pytest.mark.parametrize("most", [1, 5, 10_000])
def test_it_gives_the_rows_that_the_agents_give(tmp_path, monkeypatch, stage, most):
    monkeypatch.setattr(folding, "MOST_DIRTY", dict.fromkeys(folding.MOST_DIRTY, most))
    broker = a_world()
    log, expected = as_log(broker), fold_logs(broker, stage)
    with Scratch(tmp_path, identity(SETTINGS, DEFAULTS)) as scratch:
        for number in range(2):
            until = ends(log, stage, number)
            folded = fold(log, SETTINGS, stage, number, scratch, until, DEFAULTS)
            assert folded.records == sum(until.values())
            for table in folding.STAGES[stage]:
                rows = scratch.rows(table)
                assert dict(rows.scan(number)) == without_notes(expected[table][number])
                sources = folding.SOURCES[table]
                assert rows.note(number).positions == {source: until[source] for source in sources}


@pytest.mark.parametrize("stage", ["users", "items"])
def test_portions_give_what_the_whole_gives(stage):
    log, draw = as_log(a_world(1)), random.Random(1)
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
    log = as_log(a_world(2))
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
    broker = a_world(3)
    log, rows = as_log(broker), rows_for("users")
    until = ends(log, "users", 0)
    seen = []
    folded = fold(log, SETTINGS, "users", 0, rows, until, DEFAULTS, seen.append)
    good = [value for _, value in broker.log("events", 0) if not value.startswith(b"\xc1")]
    assert folded.events == sum(len(events.decode(value, AT)) for value in good)
    assert folded.refused == until["events"] - len(good) > 0
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
    log, again = as_log(a_world(4)), as_log(a_world(4))
    again.compact("items")
    until = ends(log, "items", 1)
    assert ends(again, "items", 1) == until
    whole, compacted = rows_for("items"), rows_for("items")
    fold(log, SETTINGS, "items", 1, whole, until, DEFAULTS)
    fold(again, SETTINGS, "items", 1, compacted, until, DEFAULTS)
    assert compacted["items"].rows == whole["items"].rows


def test_rows_that_are_further_than_asked_are_refused():
    log, rows = as_log(a_world(5)), rows_for("users")
    until = ends(log, "users", 0)
    fold(log, SETTINGS, "users", 0, rows, until, DEFAULTS)
    with pytest.raises(StateError, match=r"fold of events up to \d+, not 3: fold into an empty folder"):
        fold(log, SETTINGS, "users", 0, rows, {"events": 3, "profiles": 0}, DEFAULTS)


def test_a_row_of_another_version_is_refused():
    log, rows = as_log(a_world(6)), rows_for("users")
    rows["users"].rows[0] = {f"user-{n}".encode(): b"\x91\x07" for n in range(12)}
    with pytest.raises(StateError, match="version 7, this code reads 2; rebuild"):
        fold(log, SETTINGS, "users", 0, rows, ends(log, "users", 0), DEFAULTS)


def test_a_fingerprint_tells_what_rows_depend_on():
    one = fingerprints(SETTINGS, DEFAULTS)
    assert one == fingerprints(SETTINGS, dict(reversed(DEFAULTS.items())))
    heavier = fingerprints(SETTINGS, {**DEFAULTS, "click": 2.0})
    assert heavier["users"] != one["users"]
    assert heavier["items"] == one["items"]
    longer = fingerprints(Settings(dimensions=32), DEFAULTS)
    assert all(longer[stage] != one[stage] for stage in one)
