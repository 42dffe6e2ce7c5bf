"""The control topic: what operators decided, by name, the last word counting; all in partition 0, so in one order."""

from typing import Any

from kafka.errors import KafkaError

from streams.errors import Unavailable
from streams.read import records
from streams.settings import Settings
from streams.write import producer

PARTITION = 0


def read(settings: Settings) -> dict[str, bytes]:
    """Return the last word on every name; raises TopologyError without the topic, Unavailable without a broker."""
    said: dict[str, bytes] = {}
    for record in records(settings, "control", quiet_ms=300):
        if record.value is None:
            said.pop(record.key.decode(), None)
        else:
            said[record.key.decode()] = record.value
    return said


def write(settings: Settings, name: str, value: bytes | None) -> None:
    """Say something new, acknowledged by all in-sync replicas; raises Unavailable."""
    try:
        with producer(settings) as to:
            sent: Any = to.send(
                settings.topic("control"), key=name.encode(), value=value, partition=PARTITION
            )
            sent.get(timeout=30)
    except KafkaError as error:
        raise Unavailable(f"the decision on {name!r} was not taken by the broker: {error}") from error
