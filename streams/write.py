"""Write events from outside: batches by partition, acknowledged, with kafka-python."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from kafka import KafkaProducer

from streams import events
from streams.errors import Unavailable
from streams.events import Event
from streams.partition import partition_of
from streams.settings import Settings

BATCH = 64  # events a record; a partition's events stay in order


@contextlib.contextmanager
def producer(settings: Settings) -> Iterator[KafkaProducer]:
    """Yield a producer that waits for all in-sync replicas, flushed and closed at the end."""
    made = KafkaProducer(
        **settings.client(),
        acks="all",
        enable_idempotence=settings.kafka_idempotence,
        linger_ms=20,
        batch_size=256 << 10,
        compression_type="snappy",
    )
    try:
        yield made
        made.flush(timeout=60)
    finally:
        made.close(timeout=10)


class EventWriter:
    """Groups events into records of up to 64 and remembers what the broker acknowledged.

    `sent` counts events; `ends` gives, after `finish`, the offset behind the last record of each partition.
    """

    def __init__(self, settings: Settings, to: KafkaProducer, batch: int = BATCH) -> None:
        self._settings = settings
        self._producer = to
        self._batch = batch
        self._waiting: dict[int, list[Event]] = {}
        self._last: dict[int, Any] = {}
        self._failed: list[BaseException] = []
        self.sent = 0
        self.records = 0

    def write(self, said: Iterable[Event]) -> None:
        """Take events; full groups leave at once. Raises Unavailable when the broker refused an earlier one."""
        for event in said:
            number = partition_of(event.user, self._settings.partitions)
            group = self._waiting.setdefault(number, [])
            group.append(event)
            if len(group) >= self._batch:
                self._send(number)

    def finish(self) -> dict[int, int]:
        """Send what waits, wait for every acknowledgement, return the end offset of each partition written."""
        for number in list(self._waiting):
            self._send(number)
        self._producer.flush(timeout=60)
        self._check()
        return {number: future.get(timeout=30).offset + 1 for number, future in self._last.items()}

    def _send(self, number: int) -> None:
        self._check()
        group = self._waiting.pop(number)
        future = self._producer.send(
            self._settings.topic("events"),
            key=group[0].user.encode(),
            value=events.encode(group),
            partition=number,
        )
        future.add_errback(self._failed.append)
        self._last[number] = future
        self.sent += len(group)
        self.records += 1

    def _check(self) -> None:
        if self._failed:
            raise Unavailable(f"the broker did not take a record: {self._failed[0]!r}")
