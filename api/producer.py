"""The producer: what writes the API's records into the log; Kafka, or memory in tests."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from streams.errors import Unavailable

MAX_RECORD = 900_000  # bytes; a broker takes 1 MiB by default


class InDoubt(Unavailable):
    """Records were handed to Kafka and no answer came in time: some may have been written, or will be."""


class Record(NamedTuple):
    """One record for a named partition; a `value` of None is a tombstone."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None


class Producer(Protocol):
    """What writes records: Kafka, or memory in tests."""

    @property
    def connected(self) -> bool:
        """Whether records can be taken at all."""

    async def start(self) -> None:
        """Begin to connect; returns at once."""

    async def stop(self) -> None:
        """Send what is buffered and disconnect."""

    async def write(self, records: Sequence[Record], seconds: float) -> list[int]:
        """Return the offset of each record once all are acknowledged.

        Raises InDoubt, or Unavailable when certainly nothing was written.
        """

    async def write_batch(self, records: Sequence[Record], seconds: float) -> None:
        """Write records of one topic and partition as one batch: the cheap way for many small ones."""
