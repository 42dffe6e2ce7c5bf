"""Ingest: what a broker does not take is said, since nobody would ever be done with it."""

import asyncio

import pytest
from aiokafka.errors import KafkaTimeoutError

from bench import ingest, load
from streams.errors import Unavailable
from streams.events import decode
from streams.settings import Settings

NOW = 4_000_000_000_000  # long after any event of the stream


class Broker:
    """A producer whose deliveries come at once; those to partition `deaf` fail."""

    def __init__(self, deaf):
        self.deaf, self.taken = deaf, []

    async def start(self):
        pass

    async def stop(self):
        pass

    async def flush(self):
        await asyncio.sleep(0)

    async def send(self, topic, value, partition):
        delivery = asyncio.get_running_loop().create_future()
        if partition == self.deaf:
            delivery.set_exception(KafkaTimeoutError())
        else:
            delivery.set_result(None)
            self.taken.append((topic, partition, value))
        return delivery


def produced(monkeypatch, deaf=None):
    broker = Broker(deaf)
    monkeypatch.setattr(ingest, "AIOKafkaProducer", lambda **_: broker)
    return asyncio.run(ingest.produce(Settings(), load.events(300), 7)), broker


def test_every_event_is_sent_once(monkeypatch):
    records, broker = produced(monkeypatch)
    assert records == len(broker.taken)
    assert sum(len(decode(value, NOW)) for _, _, value in broker.taken) == 300


def test_records_that_the_broker_did_not_take_are_an_error(monkeypatch):
    with pytest.raises(Unavailable, match=r"did not take \d+ of \d+ records: KafkaTimeoutError"):
        produced(monkeypatch, deaf=3)
