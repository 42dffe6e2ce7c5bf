import asyncio

import pytest

from api.ingest import Ingest
from api.memory import MemoryProducer
from api.producer import MAX_RECORD, InDoubt
from streams import events
from streams.errors import Unavailable
from streams.events import Event, decode
from streams.items import Item
from streams.partition import partition_of
from streams.profiles import Profile
from streams.settings import Settings

SETTINGS = Settings(partitions=4, namespace="here")
NOW = 1_750_000_000_000


def event(n, user="u", **more):
    return Event(event_id=f"e{n}", type="click", at=NOW, user_id=user, **more)


@pytest.fixture
def producer():
    return MemoryProducer()


@pytest.fixture
def ingest(producer):
    return Ingest(producer, SETTINGS)


def test_events_go_to_their_users_partition_one_record_each(ingest, producer):
    batch = [event(n, f"user-{n % 7}") for n in range(100)]
    offsets = asyncio.run(ingest.events(batch))
    assert offsets == dict.fromkeys({partition_of(e.user, 4) for e in batch}, 0)
    read = []
    for (topic, partition), records in producer.log.items():
        assert topic == "here.events"
        assert len(records) == 1
        found = decode(records[0][1], NOW)
        assert {partition_of(e.user, 4) for e in found} == {partition}
        read += found
    assert sorted(e.event_id for e in read) == sorted(e.event_id for e in batch)


def test_the_order_of_a_user_holds(ingest, producer):
    asyncio.run(ingest.events([event(n) for n in range(50)]))
    found = decode(producer.records("here.events")[0][1], NOW)
    assert [e.event_id for e in found] == [f"e{n}" for n in range(50)]


def test_a_record_never_outgrows_contract_or_broker(ingest, producer):
    wide = {f"name{n}": "x" * 1000 for n in range(16)}
    asyncio.run(ingest.events([event(n, context=wide) for n in range(120)] + [event(n) for n in range(600)]))
    records = producer.records("here.events")
    assert all(
        len(value) <= MAX_RECORD and len(decode(value, NOW)) <= events.MAX_BATCH for _, value in records
    )
    assert sum(len(decode(value, NOW)) for _, value in records) == 720


def test_items_and_profiles_and_their_tombstones(ingest, producer):
    places = asyncio.run(ingest.items([("a", Item(title="A")), ("b", None)]))
    assert [place.partition for place in places] == [partition_of(key, 4) for key in "ab"]
    asyncio.run(ingest.profile("u", Profile(attributes={"age": 3})))
    place = asyncio.run(ingest.profile("u", None))
    assert (place.partition, place.offset) == (partition_of("u", 4), 1)
    assert producer.records("here.profiles")[1] == (b"u", None)
    assert (b"b", None) in producer.records("here.items")


def test_down_and_in_doubt_are_told_apart(ingest, producer):
    producer.down = True
    with pytest.raises(Unavailable, match="nothing was written") as caught:
        asyncio.run(ingest.events([event(1)]))
    assert not isinstance(caught.value, InDoubt)
    producer.down, producer.silent = False, True
    with pytest.raises(InDoubt, match="may have been written"):
        asyncio.run(ingest.events([event(1)]))
