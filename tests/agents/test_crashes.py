"""After any crash, at any step, with the disk or without it, the tables are the single-threaded fold of the log."""

import random
from unittest import mock

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from agents.flush import Flusher
from agents.users import UserAgent
from models import marks
from streams import dead_letters, events, items, profiles, touches
from streams.events import Event
from streams.items import Item
from streams.partition import partition_of
from streams.profiles import Profile
from streams.settings import Settings
from streams.touches import Link
from tests import strategies
from tests.agents.simulator import Broker, changelogs, fold_logs, run

SEEDS = st.integers(0, 2**32)


def world(partitions, said, draw):
    """A broker with events in batches, poison among them, profiles, erasures and a catalogue."""
    broker = Broker(Settings(partitions=partitions, dimensions=16))
    groups = {}
    for event in said:
        groups.setdefault(partition_of(event.user, partitions), []).append(event)
    for number, waiting in groups.items():
        while waiting:
            batch = [waiting.pop(0) for _ in range(min(len(waiting), draw.randint(1, 3)))]
            broker.write("events", number, b"k", events.encode(batch))
            if draw.random() < 0.1:
                broker.write("events", number, b"k", draw.choice([b"poison", b"", None, events.encode([])]))
            if draw.random() < 0.1:
                broker.write("events", number, b"k", events.encode(batch))  # a client's second try
    for _ in range(6):
        user, item = f"u{draw.randrange(5)}", f"i{draw.randrange(8)}"
        profile = draw.choice([None, profiles.encode(Profile(attributes={"n": draw.random()})), b"poison"])
        broker.write("profiles", partition_of(user, partitions), user.encode(), profile)
        record = draw.choice([None, items.encode(Item(title=str(draw.random()))), b"poison"])
        broker.write("items", partition_of(item, partitions), item.encode(), record)
    return broker


@pytest.fixture(autouse=True)
def _no_exit(monkeypatch):
    """A fold that fails is a failed test, not the end of all tests."""

    def die(reason):
        raise AssertionError(reason)

    monkeypatch.setattr("agents.consume.die", die)


def histories(example_count):
    """Run a law over many histories: what was said, and a seed for how it went."""

    def decorate(law):
        given_all = given(st.lists(strategies.crowded, min_size=1, max_size=40), st.integers(1, 3), SEEDS)
        # not shrunk: a seed hides what matters in a history, so the smallest one would tell no more
        phases = (Phase.explicit, Phase.reuse, Phase.generate)
        return settings(deadline=None, max_examples=example_count, phases=phases)(given_all(law))

    return decorate


def test_every_table_is_the_fold_of_its_log_after_any_crash():
    @histories(150)
    def law(said, partitions, seed):
        draw = random.Random(seed)
        broker = world(partitions, said, draw)
        live = run(broker, "users", draw, crashes=draw.randint(0, 5))
        live |= run(broker, "items", draw, crashes=draw.randint(0, 5))
        for name, tables in (("users", ("users",)), ("items", ("items", "popular"))):
            folded = fold_logs(broker, name)
            for table in tables:
                assert {number: rows for number, rows in live[table].items() if rows} == folded[table]
                assert changelogs(broker, table) == folded[table]

    law()


def test_items_and_popular_are_those_of_a_run_without_a_crash():
    """With one partition of events the touches have one order, so even the items cannot tell a crash happened."""

    @histories(60)
    def law(said, _, seed):
        draw = random.Random(seed)
        broker = world(1, said, draw)
        run(broker, "users", draw, crashes=draw.randint(1, 5))
        live = run(broker, "items", draw, crashes=draw.randint(1, 5))
        calm = Broker(broker.settings)
        for topic in ("events", "profiles", "items"):  # the erasures already stand among the events
            calm.log(topic, 0).extend(broker.log(topic, 0))
        run(calm, "users", random.Random(0))
        expected = run(calm, "items", random.Random(0))
        assert live == expected

    law()


