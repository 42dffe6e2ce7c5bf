"""The slate log: what was served, on its way to Kafka after the answer has left.

A request only appends to a queue. Slates are dropped, and counted, when Kafka is away for longer than the
queue is deep: an answer never waits for its record. Where a list was shown under experiments, an event says so, the
exposure. It leaves at once, and only what the lists of other arms decide comes with the slate.
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

from api.answers import Answer, Hit
from api.exposed import Exposed
from api.exposures import ExposureLog
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


class Later(NamedTuple):
    """What comparing lists tells of an exposure: to whom, and when (ms)."""

    who: str
    at: int
    exposed: Exposed


class Served(NamedTuple):
    """An answer on its way: what it answers, and what its exposure still waits for."""

    answer: Answer | Hit
    asked: Asked | None
    later: Later | None


class SlateLog:
    """Queues answers and writes their slates in the background; `slate_of` makes the one from the other.

    `shown` gives when and under which experiments a list was shown, once for each; `exposures` takes what follows.
    """

    def __init__(
        self,
        producer: Producer,
        slate_of: Callable[[Answer | Hit], Slate],
        settings: Settings,
        metrics: Metrics,
        shown: Callable[[Answer | Hit], tuple[int, Exposed] | None],
        exposures: ExposureLog,
    ) -> None:
        self._producer = producer
        self._slate_of = slate_of
        self._shown, self._exposures = shown, exposures
        self._settings = settings
        self._metrics = metrics
        self._queue: deque[Served] = deque()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def put(self, answer: Answer | Hit, asked: Asked | None = None, who: str = "") -> None:
        """Take an answer that was served, with what it answers; what is served again needs not say it.

        `who` is the key of the events of someone without a user id: their session's.
        """
        found = self._shown(answer)
        later = None if found is None else self._expose(answer, who, *found)
        if len(self._queue) < QUEUE:
            self._queue.append(Served(answer, asked, later))
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
        await self._exposures.stop()

    async def flush(self) -> None:
        """Write what is queued, and return when Kafka has it or it is counted as dropped."""
        while self._queue:
            await self._drain()
        await self._exposures.flush()

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
                served = self._queue.popleft()
                slate = self._slate_of(served.answer)
                slate = slate if served.asked is None else msgspec.structs.replace(slate, asked=served.asked)
                records.append(self._record(slate))
                if (later := served.later) is not None and (rest := later.exposed.rest()):
                    self._exposures.put(_exposure(served.answer, later.who, later.at, rest, "-compared"))
            except Exception:
                log.exception("a slate could not be written down")
                self._metrics.slates_dropped.inc()
        records.sort(key=lambda record: record.partition)
        batches = [list(batch) for _, batch in groupby(records, key=lambda record: record.partition)]
        await asyncio.gather(*map(self._write, batches))

    async def _write(self, batch: list[Record]) -> None:
        """Write slates of one partition."""
        try:
            await self._producer.write_batch(batch, WRITE_SECONDS)
        except Unavailable:
            self._metrics.slates_dropped.inc(len(batch))
        except Exception:
            log.exception("slates could not be written")
            self._metrics.slates_dropped.inc(len(batch))
        else:
            self._metrics.slates_logged.inc(len(batch))

    def _record(self, slate: Slate) -> Record:
        key = slate.user_id.encode() if slate.user_id else None
        partition = self._partition(slate.user_id or slate.request_id)
        return Record(self._settings.topic("slates"), partition, key, slates.encode(slate))

    def _expose(self, answer: Answer | Hit, who: str, at: int, exposed: Exposed) -> Later | None:
        """Say what is certain of an exposure, and return what is not yet."""
        if not (who := (answer.first if isinstance(answer, Hit) else answer).user_id or who):
            return None
        if certain := exposed.certain():
            self._exposures.put(_exposure(answer, who, at, certain))
        return None if exposed.ask is None else Later(who, at, exposed)

    def _partition(self, key: str) -> int:
        return partition_of(key, self._settings.partitions)


def _exposure(
    answer: Answer | Hit, who: str, at: int, exposures: tuple[Exposure, ...], part: str = ""
) -> Event:
    """Return the event of a list that was shown; `who` is the key of the events of its user, or of a session."""
    request_id, first = answer.request_id, answer.first if isinstance(answer, Hit) else answer
    session = who.removeprefix(SESSION) if who.startswith(SESSION) else ""
    return Event(
        event_id=f"{EXPOSURE}-{request_id}{part}", type=EXPOSURE, at=at, user_id=None if session else who,
        session_id=session or None, request_id=request_id, surface=first.surface, value=float(len(first.items)),
        exposures=exposures,
    )  # fmt: skip
