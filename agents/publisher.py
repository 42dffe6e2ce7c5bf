"""The publisher: the one way out of a worker, in whole batches, each acknowledged by every in-sync replica.

Faust's own producer is not used: its flush gives up after 100 ms and its lost sends are only logged.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer

from agents.flush import Headers, Record
from streams.errors import StateError
from streams.producer import producer
from streams.settings import Settings

MAX_BATCH = 900_000  # bytes; a broker takes 1 MiB by default
ACK_SECONDS = 30


class Publisher:
    """Sends lists of records to named partitions and answers with the offset of the last."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect; must be called inside the running loop."""
        self._producer = producer(self._settings, MAX_BATCH, ACK_SECONDS)
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnect after what is buffered has been sent."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def send(self, topic: str, partition: int, records: Iterable[Record], headers: Headers = ()) -> int:
        """Append records in order, each with the headers; return the offset of the last once all are acknowledged.

        Raises StateError when a record is larger than a batch may be, KafkaError when the broker refuses, and
        TimeoutError when it is silent.
        """
        assert self._producer is not None, "the publisher was not started"
        waiting, beside = [], list(headers)
        batch = self._producer.create_batch()
        now = time.time_ns() // 1_000_000
        for key, value in records:
            if (
                len(value or b"") > MAX_BATCH
            ):  # aiokafka would take it as the first of a batch, the broker refuse it
                raise StateError(f"a record of {len(value or b'')} bytes for {topic} exceeds {MAX_BATCH}")
            if batch.append(timestamp=now, key=key, value=value, headers=beside) is None:
                waiting.append((batch.record_count(), await self._submit(batch, topic, partition)))
                batch = self._producer.create_batch()
                batch.append(timestamp=now, key=key, value=value, headers=beside)
        if batch.record_count():
            waiting.append((batch.record_count(), await self._submit(batch, topic, partition)))
        last = -1
        async with asyncio.timeout(ACK_SECONDS):
            for count, future in waiting:
                last = (await future).offset + count - 1
        return last

    async def _submit(self, batch: Any, topic: str, partition: int) -> Any:
        batch.close()
        return await self._producer.send_batch(batch, topic, partition=partition)  # type: ignore[union-attr]
