"""The slate log: what was served, on its way to Kafka after the answer has left.

A request only appends to a queue. Slates are dropped, and counted, when Kafka is away for longer than the
queue is deep: an answer never waits for its record.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from itertools import groupby
from time import perf_counter

import msgspec

from api.answers import Answer
from api.engine import Hit
from api.metrics import Metrics
from api.producer import Producer, Record
from streams import slates
from streams.errors import Unavailable
from streams.partition import partition_of
from streams.settings import Settings
from streams.slates import Asked, Slate

log = logging.getLogger("refold.api")
QUEUE = 20_000
TICK_SECONDS = 0.02
CHUNK = 500  # slates of one write
TURN_SECONDS = 0.002  # of encoding, before requests have their turn again
WRITE_SECONDS = 10.0
STOP_SECONDS = 3.0


class SlateLog:
    """Queues answers and writes their slates in the background; `slate_of` makes the one from the other."""

    def __init__(
        self,
        producer: Producer,
        slate_of: Callable[[Answer | Hit], Slate],
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._producer = producer
        self._slate_of = slate_of
        self._settings = settings
        self._metrics = metrics
        self._queue: deque[tuple[Answer | Hit, Asked | None]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def put(self, answer: Answer | Hit, asked: Asked | None = None) -> None:
        """Take an answer that was served, with what it answers; what is served again needs not say it."""
        if len(self._queue) < QUEUE:
            self._queue.append((answer, asked))
        else:
            self._metrics.slates_dropped.inc()

    async def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="slates")

    async def stop(self) -> None:
        """Write what is queued, if Kafka answers soon, and end."""
        self._stopping = True
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self._task
        self._metrics.slates_dropped.inc(len(self._queue))

    async def _run(self) -> None:
        while not self._stopping:
            await asyncio.sleep(TICK_SECONDS)
            while self._queue and self._producer.connected:
                await self._drain()

    async def _drain(self) -> None:
        records: list[Record] = []
        ends = perf_counter() + TURN_SECONDS
        while self._queue and len(records) < CHUNK and perf_counter() < ends:
            try:
                answer, asked = self._queue.popleft()
                slate = self._slate_of(answer)
                slate = slate if asked is None else msgspec.structs.replace(slate, asked=asked)
                records.append(self._record(slate))
            except Exception:
                log.exception("a slate could not be written down")
                self._metrics.slates_dropped.inc()
        records.sort(key=lambda record: record.partition)
        batches = [list(batch) for _, batch in groupby(records, key=lambda record: record.partition)]
        done = await asyncio.gather(
            *(self._producer.write_batch(batch, WRITE_SECONDS) for batch in batches), return_exceptions=True
        )
        for batch, error in zip(batches, done, strict=True):
            if error is None:
                self._metrics.slates_logged.inc(len(batch))
            elif isinstance(error, Unavailable):
                self._metrics.slates_dropped.inc(len(batch))
            else:
                log.error("slates could not be written", exc_info=error)
                self._metrics.slates_dropped.inc(len(batch))

    def _record(self, slate: Slate) -> Record:
        partition = partition_of(slate.user_id or slate.request_id, self._settings.partitions)
        key = slate.user_id.encode() if slate.user_id else None
        return Record(self._settings.topic("slates"), partition, key, slates.encode(slate))
