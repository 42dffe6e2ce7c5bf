"""The model of what stands outside a worker: a broker with logs, a network, and consumer groups.

A record that the broker acknowledged is never lost. One on its way may arrive late, also after its sender died, or
never; an acknowledgement may get lost. A group deals partitions to those that joined, and takes commits of its
current generation alone.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from agents.flush import Headers
from agents.flush import Record as Pair
from streams.log import Record
from streams.settings import Settings
from streams.topology import partitions_of

Place = tuple[str, int]  # topic and partition
NOW = 1_700_100_000  # seconds: the time of every record; only events have a time that matters
LOST = 0.01  # chance that a send fails for its sender, though the broker may have it


@dataclass(slots=True)
class Sent:
    """Records on their way, and who waits for the answer."""

    sender: object
    place: Place
    records: Sequence[Pair]
    headers: Headers
    answer: "asyncio.Future[int]"


class Broker:
    """Logs by topic and partition; `read` and `spans` are those of `streams.log.Log`."""

    def __init__(self, settings: Settings, draw: Random) -> None:
        self._draw = draw
        self._settings = settings
        self._logs: dict[Place, list[Record]] = {}
        self._ends: dict[Place, int] = {}
        self.wire: list[Sent] = []

    def append(self, place: Place, records: Iterable[Pair], headers: Headers = ()) -> int:
        """Take records; return the offset of the last."""
        log, end = self._logs.setdefault(place, []), self._ends.get(place, 0)
        for end, (key, value) in enumerate(records, end):  # noqa: B020 - goes on where it stood
            log.append(Record(*place, end, key, value, NOW, headers))
        self._ends[place] = end + 1
        return end

    def end(self, place: Place) -> int:
        """Return the offset that the next record will have."""
        return self._ends.get(place, 0)

    def records(self, place: Place, start: int = 0, end: int | None = None) -> list[Record]:
        """Return the records there are from `start` up to `end`."""
        log = self._logs.get(place, [])
        stop = len(log) if end is None else bisect_left(log, end, key=_offset)
        return log[bisect_left(log, start, key=_offset) : stop]

    def read(
        self, topic: str, partition: int, start: int = 0, end: int | None = None
    ) -> Iterator[list[Record]]:
        """Yield those records as one batch."""
        if found := self.records((topic, partition), start, end):
            yield found

    def spans(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return the first offset and the end of each partition."""
        count = partitions_of(self._settings, topic)
        return {number: (0, self.end((topic, number))) for number in range(count)}

    def deliver(self, *, calm: bool) -> None:
        """Let one of the sends arrive; unless all is calm, its sender may hear of a failure."""
        sent = self.wire.pop(self._draw.randrange(len(self.wire)))
        fails = not calm and self._draw.random() < LOST
        last = -1
        if not fails or self._draw.random() < 0.5:
            last = self.append(sent.place, sent.records, sent.headers)
        if fails:
            sent.answer.set_exception(TimeoutError("no acknowledgement"))
        else:
            sent.answer.set_result(last)

    def cut_off(self, sender: object) -> None:
        """Drop some of what a dead process sent; the rest still arrives."""
        self.wire = [sent for sent in self.wire if sent.sender is not sender or self._draw.random() < 0.5]

    def compact(self, place: Place, until: int) -> None:
        """Keep, of the records before the offset `until`, only the last of each key."""
        log = self._logs.get(place, [])
        cut = bisect_left(log, until, key=_offset)
        last = {record.key: record.offset for record in log[:cut]}
        log[:cut] = [record for record in log[:cut] if last[record.key] == record.offset]


def _offset(record: Record) -> int:
    return record.offset


@dataclass
class Group:
    """A stage's consumer group: who holds what in the current generation, and who waits for the next."""

    partitions: int
    generation: int = 0
    members: dict[str, list[int]] = field(default_factory=dict)
    joined: list[str] = field(default_factory=list)
    moving: bool = False
    committed: dict[Place, int] = field(default_factory=dict)

    def join(self, name: str) -> None:
        """Wait for the next generation, which everybody else has to join too."""
        self.joined.append(name)
        self.moving = True

    def leave(self, name: str) -> None:
        """Go, so that others take over."""
        self.members.pop(name, None)
        if name in self.joined:
            self.joined.remove(name)
        self.moving = True

    def deal(self, draw: Random) -> None:
        """Begin a generation of those that joined; who did not is out, and may not know it."""
        self.generation += 1
        self.members = {name: [] for name in self.joined}
        for number in range(self.partitions):
            self.members[draw.choice(self.joined)].append(number)
        self.joined = []
        self.moving = False
