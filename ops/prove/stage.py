"""A stage of a simulated worker: our own flusher, tables and agents, from a start to a death.

Everything it does to the world is a send or a commit; all else it does to itself. Others can therefore not tell
whether it was paused, or killed, between two local steps or before the next thing it does to the world, and the
simulation stops it only there, and inside the local steps where its disk could tell: between the writes and acks of
a flush.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from faust.types import TP

from agents.app import take_over
from agents.consume import DeadLetters, consume
from agents.fake import Event, Rows, Stream
from agents.flush import Flusher, Headers, Outgoing
from agents.flush import Record as Pair
from agents.items import ItemAgent
from agents.join import JoinAgent
from agents.learner import LearnerAgent
from agents.restoring import Restoring
from agents.table import Table
from agents.users import UserAgent
from models.actions import DEFAULTS
from ops.prove.loop import Loop
from ops.prove.model import Broker, Group, Place, Sent
from ops.state import fold
from streams import topology
from streams.errors import Refused
from streams.log import Record
from streams.settings import Settings
from streams.topology import STAGES, UNITS

CACHED = 3  # states of a partition; few, so that rows are loaded again and again
Disk = dict[str, Rows]  # by table


class Killed(BaseException):
    """The process is no more; no Exception, since nothing could handle it."""


class Broken(BaseException):
    """A fold failed, which no record may bring about; no Exception, for the agents would end this process of it."""


@dataclass(frozen=True)
class Build:
    """The code that is run, each part of it replaceable by one with a bug."""

    users: type[UserAgent] = UserAgent
    items: type[ItemAgent] = ItemAgent
    flusher: type[Flusher] = Flusher
    table: type[Table[Any]] = Table
    learner: type[LearnerAgent] = LearnerAgent
    restoring: type[Restoring] = Restoring


class Process:
    """One stage of one worker; `state` tells whether it waits for partitions, folds them or gives them up."""

    def __init__(
        self,
        name: str,
        stage: topology.Stage,
        settings: Settings,
        broker: Broker,
        group: Group,
        disk: Disk,
        build: Build,
        draw: Random,
        harm: float,
        whole: bool,
    ) -> None:
        self.name, self.stage = name, stage
        self._settings, self._broker, self._group, self._build, self._draw = (
            settings,
            broker,
            group,
            build,
            draw,
        )
        self.harm, self._whole = harm, whole
        self.disk = disk
        self.loop = Loop()
        self.tables: list[Table[Any]] = []
        for kept in STAGES[stage]:
            rows = disk.setdefault(kept, Rows())
            rows.step = self._step
            plain = fold.table(kept, rows, CACHED)
            self.tables.append(build.table(plain.name, rows, plain.new, plain.load, CACHED))
        self._dead = DeadLetters(settings)
        said: list[Callable[[], Outgoing]] = [self._dead.take]
        if stage == "users":
            join = JoinAgent(settings, self.tables[1], DEFAULTS)
            users = build.users(settings, self.tables[0], DEFAULTS, join)
            said.append(users.take)
            self._folds = {
                "events": users.fold_events,
                "profiles": users.fold_profiles,
                "slates": users.fold_slates,
            }
        elif stage == "items":
            items = build.items(settings, *self.tables)
            self._folds = {"items": items.fold_catalogue, "touches": items.fold_touches}
        else:
            self._folds = {"examples": build.learner(settings, *self.tables).fold_examples}
        self._flusher = build.flusher(
            settings, self, self.tables, lambda: (each for say in said for each in say()), 1.0
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.state: Literal["waiting", "working", "settling"] = "waiting"
        self.generation = -1
        self.asleep = False
        self.partitions: list[int] = []
        self.positions: dict[Place, int] = {}
        self.restored: dict[Place, int] = {}  # ends of the changelogs when the partitions were taken over
        self._acks: list[tuple[str, int, int]] = []

    async def send(self, topic: str, partition: int, records: Iterable[Pair], headers: Headers = ()) -> int:
        """Send records in one batch or several, one after the other, as the publisher does."""
        left, last = list(records), -1
        while left:
            count = len(left) if self._whole else self._draw.randint(1, len(left))
            answer = self.loop.create_future()
            self._broker.wire.append(Sent(self, (topic, partition), left[:count], headers, answer))
            last, left = await answer, left[count:]
        return last

    def turn(self) -> None:
        """Go on with what waited for the broker; raises what ends the process."""
        self.loop.turn()
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            task.result()

    @property
    def flushing(self) -> bool:
        """Tell whether a flush is under way."""
        return bool(self._tasks)

    @property
    def dirty(self) -> bool:
        """Tell whether a flush has rows to write."""
        return any(table.dirty() for table in self.tables)

    def at_peace(self, table: str, number: int) -> bool:
        """Tell whether it owns the partition of a table, has nothing to write, and nobody else has written."""
        if self.state != "working" or self.flushing or self.generation != self._group.generation:
            return False
        return any(
            one.name == table
            and number in self.partitions
            and number not in [partition.number for partition in one.dirty()]
            for one in self.tables
        )

    def flush(self) -> None:
        """Begin a flush if one is due and none is under way; folding goes on beside it."""
        if not self._tasks and self._flusher.due:
            self._begin(self._flusher.flush())

    def settle(self) -> None:
        """Give up all partitions: fold no more, flush, forget, and join the next generation."""
        self.state = "settling"
        self._begin(self._settle())

    async def _settle(self) -> None:
        await self._flusher.flush()
        for table in self.tables:
            table.forget()
        self.state = "waiting"
        self._acks = []
        self.partitions = []
        self._group.join(self.name)

    def _begin(self, doing: Any) -> None:
        self._tasks.append(self.loop.create_task(doing))
        self.turn()

    def take_over(self) -> None:
        """Take the partitions of the group's generation: restore their rows, and read on from what is committed."""
        self.partitions = list(self._group.members[self.name])
        self.generation = self._group.generation
        for number in self.partitions:
            self.restore(number, whole=True)
        self.restored = {
            (topic, number): self._broker.end((topic, number))
            for topic in (self._settings.changelog(table.name) for table in self.tables)
            for number in self.partitions
        }
        self.positions = {
            (source, number): self._group.committed.get((source, number), 0)
            for source in fold.sources(self.stage)
            for number in self.partitions
        }
        take_over(self._settings, self.tables, [TP(*place) for place in self.restored])
        self.state = "working"

    def restore(self, number: int, *, whole: bool) -> None:
        """Bring the rows of a partition up to its changelogs, in batches; the `whole` of them to take it over."""
        for one in self.tables:
            place = self._settings.changelog(one.name), number
            restoring = self._build.restoring(one.rows, number, units=one.name in UNITS)
            records = self._broker.records(place, restoring.offset + 1)
            while records:
                count = self._draw.randint(1, len(records))
                restoring.take(records[:count])
                records = records[count:]
            if whole:
                restoring.reach(self._broker.end(place) - 1)

    def ready(self) -> list[Place]:
        """Return the sources with something to read."""
        return [place for place, at in self.positions.items() if at < self._broker.end(place)]

    def fold(self, place: Place, count: int) -> None:
        """Fold the next records of a source."""
        records = self._broker.records(place, self.positions[place])[:count]
        stream = Stream([Event(record, self._acks, self._step) for record in records])
        fold = self._folds[place[0]]

        def guarded(record: Record) -> None:
            try:
                fold(record)
            except Refused:
                raise
            except Exception as error:
                raise Broken(f"folding {place}@{record.offset}: {error!r}") from error

        doing = consume(stream, guarded, self._flusher, self._dead)
        try:
            doing.send(None)
        except StopIteration:
            pass
        else:
            raise Broken("an agent waited for a flush although few records were held")
        self.positions[place] = records[-1].offset + 1 if records else self._broker.end(place)

    def commit(self) -> bool:
        """Commit every source up to the first record that was not acked; False when the group does not take it."""
        group = self._group
        if group.generation != self.generation or self.name not in group.members:
            return False
        acked = set(self._acks)
        for place, position in self.positions.items():
            reached = group.committed.get(place, 0)
            for record in self._broker.records(place, reached, position):
                if (*place, record.offset) not in acked:
                    break
                reached = record.offset + 1
            group.committed[place] = reached
        return True

    def _step(self, _: str) -> None:
        if self.harm and self._draw.random() < self.harm:
            raise Killed
