"""The flush: effects first, rows second, acknowledgement last.

Order is everything. (1) What folds said to other topics is acknowledged, (2) the changelogs acknowledge the rows,
(3) RocksDB takes rows and changelog offset in one batch, (4) the source records are acked, so that Faust may commit
them. A crash after any step replays records whose rows either miss the fold (it is folded and said again; the
receiver knows it by its origin) or have it (the row's mark skips it).

A partition's first flush claims it in its changelog (streams/changelog.py), and every flush ends with a note of the
offsets it is the fold of.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from agents.crash import die, why
from agents.table import Frozen, Partition, Table
from streams import changelog
from streams.changelog import NOBODY, NOTE
from streams.settings import Settings
from streams.topology import TABLES

Record = tuple[bytes | None, bytes | None]
Outgoing = Iterable[tuple[str, int, list[Record]]]
Headers = Sequence[tuple[str, bytes]]
MOST_HELD = 8_192  # source records folded but not acked; beyond it, or beyond so many
MOST_BYTES = 2 << 20  # bytes of them, folding waits for the flush
LONGEST = 1.0  # seconds between flushes under load
BACKLOG = 500  # records in one flush that show a log being caught up with: then rows are worth gathering
BUSY_SHARE = 4  # the pause is at least this many times the cost of the last flush
# An example changes rows of a hundred items besides its own. Where all of them are large, flushes are fewer; rows reach
# serving in less than five seconds all the same.
STEADY = 8 << 20  # bytes of rows that flushes write in a second, on average
SLOWEST = 3.0  # seconds between flushes for the sake of that


def pause_after(least: float, cost: float, written: int, *, behind: bool) -> float:
    """Return the seconds to the next flush after one that cost so many, and wrote so many bytes of rows.

    >>> pause_after(0.025, 0.01, 4096, behind=False), pause_after(1.0, 0.1, 20 << 20, behind=False)
    (0.04, 2.5)
    """
    pause = LONGEST if behind else min(max(least, BUSY_SHARE * cost), LONGEST)
    return max(pause, min(written / STEADY, SLOWEST))


class Sender(Protocol):
    """Publishes records to a named partition and answers with the last offset (agents/publisher.py)."""

    async def send(self, topic: str, partition: int, records: Iterable[Record], headers: Headers = ()) -> int:
        """Return the offset of the last record, each with these headers, once all are acknowledged."""
        ...


class Flusher:
    """Flushes the tables of one agent; `say` yields what its folds want to tell other topics."""

    def __init__(
        self,
        settings: Settings,
        sender: Sender,
        tables: list[Table[Any]],
        say: Callable[[], Outgoing],
        pause: float,
    ) -> None:
        self._settings = settings
        self._sender = sender
        self._tables = tables
        self._say = say
        self._pause = pause
        sources = {one.name: one.sources for one in TABLES}
        self._feeds = {
            settings.topic(source): (source, [table for table in tables if source in sources[table.name]])
            for source in {name for each in sources.values() for name in each}
        }
        self.done = 0  # records folded and flushes made, for the watchdog
        self.flushing: float | None = None  # since when, by the monotonic clock
        self._failed: Exception | None = None
        self._held: list[Any] = []
        self._bytes = 0
        self._written = 0  # bytes of rows in the last flush
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._taken = asyncio.Event()

    def hold(self, event: Any) -> None:
        """Keep a folded source record until its effects and rows are safe."""
        message = event.message
        self.done += 1
        self._held.append(event)
        self._bytes += len(message.value or b"")
        source, fed = self._feeds[message.topic]
        for table in fed:
            table.partition(message.partition).reach(source, message.offset + 1)

    @property
    def full(self) -> bool:
        """Tell whether folding should wait for a flush."""
        return len(self._held) >= MOST_HELD or self._bytes >= MOST_BYTES

    @property
    def due(self) -> bool:
        """Tell whether a flush would publish or ack anything."""
        return bool(self._held) or any(table.dirty() for table in self._tables)

    async def room(self) -> None:
        """Wait until the next flush has taken what is held; folding then goes on while it is published."""
        self._wake.set()
        self._taken.clear()
        await self._taken.wait()

    async def flush(self) -> None:
        """Publish everything folded so far and ack it; raises what the broker or RocksDB raised, ever after too."""
        async with self._lock:
            if self._failed is not None:
                raise self._failed
            self.flushing = time.monotonic()
            try:
                await self._flush()
            except Exception as error:
                self._failed = error  # what was frozen is half out, so nothing may follow it
                raise
            self.flushing = None
            self.done += 1

    async def _flush(self) -> None:
        held, self._held, self._bytes = self._held, [], 0
        said = list(self._say())
        changed = [
            (self._settings.changelog(table.name), partition, partition.freeze())
            for table in self._tables
            for partition in table.dirty()
        ]
        self._taken.set()
        self._written = sum(len(row or b"") for _, _, rows in changed for row in rows.values())
        await asyncio.gather(*(self._sender.send(*outgoing) for outgoing in said))
        await asyncio.gather(*(self._publish(*flushed) for flushed in changed))
        for _, partition, _ in changed:
            partition.store(partition.end)
        for event in held:
            event.ack()

    async def _publish(self, topic: str, partition: Partition[Any], rows: Frozen) -> None:
        number = partition.number
        if partition.owner == NOBODY:
            partition.claimed(await self._sender.send(topic, number, [(NOTE, partition.claim())]))
        records = [*rows.items(), (NOTE, partition.note())]
        last = await self._sender.send(topic, number, records, changelog.headers(partition.owner))
        partition.wrote(len(records), last)

    async def run(self) -> None:
        """Flush for ever: every `pause` seconds, less often when flushing itself costs time."""
        pause = self._pause
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if self.due:
                started, behind = time.perf_counter(), len(self._held) > BACKLOG
                try:
                    await asyncio.shield(self.flush())
                except Exception as error:  # noqa: BLE001 - any failure here means state is not safe
                    die(f"a flush failed: {why(error)}; the records since the last one will be folded again")
                cost = time.perf_counter() - started
                pause = pause_after(self._pause, cost, self._written, behind=behind)
