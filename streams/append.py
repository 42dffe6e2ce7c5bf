"""Append records as they are, with key, time and headers, each at its own offset of a topic that is written anew."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Self

from streams import archives
from streams.client import Client
from streams.errors import StateError
from streams.log import Record
from streams.producer import producer
from streams.settings import Settings

MAX_BATCH = 900_000  # bytes; a broker takes 1 MiB by default
ACK_SECONDS = 30
CHUNK_RECORDS, CHUNK_BYTES = 5_000, 8 << 20  # acknowledged together


def blank(record: Record) -> Record:
    """Return what holds the place of a record."""
    return replace(record, key=None, value=None, headers=archives.HEADERS)


def filled(
    records: Iterable[Record], topic: str, partition: int, start: int, end: int, key: bytes | None = None
) -> Iterator[Record]:
    """Yield a record for every offset from `start` to `end`: those given, in order, and blank ones between them.

    A blank one has this key, and the time of the record before it.
    """
    time = 0.0
    for record in records:
        for offset in range(start, record.offset):
            yield Record(topic, partition, offset, key, None, time, archives.HEADERS)
        yield record
        start, time = record.offset + 1, record.timestamp
    for offset in range(start, end):
        yield Record(topic, partition, offset, key, None, time, archives.HEADERS)


class Appender:
    """Writes to topics named as the broker knows them; a context manager over one connection, for one thread."""

    def __init__(self, settings: Settings) -> None:
        self._client = Client(settings, lambda: producer(settings, MAX_BATCH, ACK_SECONDS))

    def __enter__(self) -> Self:
        self._client.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.__exit__()

    def append(
        self,
        topic: str,
        partition: int,
        records: Iterable[Record],
        progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Write records in order and return how many; `progress` takes how many were acknowledged.

        Raises StateError when one gets another offset than its own, Unavailable when the broker does not take it.
        """
        written, chunk, size = 0, [], 0
        for record in records:
            chunk.append(record)
            size += len(record.value or b"")
            if len(chunk) >= CHUNK_RECORDS or size >= CHUNK_BYTES:
                written += self._write(topic, partition, chunk, progress)
                chunk, size = [], 0
        return written + self._write(topic, partition, chunk, progress)

    def _write(
        self, topic: str, partition: int, chunk: Sequence[Record], progress: Callable[[int], None]
    ) -> int:
        if chunk:
            self._client.run(self._send(topic, partition, chunk))
            progress(len(chunk))
        return len(chunk)

    async def _send(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        waiting, place = [], 0
        while place < len(records):
            first, batch = place, self._client.made.create_batch()
            while place < len(records) and _add(batch, records[place]):
                place += 1
            batch.close()
            sent = await self._client.made.send_batch(batch, topic, partition=partition)
            waiting.append((records[first].offset, sent))
        async with asyncio.timeout(ACK_SECONDS):
            for expected, sent in waiting:
                if (found := (await sent).offset) != expected:
                    raise StateError(
                        f"{topic}[{partition}] gave a record the offset {found} that belongs at {expected}: somebody "
                        "else writes there; stop every client and worker, make the topic anew, and try again"
                    )


def _add(batch: Any, record: Record) -> bool:
    added = batch.append(
        timestamp=round(record.timestamp * 1000),
        key=record.key,
        value=record.value,
        headers=list(record.headers),
    )
    return added is not None
