"""A worker alone: the agents of its three stages over a made-up stream, without Kafka and RocksDB, and their CPU time.

What they tell each other passes as records, as it would by Kafka, and flushes turn changed rows into bytes as often as
they would at `RATE`. All rows are of a state in which `items` were learned (bench/taught.py).
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from agents.fake import Message, Rows
from agents.flush import SLOWEST
from agents.items import ItemAgent
from agents.join import JoinAgent
from agents.learner import LearnerAgent, Shard
from agents.table import Kept, Partition, Row, Table
from agents.users import UserAgent
from bench import load
from bench.taught import Ranked, ranked, taught, zipf
from models.actions import DEFAULTS
from models.items import ItemRow
from models.join import Shown
from models.outcomes import Outcomes
from models.popular import Popular
from models.users import User
from streams.events import Event, encode
from streams.partition import partition_of
from streams.settings import Settings

EVENTS = 1_000_000  # that a stream can have
USERS = 2_000
RATE = 5_000  # events a second that pauses are reckoned by
TICK = 125  # events between flushes of users: 25 ms
TICKS = 10  # of them between flushes of items
TURN = int(SLOWEST * RATE)  # events between flushes of the learner, whose rows are large


class Alone:
    """`written` are the bytes of learned rows that the last turn ended with."""

    def __init__(self, items: int) -> None:
        settings, self._resting = Settings(), Rows()
        users = Table("users", self._resting, User, User.from_row)
        shown = Table("shown", Rows(), Shown, Shown.from_row)
        counted = Table("items", Rows(), ItemRow, ItemRow.from_row)
        popular = Table("popular", Rows(), Popular, Popular.from_row)
        outcomes = Table("outcomes", Rows(), Outcomes, Outcomes.from_row)
        learned: Table[Row] = Table("learned", _Nowhere(), Kept, Kept)
        order = ranked(items)
        learner = _Taught(settings, learned, Shard(taught(order, settings.dimensions)))
        self._agent = UserAgent(settings, users, DEFAULTS, JoinAgent(settings, shown, DEFAULTS))
        self._fold: dict[str, tuple[str, Callable[[Message], None]]] = {
            "touches": ("items_us", ItemAgent(settings, counted, popular, outcomes).fold_touches),
            "examples": ("learner_us", learner.fold_examples),
        }
        self._user_tables: list[Table[Any]] = [users, shown]
        self._item_tables: list[Table[Any]] = [counted, popular, outcomes]
        self._learned = [learned]
        self._ticks = _ticks(settings, order)
        self._spent: defaultdict[str, float] = defaultdict(float)
        self.written = 0

    def settle(self, events: int) -> None:
        """Give users a past, of so many events in all, of which nobody is told."""
        for _ in range(events // TICK):
            for message in next(self._ticks):
                self._agent.fold_events(message)
            self._agent.tell()
        self._flush(self._user_tables)

    def turn(self, events: int = TURN) -> dict[str, float]:
        """Fold what comes between two flushes of the learner; return microseconds an event, by part."""
        self._spent.clear()
        for n in range(events // TICK):
            self._tick(next(self._ticks))
            self._flush(self._user_tables)
            if n % TICKS == 0:
                self._flush(self._item_tables)
        self.written = self._flush(self._learned)
        return {part: 1e6 * seconds / events for part, seconds in self._spent.items()}

    def users(self) -> dict[bytes, bytes]:
        """Return the rows of users at rest."""
        return {key: row for number in self._resting.rows for key, row in self._resting.scan(number)}

    def _tick(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._timed("users_us", lambda: self._agent.fold_events(message))  # noqa: B023 - called here
        for topic, partition, records in self._timed("users_us", lambda: list(self._agent.take())):
            part, fold = self._fold[topic]
            for _, record in records:
                said = Message(topic, partition, 0, None, record)
                self._timed(part, lambda: fold(said))  # noqa: B023

    def _flush(self, tables: Iterable[Table[Any]]) -> int:
        """Return how many bytes of rows changed since the last time."""
        written = 0
        for table in tables:
            for partition in table.dirty():
                frozen = self._timed("rows_us", partition.freeze)
                written += sum(len(row or b"") for row in frozen.values())
                partition.store(partition.end)
        return written

    def _timed(self, part: str, call: Callable[[], Any]) -> Any:
        began = time.thread_time()
        result = call()
        self._spent[part] += time.thread_time() - began
        return result


class _Nowhere(Rows):
    """Rows at rest that nobody reads again, and that would fill the memory."""

    def put_rows(self, partition: int, rows: Mapping[bytes, bytes | None], offset: int) -> None:
        """Keep nothing."""


class _Taught(LearnerAgent):
    """The learner's agent, whose shard knows all items from the start."""

    def __init__(self, settings: Settings, table: Table[Row], shard: Shard) -> None:
        super().__init__(settings, table)
        self._shard = shard

    def load(self, _: Partition[Row]) -> Shard:
        """Return the shard."""
        return self._shard


def _ticks(settings: Settings, order: Ranked) -> Iterator[list[Message]]:
    """Yield the records of events, at most one a partition, that come between two flushes of users."""
    events = load.events(
        EVENTS, users=USERS, item_of=lambda draw: int(order[int(zipf(len(order), draw.random()))])
    )
    for offset in range(EVENTS // TICK):
        groups: dict[int, list[Event]] = {}
        for event in islice(events, TICK):
            groups.setdefault(partition_of(event.user, settings.partitions), []).append(event)
        yield [
            Message("events", number, offset, None, encode(group), time.time())
            for number, group in groups.items()
        ]
