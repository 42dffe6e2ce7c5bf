"""The log as it is folded: one topic partition in order, in batches, without a hole, past its archives too.

An archive (`streams/archives.py`) holds the beginning of a topic under another name, at the same offsets; what
follows it is still in the topic itself.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams import archives
from streams.client import Client
from streams.errors import StateError, TopologyError, Unavailable
from streams.settings import Settings
from streams.topology import TOPICS

FETCH_BYTES = 8 << 20
BATCH = 5_000  # records
SILENT_SECONDS = 30.0
COMPACTED = {topic.name for topic in TOPICS if topic.cleanup == "compact"}


@dataclass(slots=True)
class Record:
    """One record of the log, as agents take it; `timestamp` in seconds."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: float
    headers: Sequence[tuple[str, bytes]] = ()


class Log:
    """Reads topics of the topology; a context manager over one connection, for one thread.

    `through` are the archives to read through, by default those that are recorded. Raises TopologyError where a
    topic is missing, StateError where records are, Unavailable without a broker.
    """

    def __init__(self, settings: Settings, through: Mapping[str, archives.Archive] | None = None) -> None:
        self._settings = settings
        self._client = Client(settings, self._make)
        self._through = through
        self._archives: Mapping[str, archives.Archive] = {}
        self._numbers: dict[str, list[int]] = {}
        self._reader = object()  # whose place the consumer stands at

    def __enter__(self) -> Self:
        self._archives = archives.load(self._settings) if self._through is None else self._through
        self._client.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.__exit__()

    def spans(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return the first offset and the end of each partition, archives included."""
        name = self._settings.topic(topic)
        found, archive = self._spans(name), self._archives.get(name)
        if archive is None:
            return found
        held = self._spans(archive.topic)
        return {n: (held[n][0] if archive.until.get(n) else begin, end) for n, (begin, end) in found.items()}

    def positions_at(self, topic: str, at: int) -> dict[int, int]:
        """Return, by partition, the offset of the first record written after `at` (ms), the end if there is none."""
        name = self._settings.topic(topic)
        archive = self._archives.get(name)
        found, ends = self._positions_at(name, at), self._spans(name)
        positions = {n: ends[n][1] if offset is None else offset for n, offset in found.items()}
        if archive is not None:
            for n, offset in self._positions_at(archive.topic, at).items():
                until = archive.until.get(n, 0)
                if offset is not None and offset < until:
                    positions[n] = offset
                else:
                    positions[n] = max(positions[n], until)
        return positions

    def read(
        self, topic: str, partition: int, start: int = 0, end: int | None = None
    ) -> Iterator[list[Record]]:
        """Yield records `start` to `end` (without it: the end there is now) of a partition, in batches.

        Several may be read in turns, batch by batch. Blank records, which only hold a place, are left out. Raises
        StateError when the log has a hole: only a compacted topic may lack offsets.
        """
        name = self._settings.topic(topic)
        end = self._spans(name)[partition][1] if end is None else end
        strict = topic not in COMPACTED
        archive = self._archives.get(name)
        until = 0 if archive is None else archive.until.get(partition, 0)
        if archive is not None and start < min(until, end):
            yield from self._whole(archive.topic, name, partition, start, min(until, end), strict=strict)
        yield from self._whole(name, name, partition, max(start, until), end, strict=strict)

    def _whole(
        self, name: str, known_as: str, partition: int, start: int, end: int, *, strict: bool
    ) -> Iterator[list[Record]]:
        begin, last = self._spans(name)[partition]
        if end > last:
            raise StateError(
                f"{name}[{partition}] ends at {last}, offset {end} was asked for: the topic was cut"
            )
        if strict and start < begin and start < end:
            raise StateError(
                f"{name}[{partition}] begins at offset {begin}: records {start} to {begin - 1} are gone; "
                "`refold import` an export that holds them, or fold nothing from before"
            )
        for batch in self._between(name, partition, max(start, begin), end, strict):
            kept = [record for record in batch if not (record.headers and archives.blank(record))]
            if kept:
                if name != known_as:
                    for record in kept:
                        record.topic = known_as
                yield kept

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
        place, reader = TopicPartition(name, partition), object()
        expected, heard = start, time.monotonic()
        while expected < end:
            if self._reader is not reader:  # another one came between, or we begin
                self._client.run(self._go_to(place, expected))
                self._reader, heard = reader, time.monotonic()
            polled = self._client.run(
                self._client.made.getmany(place, timeout_ms=1_000, max_records=BATCH)
            ).get(place)
            if not polled:
                # compaction may have emptied the last offsets; the position passes them
                if not strict and self._client.run(self._client.made.position(place)) >= end:
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

    def _positions_at(self, name: str, at: int) -> dict[int, int | None]:
        places = {TopicPartition(name, n): at + 1 for n in self._client.run(self._partitions(name))}
        found = self._client.run(self._client.made.offsets_for_times(places))
        return {tp.partition: None if o is None else o.offset for tp, o in found.items()}

    def _spans(self, name: str) -> dict[int, tuple[int, int]]:
        numbers = self._client.run(self._partitions(name))
        if not numbers:
            raise TopologyError(f"topic {name!r} is missing: run `refold topics create`")
        places = [TopicPartition(name, n) for n in numbers]
        begins = self._client.run(self._client.made.beginning_offsets(places))
        ends = self._client.run(self._client.made.end_offsets(places))
        return {tp.partition: (begins[tp], ends[tp]) for tp in places}

    async def _partitions(self, name: str) -> Iterable[int]:
        if name not in self._numbers:  # which asks for the metadata of every topic there is
            if name not in await self._client.made.topics():
                return []
            await self._client.made.beginning_offsets([TopicPartition(name, 0)])  # learns the others
            self._numbers[name] = sorted(self._client.made.partitions_for_topic(name) or ())
        return self._numbers[name]

    async def _go_to(self, place: Any, offset: int) -> None:
        self._client.made.assign([place])
        self._client.made.seek(place, offset)

    def _make(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._settings.client(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=10,  # questions wait behind a fetch that waits for what is not there
        )
