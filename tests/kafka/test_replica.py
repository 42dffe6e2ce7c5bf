"""The replica on a real Kafka: it follows, goes on after a restart, and knows a changelog made anew."""

import asyncio
import contextlib
import time

import pytest

from agents.publisher import Publisher
from api.replica import Replica
from models.items import ItemRow
from models.popular import Popular
from models.users import User
from ops.broker import kafka as broker
from ops.broker.topics import admin, create
from ops.processes import free_port
from streams.settings import Settings
from streams.topology import topics

pytestmark = pytest.mark.kafka


def remove(settings):
    with admin(settings) as client:
        ours = {topic.name for topic in topics(settings)}.intersection(client.list_topics())
        if ours:
            client.delete_topics(sorted(ours))


async def until(what, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to that"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(settings):
    replica = Replica(settings)
    await replica.start()
    try:
        yield replica
    finally:
        await replica.stop()


@contextlib.asynccontextmanager
async def publishing(settings):
    publisher = Publisher(settings)
    await publisher.start()

    async def publish(table, partition, rows):
        records = [(key.encode(), None if row is None else row.row()) for key, row in rows]
        return await publisher.send(settings.changelog(table), partition, records)

    try:
        yield publish
    finally:
        await publisher.stop()


def test_it_follows_and_goes_on_after_a_restart(settings):
    async def main():
        async with publishing(settings) as publish:
            await publish("items", 1, [(f"i{n}", ItemRow(chosen=n)) for n in range(3000)])
            async with running(settings) as replica:
                await until(lambda: replica.ready)
                assert replica.lag() == 0
                assert replica.columns.chosen[replica.columns.slot_of["i2999"]] == 2999
                await publish("users", 2, [("u", User(trail=["i1"]))])
                await publish("popular", 0, [("all", Popular(items={"i1": 2.0}))])
                await publish("popular", 1, [("all", Popular(items={"i2": 3.0}))])
                await until(lambda: replica.user("u") and len(replica.popular("all", 0)[0]) == 2)
                await until(lambda: replica.connected)
                assert replica.staleness_ms() < 5000
                before = replica.offsets
            await publish("users", 2, [("u", None), ("v", User(trail=["i2"]))])
            async with running(settings) as replica:
                assert replica.offsets == before
                assert replica.user("u").trail == ["i1"]  # at once, what the disk held
                await until(lambda: replica.ready)
                assert replica.user("u") is None
                assert replica.user("v").trail == ["i2"]
                assert replica.offsets["items"] == {1: 2999}

    asyncio.run(main())


def test_it_follows_its_own_partitions_only(settings):
    values = {name: getattr(settings, name) for name in settings.__dataclass_fields__}

    async def main():
        async with publishing(settings) as publish:
            for partition in range(3):
                await publish("users", partition, [(f"u{partition}", User())])
            async with running(Settings(**(values | {"api_partitions": "0,2"}))) as replica:
                await until(lambda: replica.ready)
                assert [replica.user(f"u{n}") is not None for n in range(3)] == [True, False, True]

    asyncio.run(main())


def test_a_topic_made_anew_is_read_anew(settings, caplog):
    async def main():
        async with publishing(settings) as publish:
            await publish("users", 0, [(f"u{n}", User()) for n in range(50)])
            async with running(settings) as replica:
                await until(lambda: replica.ready)
        remove(settings)
        await until(lambda: not missing_none(settings))
        create(settings)
        async with publishing(settings) as publish:
            await publish("users", 0, [("new", User())])
            async with running(settings) as replica:
                await until(lambda: replica.ready and replica.user("new"))
                assert replica.user("u1") is None
        assert "wiped and read again: partition 0 was read up to 49" in caplog.text

    def missing_none(settings):
        with admin(settings) as client:
            return any(topic.name in client.list_topics() for topic in topics(settings))

    asyncio.run(main())


def test_it_waits_for_topics_and_tells_which_is_missing(kafka, tmp_path):
    settings = Settings(kafka=kafka, partitions=2, dimensions=16, data=tmp_path, namespace="never")

    async def main():
        async with running(settings) as replica:
            await until(lambda: "run `refold topics create`" in replica.trouble)
            assert not replica.ready
            assert not replica.connected

    asyncio.run(main())


def test_other_partitions_than_declared_are_told(settings):
    values = {name: getattr(settings, name) for name in settings.__dataclass_fields__}

    async def main():
        async with running(Settings(**(values | {"partitions": 2}))) as replica:
            await until(lambda: "has 3 partitions, expected 2" in replica.trouble)

    asyncio.run(main())


def test_a_broker_that_goes_and_comes_back(tmp_path):
    port = free_port()
    settings = Settings(kafka=f"127.0.0.1:{port}", partitions=1, dimensions=16, data=tmp_path / "data")

    async def main():
        with broker.running(tmp_path / "kafka", port):
            await asyncio.to_thread(create, settings)
            async with publishing(settings) as publish:
                await publish("users", 0, [("u", User(trail=["i"]))])
            replica = Replica(settings)
            await replica.start()
            await until(lambda: replica.ready and replica.connected)
        await until(lambda: not replica.connected, 60)
        assert replica.user("u").trail == ["i"]
        assert replica.ready
        age = replica.staleness_ms()
        await asyncio.sleep(0.1)
        assert replica.staleness_ms() >= age + 90
        with broker.running(tmp_path / "kafka", port):
            async with publishing(settings) as publish:
                await publish("users", 0, [("u", User(trail=["j"]))])
            await until(lambda: replica.user("u").trail == ["j"], 60)
            await until(lambda: replica.connected)
            await replica.stop()

    asyncio.run(main())
