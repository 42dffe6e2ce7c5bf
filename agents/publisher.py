"""The publisher: the one way out of a worker, in whole batches, each acknowledged by every in-sync replica.

Faust's own producer is not used: its flush gives up after 100 ms and its lost sends are only logged.
"""

import asyncio
import ssl
import time
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer

from streams.errors import StateError
from streams.settings import Settings

Record = tuple[bytes | None, bytes | None]
MAX_BATCH = 900_000  # bytes; a broker takes 1 MiB by default
ACK_SECONDS = 30


def producer(settings: Settings) -> AIOKafkaProducer:
    """Return an idempotent producer that waits for all in-sync replicas; the caller starts and stops it."""
    client: dict[str, Any] = settings.client()
    context: ssl.SSLContext | None = client.pop("ssl_context", None)
    return AIOKafkaProducer(
        **client,
        ssl_context=context,
        acks="all",
        enable_idempotence=settings.kafka_idempotence,
        compression_type="snappy",  # aiokafka runs lz4 at level 9: 38 MB/s, this 575
        max_batch_size=MAX_BATCH,
        max_request_size=MAX_BATCH + 100_000,
        request_timeout_ms=ACK_SECONDS * 1000,
    )


class Publisher:
    """Sends lists of records to named partitions and answers with the offset of the last."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect; must be called inside the running loop."""
        self._producer = producer(self._settings)
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnect after what is buffered has been sent."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def send(self, topic: str, partition: int, records: Iterable[Record]) -> int:
        """Append records in order; return the offset of the last once all are acknowledged.

        Raises StateError when a record is larger than a batch may be, KafkaError when the broker refuses, and
        TimeoutError when it is silent.
        """
        assert self._producer is not None, "the publisher was not started"
        waiting = []
        batch = self._producer.create_batch()
        now = time.time_ns() // 1_000_000
        for key, value in records:
            if (
                len(value or b"") > MAX_BATCH
            ):  # aiokafka would take it as the first of a batch, the broker refuse it
                raise StateError(f"a record of {len(value or b'')} bytes for {topic} exceeds {MAX_BATCH}")
            if batch.append(timestamp=now, key=key, value=value) is None:
                waiting.append((batch.record_count(), await self._submit(batch, topic, partition)))
                batch = self._producer.create_batch()
                batch.append(timestamp=now, key=key, value=value)
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
