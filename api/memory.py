"""A producer without a broker: keeps what it is given, and can be told to fail; for tests and dry runs."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from api.producer import InDoubt, Record
from streams.errors import Unavailable


class MemoryProducer:
    """A log in memory.

    `down`: nothing can be written. `silent`: records are taken and never acknowledged. `delay`: seconds
    until the acknowledgement.
    """

    def __init__(self) -> None:
        self.log: dict[tuple[str, int], list[tuple[bytes | None, bytes | None]]] = defaultdict(list)
        self.down = False
        self.silent = False
        self.delay = 0.0
        self.started = False

    @property
    def connected(self) -> bool:
        """Whether records can be taken at all."""
        return self.started and not self.down

    async def start(self) -> None:
        """Begin."""
        self.started = True

    async def stop(self) -> None:
        """End."""
        self.started = False

    async def write(self, records: Sequence[Record], seconds: float) -> list[int]:
        """Append the records; return their offsets."""
        if self.down:
            raise Unavailable("Kafka cannot be reached; nothing was written")
        if self.silent:
            await asyncio.sleep(min(seconds, self.delay))
            raise InDoubt(
                "Kafka did not acknowledge in time; an unknown part may have been written, or will be"
            )
        await asyncio.sleep(self.delay)
        offsets = []
        for topic, partition, key, value in records:
            place = self.log[topic, partition]
            offsets.append(len(place))
            place.append((key, value))
        return offsets

    async def write_batch(self, records: Sequence[Record], seconds: float) -> None:
        """Append the records."""
        await self.write(records, seconds)

    def records(self, topic: str) -> list[tuple[bytes | None, bytes | None]]:
        """Return every record of a topic, partition by partition."""
        return [record for (name, _), place in sorted(self.log.items()) if name == topic for record in place]
