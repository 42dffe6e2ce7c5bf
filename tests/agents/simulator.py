"""A worker and its broker in one process, stopped dead at any step: what a flush does last is what a test decides.

`Broker` is the log, `Stage` one of the worker's two processes: it folds records in any order of its sources, flushes,
commits what was acked, and crashes where its fuse burns down. A new Stage over the same broker is the restarted one,
with its disk or without.
"""

import asyncio

from agents.consume import DeadLetters, consume
from agents.fake import Event, Message, Rows, Sender, Stream
from agents.flush import Flusher
from agents.items import ItemAgent
from agents.table import Table
from agents.users import UserAgent
from models.actions import DEFAULTS
from models.items import ItemRow
from models.popular import Popular
from models.users import User

SOURCES = {"users": ("events", "profiles"), "items": ("items", "touches")}


class Crash(BaseException):
    """The process is no more; not an Exception, since nothing could handle it."""


class Fuse:
    """Raises Crash at the given step, and at every later one: a dead process does nothing."""

    def __init__(self, steps):
        self.left = steps

    def __call__(self, what):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Crash(what)


class Broker:
    """The logs, and what each stage has committed."""

    def __init__(self, settings):
        self.settings = settings
        self.sender = Sender()
        self.committed = {}

    def log(self, topic, partition):
        return self.sender.log.setdefault((topic, partition), [])

    def write(self, topic, partition, key, value):
        self.log(self.settings.topic(topic), partition).append((key, value))


class Stage:
    """One process of a worker, from its start to its crash."""

    def __init__(self, broker, name, disks, draw=None, fuse=None, agent=UserAgent, flusher=Flusher, cached=3):
        settings = broker.settings
        self.broker, self.name, self.settings, self.fuse = broker, name, settings, fuse or Fuse(None)
        self.draw, self.positions = draw, {}
        broker.sender.step = self._step
        tables = {"users": ((User, "users"),), "items": ((ItemRow, "items"), (Popular, "popular"))}[name]
        self.tables = []
        for kind, table in tables:
            rows = disks.setdefault(table, Rows())
            rows.step = self.fuse
            self.tables.append(Table(table, rows, kind, kind.from_row, cached))
        self.dead = DeadLetters(settings)
        if name == "users":
            made = agent(settings, self.tables[0], DEFAULTS)
            self.folds = {"events": made.fold_events, "profiles": made.fold_profiles}
        else:
            made = ItemAgent(settings, *self.tables)
            self.folds = {"items": made.fold_catalogue, "touches": made.fold_touches}

        def say():
            yield from self.dead.take()
            if name == "users":
                yield from made.take()

        self.flusher = flusher(settings, broker.sender, self.tables, say, 1.0)
        self.acks = []
        self.positions = {
            (topic, number): broker.committed.get((name, topic, number), 0)
            for topic in SOURCES[name]
            for number in range(settings.partitions)
        }
        self._recover()

    def _recover(self):
        """Bring the disk up to the changelog, as Faust does before any agent starts."""
        for table in self.tables:
            for number in range(self.settings.partitions):
                log = self.broker.log(self.settings.changelog(table.name), number)
                seen = table.rows.offsets.get(number, -1)
                assert seen < len(log), "the disk was ahead of the changelog"
                if seen + 1 < len(log):
                    table.rows.put_rows(number, dict(log[seen + 1 :]), len(log) - 1)

    def ready(self):
        """The sources with something to read."""
        return [at for at, position in self.positions.items() if position < self._end(at)]

    def _end(self, at):
        return len(self.broker.log(self.settings.topic(at[0]), at[1]))

    def _step(self, what):
        """Faust commits beside a flush, whenever the flush waits for the broker."""
        self.fuse(what)
        if self.draw and what.startswith("send ") and self.draw.random() < 0.3:
            self.commit()

    async def fold(self, at, count):
        topic, number = at
        name, start = self.settings.topic(topic), self.positions[at]
        records = self.broker.log(name, number)[start : start + count]
        events = [
            Event(Message(name, number, start + index, key, value), self.acks, self.fuse)
            for index, (key, value) in enumerate(records)
        ]
        self.positions[at] += len(records)
        stream = Stream(events)
        await consume(stream, self.folds[topic], self.flusher, self.dead)
        assert not stream.acking

    async def flush(self):
        await self.flusher.flush()

    def commit(self):
        """Commit, source by source, up to the first record that was not acked, as Faust does."""
        for topic, number in self.positions:
            name = self.settings.topic(topic)
            acked = {offset for at, where, offset in self.acks if (at, where) == (name, number)}
            key = (self.name, topic, number)
            position = self.broker.committed.get(key, 0)
            while position in acked:
                position += 1
            self.fuse("commit")
            self.broker.committed[key] = position

    def forget(self):
        """Drop everything from memory, as when partitions are taken away and given back."""
        for table in self.tables:
            table.forget()


def run(broker, name, draw, crashes=0, lose_disk=0.5, **planted):
    """Fold everything a stage's sources hold, with that many crashes; return the tables at the end."""
    disks = {}

    async def live(stage):
        while True:
            ready = stage.ready()
            chance = draw.random()
            if ready and chance < 0.6:
                await stage.fold(draw.choice(ready), draw.randint(1, 4))
            elif chance < 0.85 or not ready:
                await stage.flush()
                if not stage.ready():
                    stage.commit()
                    return
            elif chance < 0.95:
                stage.commit()
            else:
                await stage.flush()
                stage.forget()

    for crash in range(crashes + 1):
        fuse = Fuse(draw.randint(1, 60) if crash < crashes else None)
        try:
            stage = Stage(broker, name, disks, draw, fuse, **planted)
            asyncio.run(live(stage))
        except Crash:
            if draw.random() < lose_disk:
                disks = {}
        finally:
            broker.sender.step = lambda _: None
            for rows in disks.values():
                rows.step = broker.sender.step
    return {table.name: table.rows.rows for table in stage.tables}


def changelogs(broker, name):
    """The newest row of every key in a table's changelog, by partition: what a new owner or a replica would see."""
    found = {}
    for number in range(broker.settings.partitions):
        rows = {
            key: row for key, row in broker.log(broker.settings.changelog(name), number) if row is not None
        }
        if rows:
            found[number] = rows
    return found


def fold_logs(broker, name):
    """The single-threaded fold of a stage's logs, without any crash, source after source."""
    calm = Broker(broker.settings)
    for topic in SOURCES[name]:
        for number in range(broker.settings.partitions):
            calm.log(broker.settings.topic(topic), number).extend(
                broker.log(broker.settings.topic(topic), number)
            )
    stage = Stage(calm, name, {}, cached=1_000)

    async def whole():
        for at in stage.ready():
            await stage.fold(at, 1_000_000)
        await stage.flush()

    asyncio.run(whole())
    return {
        table.name: {number: rows for number, rows in table.rows.rows.items() if rows}
        for table in stage.tables
    }
