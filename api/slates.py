"""The slate log: what was served, on its way to Kafka after the answer has left.

A request only appends to a queue. Slates are dropped, and counted, when Kafka is away for longer than the
queue is deep: an answer never waits for its record. Where a list was shown under experiments, an event says so: the
exposure, written behind its slate to the partition of the user.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from itertools import groupby
from time import perf_counter
from typing import NamedTuple

import msgspec
from prometheus_client import Counter

from api.answers import Answer, Hit
from api.ingest import parts
from api.metrics import Metrics
from api.producer import Producer, Record
from streams import slates
from streams.errors import Unavailable
from streams.events import SESSION, Event
from streams.exposures import EXPOSURE, Exposure
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


class Served(NamedTuple):
    """An answer on its way: what it answers, and the key of its user's events, "" for someone without any."""

    answer: Answer | Hit
    asked: Asked | None
    who: str


class SlateLog:
    """Queues answers and writes their slates in the background; `slate_of` makes the one from the other.

    `exposures_of` gives, by request id, the experiments that a list was shown under; once for each.
    """

    def __init__(
        self,
        producer: Producer,
        slate_of: Callable[[Answer | Hit], Slate],
        settings: Settings,
        metrics: Metrics,
        exposures_of: Callable[[str], tuple[Exposure, ...]] = lambda _: (),
    ) -> None:
        self._producer = producer
        self._slate_of = slate_of
        self._exposures_of = exposures_of
        self._settings = settings
        self._metrics = metrics
        self._queue: deque[Served] = deque()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def put(self, answer: Answer | Hit, asked: Asked | None = None, who: str = "") -> None:
        """Take an answer that was served, with what it answers; what is served again needs not say it.

        `who` is the key of the events of someone without a user id: their session's.
        """
        if len(self._queue) < QUEUE:
            self._queue.append(Served(answer, asked, who))
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

    async def flush(self) -> None:
        """Write what is queued, and return when Kafka has it or it is counted as dropped."""
        while self._queue:
            await self._drain()

    async def _run(self) -> None:
        while not self._stopping:
            await asyncio.sleep(TICK_SECONDS)
            while self._queue and self._producer.connected:
                await self._drain()

    async def _drain(self) -> None:
        records: list[Record] = []
        exposed: dict[int, list[Event]] = {}
        ends = perf_counter() + TURN_SECONDS
        while self._queue and len(records) < CHUNK and perf_counter() < ends:
            try:
                served = self._queue.popleft()
                slate = self._slate_of(served.answer)
                slate = slate if served.asked is None else msgspec.structs.replace(slate, asked=served.asked)
                records.append(self._record(slate))
                if (event := self._exposure(served, slate)) is not None:
                    exposed.setdefault(self._partition(event.user), []).append(event)
            except Exception:
                log.exception("a slate could not be written down")
                self._metrics.slates_dropped.inc()
        records.sort(key=lambda record: record.partition)
        batches = [list(batch) for _, batch in groupby(records, key=lambda record: record.partition)]
        await self._write(
            [(batch, len(batch)) for batch in batches],
            self._metrics.slates_logged,
            self._metrics.slates_dropped,
        )
        topic = self._settings.topic("events")
        events = [
            (
                [Record(topic, number, said[0].user.encode(), value) for said, value in parts(group)],
                len(group),
            )
            for number, group in exposed.items()
        ]
        await self._write(events, self._metrics.exposures_logged, self._metrics.exposures_dropped)

    async def _write(
        self, batches: list[tuple[list[Record], int]], logged: Counter, dropped: Counter
    ) -> None:
        """Write batches, each of one partition, and count what each of them holds."""
        done = await asyncio.gather(
            *(self._producer.write_batch(batch, WRITE_SECONDS) for batch, _ in batches),
            return_exceptions=True,
        )
        for (batch, count), error in zip(batches, done, strict=True):
            if error is None:
                logged.inc(count)
                continue
            dropped.inc(count)
            if not isinstance(error, Unavailable):
                log.error("%s could not be written", batch[0].topic, exc_info=error)

    def _record(self, slate: Slate) -> Record:
        key = slate.user_id.encode() if slate.user_id else None
        partition = self._partition(slate.user_id or slate.request_id)
        return Record(self._settings.topic("slates"), partition, key, slates.encode(slate))

    def _exposure(self, served: Served, slate: Slate) -> Event | None:
        """Return the event of a list that was shown under experiments, None where it was not, or to nobody known."""
        who, answer = slate.user_id or served.who, served.answer
        exposures = self._exposures_of(slate.request_id)
        if not exposures or not who:
            return None
        session = who.removeprefix(SESSION) if who.startswith(SESSION) else ""
        items = answer.first.items if isinstance(answer, Hit) else answer.items
        return Event(
            event_id=f"{EXPOSURE}-{slate.request_id}", type=EXPOSURE, at=slate.at, user_id=None if session else who,
            session_id=session or None, request_id=slate.request_id, surface=slate.surface, value=float(len(items)),
            exposures=exposures,
        )  # fmt: skip

    def _partition(self, key: str) -> int:
        return partition_of(key, self._settings.partitions)