def test_whatever_was_said_to_items_is_said_after_any_crash():
    """Touches may be said twice, never lost and never otherwise than before."""

    def told(broker):
        found = {}
        for number in range(broker.settings.partitions):
            for _, value in broker.log("touches", number):
                record = touches.decode(value)
                for said in record.said:
                    key = (number, said.item, record.partition, said.origin, type(said) is Link)
                    each = (
                        (said.to, said.weight)
                        if type(said) is Link
                        else (said.type, said.at, said.weight, said.mass)
                    )
                    assert found.setdefault(key, each) == each
        return found

    @histories(60)
    def law(said, partitions, seed):
        draw = random.Random(seed)
        broker = world(partitions, said, draw)
        run(broker, "users", draw, crashes=draw.randint(1, 5))
        calm = Broker(broker.settings)
        for number in range(partitions):
            for topic in ("events", "profiles"):
                calm.log(topic, number).extend(broker.log(topic, number))
        run(calm, "users", random.Random(0))
        assert told(broker) == told(calm)

    law()


def test_every_poison_record_stands_in_the_dead_letters():
    broker = Broker(Settings(partitions=1))
    poison = [b"", b"\xc1", None, b"x" * 900_000]
    for value in poison:
        broker.write("events", 0, b"k", value)
    broker.write("profiles", 0, b"\xff", None)
    broker.write("profiles", 0, None, b"\x80")
    run(broker, "users", random.Random(7), crashes=3)
    letters = [dead_letters.decode(value) for _, value in broker.log("dead-letters", 0)]
    assert {(letter.topic, letter.offset) for letter in letters} == {
        *(("events", n) for n in range(4)),
        ("profiles", 0),
        ("profiles", 1),
    }
    assert all(letter.reason for letter in letters)
    assert all(len(value) < 900_000 for _, value in broker.log("dead-letters", 0))
    cut = next(letter for letter in letters if letter.offset == 3)
    assert "without its end" in cut.reason


class AcksFirst(Flusher):
    """A planted bug: source records are acked before the changelog has their rows."""

    async def flush(self):
        for event in self._held:
            event.ack()
        self._held = []
        await super().flush()


class OneMark(UserAgent):
    """A planted bug: one mark per partition, in a row of its own, instead of one in every row."""

    def fold_events(self, message):
        partition = self._table.partition(message.partition)
        row = partition.get("mark")

        def advance(held, key, origin):
            if row.marks.get(key, -1) >= origin:
                return False
            row.marks[key] = held[key] = origin
            return True

        with mock.patch.object(marks, "advance", advance):
            super().fold_events(message)
        partition.put("mark", row)


def wrong(seed, **planted):
    """Tell whether a history with a planted bug ends in other tables than the fold of its log."""
    draw = random.Random(seed)
    said = [
        Event(
            event_id=f"e{n}",
            type="click",
            at=1_700_000_000_000 + n,
            user_id=f"u{n % 5}",
            item_id=f"i{draw.randrange(8)}",
        )
        for n in range(40)
    ]
    broker = world(2, said, draw)
    run(broker, "users", draw, crashes=5, **planted)
    found = changelogs(broker, "users")
    for rows in found.values():
        rows.pop(b"mark", None)
    return found != fold_logs(broker, "users")["users"]


SEARCH = range(60)


def test_no_difference_without_a_planted_bug():
    assert not any(wrong(seed) for seed in SEARCH)


def test_acking_before_the_changelog_is_found():
    assert any(wrong(seed, flusher=AcksFirst) for seed in SEARCH)


def test_one_mark_per_partition_is_found():
    assert any(wrong(seed, agent=OneMark) for seed in SEARCH)


def test_ignoring_marks_is_found(monkeypatch):
    def advance(held, key, origin):
        held[key] = max(origin, held.get(key, -1))
        return True

    class Heedless(UserAgent):
        def fold_events(self, message):
            with mock.patch.object(marks, "advance", advance):
                super().fold_events(message)

    def clicks_counted(seed):
        # Event ids alone would hide it: they, too, are remembered, but only the last 64.
        with mock.patch("models.users.IDS", 2):
            return wrong(seed, agent=Heedless)

    assert any(clicks_counted(seed) for seed in SEARCH)
