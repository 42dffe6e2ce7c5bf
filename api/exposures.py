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
    """Writes exposures, all of one turn of the event loop at once; nobody waits for them."""

    def __init__(self, producer: Producer, settings: Settings, metrics: Metrics) -> None:
        self._producer = producer
        self._settings = settings
        self._metrics = metrics
        self._taken: list[Event] = []
        self._writes: dict[asyncio.Task[None], int] = {}  # and how many exposures each writes
        self._waiting = 0

    def put(self, event: Event) -> None:
        """Take an exposure, in the running loop."""
        if self._waiting + len(self._taken) >= WAITING:
            self._metrics.exposures_dropped.inc()
            return
        if not self._taken:
            asyncio.get_running_loop().call_soon(self._send)
        self._taken.append(event)

    async def flush(self) -> None:
        """Return when Kafka has all that was taken, or it is counted as dropped."""
        self._send()
        if self._writes:
            await asyncio.wait(self._writes)

    async def stop(self) -> None:
        """Write what was taken, if Kafka answers soon, and end."""
        self._send()
        if not self._writes:
            return
        for write in (await asyncio.wait(self._writes, timeout=STOP_SECONDS))[1]:
            self._metrics.exposures_dropped.inc(self._writes[write])
            write.cancel()

    def _send(self) -> None:
        taken, self._taken = self._taken, []
        groups: dict[int, list[Event]] = {}
        for event in taken:
            groups.setdefault(partition_of(event.user, self._settings.partitions), []).append(event)
        topic = self._settings.topic("events")
        for number, group in groups.items():
            records = [Record(topic, number, part[0].user.encode(), value) for part, value in parts(group)]
            # a task for each: one that Kafka is slow to take must not let clicks of another partition overtake it
            write = asyncio.create_task(self._write(records, len(group)), name="exposures")
            self._writes[write] = len(group)
            self._waiting += len(group)
            write.add_done_callback(self._done)

    def _done(self, write: asyncio.Task[None]) -> None:
        self._waiting -= self._writes.pop(write)

    async def _write(self, records: list[Record], count: int) -> None:
        try:
            await self._producer.write(records, WRITE_SECONDS)
        except Unavailable:
            self._metrics.exposures_dropped.inc(count)
        except Exception:
            log.exception("exposures could not be written")
            self._metrics.exposures_dropped.inc(count)
        else:
            self._metrics.exposures_logged.inc(count)
