"""What was refused is listed once, and what is good in it can be sent again."""

import pytest

from ops.broker import embedded
from ops.broker.topics import create
from ops.log.dead_letters import listed, resend
from streams import dead_letters, events, items, profiles
from streams.dead_letters import DeadLetter
from streams.events import Event
from streams.items import Item
from streams.partition import partition_of
from streams.profiles import Profile
from streams.read import records
from streams.settings import Settings
from streams.write import producer

AT = 1_700_000_000_000


@pytest.fixture(scope="module")
def settings():
    with embedded.running() as bootstrap:
        settings = Settings(kafka=bootstrap, kafka_idempotence=False, partitions=2)
        create(settings)
        yield settings


def letter(topic, offset, key, value, at=AT):
    return DeadLetter(topic=topic, partition=0, offset=offset, reason="r", at=at, key=key, value=value)


def test_letters_are_listed_once_and_the_good_in_them_is_sent_again(settings):
    good = Event(event_id="e1", type="click", at=AT, user_id="u")
    bad = Event(event_id="e2", type="click", at=AT, user_id="u", value=float("nan"))
    buried = [
        letter("events", 5, b"u", events.encode([good, bad]), AT + 1),
        letter("events", 5, b"u", events.encode([good, bad]), AT + 1),  # a replay buried it again
        letter("events", 9, None, b"\xc1"),
        letter("items", 1, b"i", items.encode(Item(title="t"))),  # refused for its partition, say
        letter("items", 2, b"", items.encode(Item(title="t"))),
        letter("items", 3, b"\xff", items.encode(Item(title="t"))),
        letter("items", 4, b"i", b"\xc1"),
        letter("profiles", 1, b"v", profiles.encode(Profile(attributes={"a": 1.0}))),
        letter("profiles", 2, b"w", None),
        letter("touches", 1, b"t", b"t"),
    ]
    with producer(settings) as to:
        for each in buried:
            to.send("dead-letters", value=dead_letters.encode(each), partition=0)
    found = listed(settings)
    assert len(found) == 9
    assert found[-1].offset == 5  # the newest last
    assert resend(settings) == {"sent": 4, "still_refused": 6}
    ((batch, number),) = [(r.value, r.partition) for r in records(settings, "events", quiet_ms=500)]
    assert events.decode(batch, AT) == [good]
    assert number == partition_of("u", 2)
    assert [(r.key, r.partition) for r in records(settings, "items", quiet_ms=500)] == [
        (b"i", partition_of("i", 2))
    ]
    assert {(r.key, r.partition, r.value is None) for r in records(settings, "profiles", quiet_ms=500)} == {
        (b"v", partition_of("v", 2), False),
        (b"w", partition_of("w", 2), True),
    }
