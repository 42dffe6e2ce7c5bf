"""The exposure log: who was shown what under experiments, on its way to Kafka before its reader can act on it.

Exposures go to the producer that clients' events go to, in the turn of the event loop after that of the answer: what a
client sends this process about a list stands behind its exposure. They are dropped, and counted, when Kafka is away.
"""

import asyncio
import logging

from api.ingest import parts
from api.metrics import Metrics
from api.producer import Producer, Record
from streams.errors import Unavailable
from streams.events import Event
from streams.partition import partition_of
from streams.settings import Settings

log = logging.getLogger("refold.api")
WAITING = 20_000  # exposures that Kafka has not acknowledged yet
WRITE_SECONDS = 10.0
STOP_SECONDS = 3.0


class ExposureLog:
    """Writes exposures, a record for those of a partition in one turn of the event loop; nobody waits for them."""

    def __init__(self, producer: Producer, settings: Settings, metrics: Metrics) -> None:
        self._producer = producer
        self._settings = settings
        self._metrics = metrics
        self._taken: dict[int, list[Event]] = {}  # by partition, until their write begins
        self._writes: dict[asyncio.Task[None], list[Event]] = {}
        self._waiting = 0

    def put(self, event: Event) -> None:
        """Take an exposure, in the running loop."""
        if self._waiting >= WAITING:
            self._metrics.exposures_dropped.inc()
            return
        self._waiting += 1
        number = partition_of(event.user, self._settings.partitions)
        if number not in self._taken:
            self._taken[number] = []
            # a task for each: one that Kafka is slow to take must not let clicks of another partition overtake it; and
            # at once: the click that answers may be read in this very turn, and its task would begin before
            write = asyncio.create_task(self._write(number), name="exposures")
            self._writes[write] = self._taken[number]
            write.add_done_callback(self._done)
        self._taken[number].append(event)

    async def flush(self) -> None:
        """Return when Kafka has all that was taken, or it is counted as dropped."""
        if self._writes:
            await asyncio.wait(self._writes)

    async def stop(self) -> None:
        """Write what was taken, if Kafka answers soon, and end."""
        if not self._writes:
            return
        for write in (await asyncio.wait(self._writes, timeout=STOP_SECONDS))[1]:
            self._metrics.exposures_dropped.inc(len(self._writes[write]))
            write.cancel()

    def _done(self, write: asyncio.Task[None]) -> None:
        self._waiting -= len(self._writes.pop(write))

    async def _write(self, number: int) -> None:
        group = self._taken.pop(number)
        topic = self._settings.topic("events")
        try:
            records = [Record(topic, number, part[0].user.encode(), value) for part, value in parts(group)]
            await self._producer.write(records, WRITE_SECONDS)
        except Unavailable:
            self._metrics.exposures_dropped.inc(len(group))
        except Exception:
            log.exception("exposures could not be written")
            self._metrics.exposures_dropped.inc(len(group))
        else:
            self._metrics.exposures_logged.inc(len(group))
