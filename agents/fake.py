"""Fakes of what stands around an agent, for tests: a log in memory, rows in a dictionary, a Faust stream from a list.

Everything that outlives a process calls `step` with the name of each effect, before and after it: what `step` raises
is a crash at that very point.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agents.flush import Headers, Record
from streams import log
from streams.changelog import NOTE

Step = Callable[[str], None]


def no_step(_: str) -> None:
    """Let everything happen."""


@dataclass(frozen=True)
class Message:
    """A record as Faust hands it to an agent; `timestamp` in seconds."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: float = 1_700_000_000.0
    headers: Headers = ()


@dataclass
class Event:
    """A message that can be acked; `acks` takes its (topic, partition, offset)."""

    message: Message | log.Record
    acks: list[tuple[str, int, int]] = field(default_factory=list)
    step: Step = no_step

    def ack(self) -> None:
        """Note that the record needs not come again."""
        self.step("ack")
        self.acks.append((self.message.topic, self.message.partition, self.message.offset))


class Stream:
    """A Faust stream over a list of events; `acking` tells whether it would ack them by itself."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self.acking = True
        self.current_event: Event | None = None

    def noack(self) -> "Stream":
        """Return the stream, which leaves acking to its reader."""
        self.acking = False
        return self

    async def __aiter__(self) -> AsyncIterator[bytes | None]:
        """Yield the values, with `current_event` set to the record of each."""
        for event in self._events:
            self.current_event = event
            yield event.message.value


class Sender:
    """A log in memory: records by (topic, partition), acknowledged at once; `headers` in step with them."""

    def __init__(self, step: Step = no_step) -> None:
        self.step = step
        self.log: dict[tuple[str, int], list[Record]] = {}
        self.headers: dict[tuple[str, int], list[Headers]] = {}

    async def send(self, topic: str, partition: int, records: Iterable[Record], headers: Headers = ()) -> int:
        """Append records one by one; return the offset of the last."""
        held = self.log.setdefault((topic, partition), [])
        beside = self.headers.setdefault((topic, partition), [])
        self.step(f"send {topic}")
        for record in records:
            beside += [()] * (len(held) - len(beside))  # a test may have written without any
            held.append(record)
            beside.append(headers)
            self.step(f"sent {topic}")
        self.step(f"acknowledge {topic}")
        return len(held) - 1


class Rows:
    """Rows at rest in dictionaries, with the changelog offset of each partition."""

    def __init__(self, step: Step = no_step) -> None:
        self.step = step
        self.rows: dict[int, dict[bytes, bytes]] = {}
        self.offsets: dict[int, int] = {}

    def get_row(self, partition: int, key: bytes) -> bytes | None:
        """Return a row as it rests."""
        return self.rows.get(partition, {}).get(key)

    def offset(self, partition: int) -> int:
        """Return the changelog offset the rows came up to, -1 for none."""
        return self.offsets.get(partition, -1)

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield every row with its key."""
        return ((key, row) for key, row in self.rows.get(partition, {}).items() if key != NOTE)

    def put_rows(self, partition: int, rows: Mapping[bytes, bytes | None], offset: int) -> None:
        """Write rows (None deletes) and the changelog offset of the last, all or nothing."""
        self.step("put rows")
        held = self.rows.setdefault(partition, {})
        for key, row in rows.items():
            if row is None:
                held.pop(key, None)
            else:
                held[key] = row
        self.offsets[partition] = offset
        self.step("rows put")
