"""The follower: reads changelogs from where its sink stands, through every absence of the broker."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from api.consumer import POLL_MS, close, consumer
from streams.changelog import Record
from streams.errors import RefoldError, SettingsError, TopologyError, Unavailable
from streams.settings import Settings
from streams.topology import partitions_of

logger = logging.getLogger(__name__)

SILENT_SECONDS = 10.0  # without an answer until the connection is made anew
RETRY_SECONDS = (0.2, 5.0)

Place = tuple[str, int]  # table, partition


class Sink(Protocol):
    """Who takes the records over."""

    def resume(self, spans: Mapping[Place, tuple[int, int]]) -> Mapping[Place, int]:
        """Return the next offset wanted of every partition, each within its span (begin, end)."""
        ...

    async def take(self, table: str, partition: int, records: Sequence[Record]) -> None:
        """Take over records in order; raises StateError when they cannot be kept."""
        ...


def followed(settings: Settings, table: str) -> list[int]:
    """Return the partitions of a table to follow, all shards of what is learned; raises SettingsError.

    >>> settings = Settings(partitions=8, shards=2, api_partitions="0-2,7")
    >>> followed(settings, "users"), followed(settings, "learned")
    ([0, 1, 2, 7], [0, 1])
    """
    if table == "learned":
        return list(range(settings.shards))
    chosen: set[int] = set()
    for part in filter(None, settings.api_partitions.replace(" ", "").split(",")):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise SettingsError(f"REFOLD_API_PARTITIONS={settings.api_partitions!r} is not like 0-3,7")
        chosen.update(range(int(first), int(last or first) + 1))
    if any(partition >= settings.partitions for partition in chosen):
        raise SettingsError(
            f"REFOLD_API_PARTITIONS={settings.api_partitions!r}: there are {settings.partitions}"
        )
    return sorted(chosen) or list(range(settings.partitions))


class Follower:
    """Follows the changelogs of some tables without a consumer group: the sink alone knows the offsets.

    `ready` turns true once everything is read that the logs held when it connected.
    """

    def __init__(self, settings: Settings, tables: Sequence[str], sink: Sink) -> None:
        self.ready = False
        self.trouble = "not started"  # why nothing is being read; empty while it is
        self._settings = settings
        self._table_of = {settings.changelog(table): table for table in tables}
        self._places = [
            TopicPartition(topic, n)
            for topic, table in self._table_of.items()
            for n in followed(settings, table)
        ]
        self._sink = sink
        self._next: dict[Any, int] = {}
        self._ends: dict[Any, int] = {}
        self._goal: dict[Any, int] = {}
        self._polled: dict[Any, int] = {}

    @property
    def connected(self) -> bool:
        """Whether the broker has answered lately."""
        return not self.trouble and self._silence(max) < SILENT_SECONDS

    def lag(self, table: str = "") -> int:
        """Return how many records, of one table or all, are known of and not yet taken over."""
        behind = (
            max(0, end - self._next.get(place, 0))
            for place, end in self._ends.items()
            if not table or self._table_of[place.topic] == table
        )
        return sum(behind)

    def staleness_ms(self) -> float:
        """Return how long ago the partition longest unheard of was last read, in ms; infinite before that."""
        return self._silence(min) * 1000.0

    async def run(self) -> None:
        """Follow until cancelled; what goes wrong with the broker or the sink is logged and tried again."""
        pause = RETRY_SECONDS[0]
        while True:
            began = time.monotonic()
            try:
                await self._follow()
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                self._say(error)  # not ours: a library gave up something of its own
            except (KafkaError, OSError, RefoldError) as error:
                self._say(error)
            except Exception as error:
                # Unforeseen, so with its trace; serving what there is still beats ending.
                logger.exception("the changelogs are not being read, trying again")
                self._say(error)
            if time.monotonic() - began > SILENT_SECONDS:
                pause = RETRY_SECONDS[0]
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_SECONDS[1])

    def _say(self, error: BaseException) -> None:
        trouble = str(error) or type(error).__name__
        if trouble != self.trouble:
            logger.warning("the changelogs are not being read, trying again: %s", trouble)
        self.trouble = trouble

    async def _follow(self) -> None:
        reader = consumer(self._settings)
        try:
            await reader.start()
            await self._connect(reader)
            self.trouble = ""
            logger.info("following %d partitions of %s", len(self._places), ", ".join(self._table_of))
            since = time.time()
            while True:
                await self._poll(reader)
                if min(self._silence(max), time.time() - since) > SILENT_SECONDS:
                    raise Unavailable(f"no answer from {self._settings.kafka} for {SILENT_SECONDS:.0f} s")
        finally:
            await close(reader)

    async def _connect(self, reader: Any) -> None:
        known = await reader.topics()
        if missing := sorted(set(self._table_of) - known):
            raise Unavailable(f"topic {missing[0]!r} is missing: run `refold topics create`")
        await reader.beginning_offsets(
            [TopicPartition(topic, 0) for topic in self._table_of]
        )  # learns the rest
        for topic, table in self._table_of.items():
            expected = partitions_of(self._settings, table)
            if (found := len(reader.partitions_for_topic(topic))) != expected:
                raise TopologyError(f"topic {topic!r} has {found} partitions, expected {expected}")
        begins = await reader.beginning_offsets(self._places)
        ends = await reader.end_offsets(self._places)
        spans = {self._place(tp): (begins[tp], ends[tp]) for tp in self._places}
        wanted = self._sink.resume(spans)
        starts = {tp: wanted[self._place(tp)] for tp in self._places}
        if any(start < self._next.get(tp, 0) for tp, start in starts.items()):
            self.ready = False  # something was wiped
        self._next = starts
        self._ends = dict(ends)
        self._goal = dict(ends)
        reader.assign(self._places)
        for tp, offset in starts.items():
            reader.seek(tp, offset)

    async def _poll(self, reader: Any) -> None:
        polled = await reader.getmany(timeout_ms=POLL_MS)
        for tp, records in polled.items():
            await self._sink.take(self._table_of[tp.topic], tp.partition, records)
        for tp in self._places:
            # The consumer's own position also passes offsets that compaction has emptied.
            self._next[tp] = await reader.position(tp)
            self._ends[tp] = max(reader.highwater(tp) or 0, self._ends[tp])
            if (stamp := reader.last_poll_timestamp(tp)) is not None:
                self._polled[tp] = stamp
        if not self.ready:
            self.ready = all(self._next[tp] >= end for tp, end in self._goal.items())

    def _silence(self, of: Any) -> float:
        if len(self._polled) < len(self._places):
            return float("inf")
        return float(time.time() - of(self._polled.values()) / 1000.0)

    def _place(self, tp: Any) -> Place:
        return self._table_of[tp.topic], tp.partition
