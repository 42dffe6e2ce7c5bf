"""The log as it is folded: one topic partition in order, in batches, without a hole, past its archives too.

An archive (`streams/archives.py`) holds the beginning of a topic under another name, each record with the offset
it once had; what follows it is still in the topic itself.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams import archives
from streams.errors import StateError, TopologyError, Unavailable
from streams.settings import Settings
from streams.topology import TOPICS

FETCH_BYTES = 8 << 20
BATCH = 5_000  # records
SILENT_SECONDS = 30.0
COMPACTED = {topic.name for topic in TOPICS if topic.cleanup == "compact"}


@dataclass(slots=True)
class Record:
    """One record of the log, as agents take it; `timestamp` in seconds, `offset` as it was first written."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: float
    headers: Sequence[tuple[str, bytes]] = ()


class Log:
    """Reads topics of the topology; a context manager over one connection, for one thread.

    Raises TopologyError where a topic is missing, StateError where records are, Unavailable without a broker.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runner = asyncio.Runner()
        self._consumer: Any = None
        self._archives: Mapping[str, archives.Archive] = {}

    def __enter__(self) -> Self:
        self._archives = archives.load(self._settings)
        self._runner.__enter__()
        try:
            self._run(self._start())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._consumer is not None:
                self._run(self._consumer.stop())
        finally:
            self._runner.close()

    def spans(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return the first offset and the end of each partition, archives included."""
        found = self._spans(self._settings.topic(topic))
        archive = self._archives.get(self._settings.topic(topic))
        if archive is None:
            return found
        return {n: (0 if archive.until.get(n) else begin, end) for n, (begin, end) in found.items()}

    def positions_at(self, topic: str, at: int) -> dict[int, int]:
        """Return, by partition, the offset of the first record written after `at` (ms), the end if there is none."""
        name = self._settings.topic(topic)
        places = {TopicPartition(name, n): at + 1 for n in range(self._settings.partitions)}
        found = self._run(self._consumer.offsets_for_times(places))
        ends = self.spans(topic)
        positions = {
            tp.partition: ends[tp.partition][1] if o is None else o.offset for tp, o in found.items()
        }
        archive = self._archives.get(name)
        if archive is not None:
            positions = {n: archive.position_at(n, at, position) for n, position in positions.items()}
        return positions

    def read(
        self, topic: str, partition: int, start: int = 0, end: int | None = None
    ) -> Iterator[list[Record]]:
        """Yield records `start` to `end` (without it: the end there is now) of a partition, in batches.

        Raises StateError when the log has a hole: only a compacted topic may lack offsets.
        """
        name = self._settings.topic(topic)
        begin, last = self._spans(name)[partition]
        end = last if end is None else end
        if end > last:
            raise StateError(
                f"{name}[{partition}] ends at {last}, offset {end} was asked for: the topic was cut"
            )
        archive = self._archives.get(name)
        if archive is not None and start < (until := archive.until.get(partition, 0)):
            for batch in self._archived(name, archive, partition):
                kept = [record for record in batch if start <= record.offset < end]
                if kept:
                    yield kept
            start = until
        strict = topic not in COMPACTED
        if strict and start < begin and start < end:
            raise StateError(
                f"{name}[{partition}] begins at offset {begin}: records {start} to {begin - 1} are gone; "
                "`refold import` an export that holds them, or fold nothing from before"
            )
        yield from self._between(name, partition, max(start, begin), end, strict)

    def changelog(self, table: str, partition: int, end: int | None = None) -> Iterator[list[Record]]:
        """Yield the records of a table's changelog up to `end` (without it: the end there is now), in batches."""
        name = self._settings.changelog(table)
        begin, last = self._spans(name)[partition]
        yield from self._between(
            name, partition, begin, last if end is None else min(end, last), strict=False
        )

    def _between(
        self, name: str, partition: int, start: int, end: int, strict: bool
    ) -> Iterator[list[Record]]:
        if start >= end:
            return
        place = TopicPartition(name, partition)
        self._consumer.assign([place])
        self._consumer.seek(place, start)
        expected, heard = start, time.monotonic()
        while expected < end:
            polled = self._run(self._consumer.getmany(place, timeout_ms=1_000, max_records=BATCH)).get(place)
            if not polled:
                # compaction may have emptied the last offsets; the position passes them
                if not strict and self._run(self._consumer.position(place)) >= end:
                    return
                if time.monotonic() - heard > SILENT_SECONDS:
                    raise Unavailable(f"{name}[{partition}] was not read to its end: the broker fell silent")
                continue
            heard = time.monotonic()
            batch = []
            for record in polled:
                if record.offset >= end:
                    expected = end
                    break
                if strict and record.offset != expected:
                    raise StateError(
                        f"{name}[{partition}] has a hole: offset {expected} is followed by {record.offset}; "
                        "`refold import` an export that holds what is missing"
                    )
                expected = record.offset + 1
                batch.append(
                    Record(
                        name, partition, record.offset, record.key, record.value,
                        record.timestamp / 1000, record.headers,
                    )
                )  # fmt: skip
            if batch:
                yield batch

    def _archived(self, name: str, archive: archives.Archive, partition: int) -> Iterator[list[Record]]:
        begin, end = self._spans(archive.topic)[partition]
        for batch in self._between(archive.topic, partition, begin, end, strict=True):
            for record in batch:
                record.topic = name
                record.offset = archives.offset_of(record.headers)
            yield batch

    def _spans(self, name: str) -> dict[int, tuple[int, int]]:
        numbers = self._run(self._partitions(name))
        if not numbers:
            raise TopologyError(f"topic {name!r} is missing: run `refold topics create`")
        places = [TopicPartition(name, n) for n in numbers]
        begins = self._run(self._consumer.beginning_offsets(places))
        ends = self._run(self._consumer.end_offsets(places))
        return {tp.partition: (begins[tp], ends[tp]) for tp in places}

    async def _partitions(self, name: str) -> Iterable[int]:
        if name not in await self._consumer.topics():
            return []
        await self._consumer.beginning_offsets([TopicPartition(name, 0)])  # learns the others
        return sorted(self._consumer.partitions_for_topic(name) or ())

    async def _start(self) -> None:
        self._consumer = AIOKafkaConsumer(
            **self._settings.client(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=100,
        )
        await self._consumer.start()

    def _run(self, asked: Any) -> Any:
        async def wait() -> Any:
            return await asked

        try:
            return self._runner.run(wait())
        except KafkaError as error:
            raise Unavailable(
                f"Kafka at {self._settings.kafka!r} does not answer as it should: {error}"
            ) from error
