"""The connection to Kafka: every record acknowledged by all in-sync replicas, in order, once.

It connects in the background and again after a fatal error, so that the API starts, and reads, without Kafka.
A record that was not acknowledged in time stays with the client, which goes on trying; until that ends its
partition is closed to new records, so that memory stays bounded and the order of a partition holds.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from api.producer import MAX_RECORD, InDoubt, Record
from streams.errors import Unavailable
from streams.producer import producer
from streams.settings import Settings
from streams.topology import TOPICS

log = logging.getLogger("refold.api")
REQUEST_SECONDS = 5  # until a silent broker is asked again
STOP_SECONDS = 3
BACKOFF_SECONDS = 1.0
# With these a broker has written nothing; after any other error, a lost connection say, nobody knows.
REFUSALS = (
    InvalidTopicError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)


class KafkaProducer:
    """A Producer that keeps its connection; see the module."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: AIOKafkaProducer | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stuck: Counter[tuple[str, int]] = Counter()

    @property
    def connected(self) -> bool:
        """Whether there is a connection, and no partition that fails to acknowledge."""
        return self._client is not None and not self._stuck

    async def start(self) -> None:
        """Begin to connect; returns at once."""
        self._keeper = asyncio.create_task(self._keep(), name="producer")

    async def stop(self) -> None:
        """Send what is buffered, for a few seconds at most, and disconnect."""
        if self._client is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self._client.flush()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])

    async def write(self, records: Sequence[Record], seconds: float) -> list[int]:
        """Return the offset of each record once all are acknowledged; see Producer."""
        client = self._ready(records)
        ends = asyncio.get_running_loop().time() + seconds
        futures: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout_at(ends):
                for record in records:
                    sent = await client.send(record.topic, record.value, record.key, record.partition)
                    futures.append(sent)  # what was sent before an error must be known
        except (TimeoutError, KafkaError, AssertionError) as error:
            await self._settle(records, futures, ends, error)
        await self._settle(records, futures, ends)
        return [future.result().offset for future in futures]

    async def write_batch(self, records: Sequence[Record], seconds: float) -> None:
        """Write records of one topic and partition as one batch."""
        client = self._ready(records[:1])
        ends = asyncio.get_running_loop().time() + seconds
        now = time.time_ns() // 1_000_000
        topic, partition = records[0].topic, records[0].partition
        rest = iter(records)
        futures: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout_at(ends):
                batch = client.create_batch()
                for record in rest:
                    if batch.append(timestamp=now, key=record.key, value=record.value) is None:
                        futures.append(await client.send_batch(batch, topic, partition=partition))
                        batch = client.create_batch()
                        batch.append(timestamp=now, key=record.key, value=record.value)
                batch.close()
                futures.append(await client.send_batch(batch, topic, partition=partition))
        except (TimeoutError, KafkaError, AssertionError) as error:
            await self._settle(records[:1], futures, ends, error)
        await self._settle([records[0]] * len(futures), futures, ends)

    def _ready(self, records: Sequence[Record]) -> AIOKafkaProducer:
        if self._client is None:
            raise Unavailable("Kafka cannot be reached; nothing was written")
        for record in records:
            if (record.topic, record.partition) in self._stuck:
                raise Unavailable(f"Kafka does not acknowledge {record.topic}; nothing was written")
        return self._client

    async def _settle(
        self,
        records: Sequence[Record],
        futures: list[asyncio.Future[Any]],
        ends: float,
        cause: BaseException | None = None,
    ) -> None:
        """Wait for the futures until `ends`; raise unless all of the records are acknowledged."""
        late = max(0.0, ends - asyncio.get_running_loop().time())
        waiting = (await asyncio.wait(futures, timeout=late))[1] if futures else set()
        for record, future in zip(records, futures, strict=False):
            if future in waiting:
                self._watch(record, future)
        failed = [error for future in futures if future.done() and (error := future.exception())]
        if cause is None and not waiting and not failed:
            return
        said = _said(cause or next(iter(failed), None))
        if sum(isinstance(error, REFUSALS) for error in failed) == len(
            futures
        ):  # of what left us, if any did
            raise Unavailable(f"{said}; nothing was written")
        raise InDoubt(f"{said}; an unknown part may have been written, or will be")

    def _watch(self, record: Record, future: asyncio.Future[Any]) -> None:
        """Close the partition until Kafka has answered for the record."""
        place = (record.topic, record.partition)
        if not self._stuck:
            log.warning("Kafka does not acknowledge; records are refused until it does")
        self._stuck[place] += 1

        def answered(done: asyncio.Future[Any]) -> None:
            if not done.cancelled():
                done.exception()  # nobody waits for it any more
            self._stuck[place] -= 1
            if self._stuck[place] <= 0:
                del self._stuck[place]
                if not self._stuck:
                    log.info("Kafka has answered for every record again")

        future.add_done_callback(answered)

    async def _keep(self) -> None:
        told = False
        while True:
            client = producer(self._settings, MAX_RECORD, REQUEST_SECONDS)
            try:
                await client.start()
                await client.client.set_topics([self._settings.topic(topic.name) for topic in TOPICS])
                self._client, told = client, False
                log.info("writing to Kafka at %s", self._settings.kafka)
                await asyncio.wait([client._sender.sender_task])  # noqa: SLF001 - ends on a fatal error only
                log.error("the connection to Kafka failed for good; connecting again")
            except (KafkaError, OSError) as error:
                if not told:
                    log.warning("Kafka at %s cannot be reached: %s; trying on", self._settings.kafka, error)
                told = True
            finally:
                self._client = None
                await _close(client)
            await asyncio.sleep(BACKOFF_SECONDS)


def _said(error: BaseException | None) -> str:
    if isinstance(error, AssertionError):
        return "Kafka has other partitions than REFOLD_PARTITIONS says: see `refold topics check`"
    if isinstance(error, KafkaError):
        return f"Kafka: {error!r}"
    return "Kafka did not acknowledge in time"


async def _close(client: AIOKafkaProducer) -> None:
    """Close without waiting for a broker that may never come back, which `client.stop` would do."""
    client._closed = True  # noqa: SLF001
    sender = client._sender  # noqa: SLF001
    if sender.sender_task is not None:
        sender.sender_task.cancel()
    await client.client.close()
    with contextlib.suppress(KafkaError, asyncio.CancelledError, TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await sender.close()
    if client._message_accumulator._batches or client._message_accumulator._pending_batches:  # noqa: SLF001
        client._message_accumulator.fail_all(KafkaError("the connection was closed"))  # noqa: SLF001
