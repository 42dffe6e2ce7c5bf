"""Ingest: events, items and profiles on their way into the log, each under its key's partition."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from api.producer import MAX_RECORD, Producer, Record
from streams import events, items, profiles
from streams.events import MAX_BATCH, Event
from streams.items import Item
from streams.partition import partition_of
from streams.profiles import Profile
from streams.settings import Settings

ACK_SECONDS = 1.0  # a client is told within this time, whatever Kafka does


class Place(NamedTuple):
    """Where a record stands in the log."""

    partition: int
    offset: int


class Ingest:
    """Writes to the topics clients feed; returns after the acknowledgement.

    Raises Unavailable when certainly nothing was written, InDoubt when a part may have been.
    """

    def __init__(self, producer: Producer, settings: Settings) -> None:
        self._producer = producer
        self._settings = settings

    async def events(self, batch: Iterable[Event]) -> dict[int, int]:
        """Write events, a record for each partition they fall on; return the last offset by partition."""
        groups: dict[int, list[Event]] = {}
        for event in batch:
            groups.setdefault(partition_of(event.user, self._settings.partitions), []).append(event)
        topic = self._settings.topic("events")
        records = [
            Record(topic, partition, part[0].user.encode(), value)
            for partition, group in groups.items()
            for part, value in parts(group)
        ]
        offsets = await self._producer.write(records, ACK_SECONDS)
        return {record.partition: offset for record, offset in zip(records, offsets, strict=True)}

    async def items(self, said: Sequence[tuple[str, Item | None]]) -> list[Place]:
        """Write catalogue records; None delists an item."""
        pairs = [(key, None if item is None else items.encode(item)) for key, item in said]
        return await self._write("items", pairs)

    async def profile(self, user: str, profile: Profile | None) -> Place:
        """Write a user's profile; None erases the user."""
        return (
            await self._write("profiles", [(user, None if profile is None else profiles.encode(profile))])
        )[0]

    async def _write(self, name: str, pairs: Sequence[tuple[str, bytes | None]]) -> list[Place]:
        topic, partitions = self._settings.topic(name), self._settings.partitions
        records = [Record(topic, partition_of(key, partitions), key.encode(), value) for key, value in pairs]
        offsets = await self._producer.write(records, ACK_SECONDS)
        return [Place(record.partition, offset) for record, offset in zip(records, offsets, strict=True)]


def parts(group: list[Event]) -> Iterable[tuple[list[Event], bytes]]:
    """Cut events of one partition into records that the log's contract and the broker both take."""
    value = events.encode(group) if len(group) <= MAX_BATCH else b""
    if value and (len(value) <= MAX_RECORD or len(group) == 1):
        yield group, value
    else:
        yield from parts(group[: len(group) // 2])
        yield from parts(group[len(group) // 2 :])
