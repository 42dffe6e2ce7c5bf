"""Whatever a crash leaves behind, what is learned is the fold of the examples, byte for byte."""

import asyncio
import gc
import random
import weakref
from collections import defaultdict

import msgspec
import numpy as np
import pytest

from agents.consume import DeadLetters, consume
from agents.fake import Event, Message, Rows, Sender, Stream, no_step
from agents.flush import Flusher
from agents.learner import LearnerAgent
from agents.restoring import Restoring
from agents.table import Kept, Table
from models.features import NAMES
from models.learned import COMMON, Common
from models.responses import LEARNED, Responses
from streams import examples
from streams.changelog import NOTE, Reading, decode
from streams.errors import Refused, StateError
from streams.examples import Choice, Seen, digest_of
from streams.settings import Settings

SETTINGS = Settings(partitions=3, shards=2, dimensions=8)
CHANGELOG = SETTINGS.changelog("learned")


class Crash(BaseException):
    """The process is no more; not an Exception, since nothing could handle it."""


class Fuse:
    """Raises Crash at the given step, and at every later one: a dead process does nothing."""

    def __init__(self, steps):
        self.left = steps

    def __call__(self, what):
        self.left -= 1
        if self.left < 0:
            raise Crash(what)


def choices(draw, count, start=0):
    """What one partition of events says, in the order of its origins."""
    for origin in range(start, start + count):
        item, *after = draw.sample([f"i{n}" for n in range(20)], draw.randint(1, 6))
        yield Choice(origin, item, tuple(after), 1_700_000_000_000 + origin, draw.choice([1.0, 5.0, -3.0]))


def seen(draw, count, start=0):
    """What the same partition's events let see, each of a slate of three."""
    for origin in range(start, start + count):
        request = draw.randbytes(8)
        matrix = np.array([draw.random() for _ in range(3 * len(NAMES))], np.float32).tobytes()
        chosen = (("click", 2),) if draw.random() < 0.3 else ()
        source = draw.choice(["events", "slates"])
        at = 1_700_000_000_000 + origin
        yield Seen(
            origin, source, at, "home", request, digest_of(NAMES), (0, 1, 2), (0, 1, 2), chosen, matrix
        )


def written(draw):
    """The records of `examples` by shard, some of them said twice in another cut."""
    logs = defaultdict(list)
    for _ in range(12):
        partition = draw.randrange(SETTINGS.partitions)
        start = draw.randint(0, 40)
        same, count = random.Random(partition * 1_000 + start), draw.randint(1, 8)
        said = [*choices(same, count, start), *seen(random.Random(partition * 1_000 + start), count, start)]
        logs[partition % SETTINGS.shards].append(examples.encode(SETTINGS.epoch, partition, said))
    return logs


class Process:
    """A learner's process, from its start to its crash, over logs and a disk that outlive it."""

    def __init__(self, logs, sender, rows, committed):
        self.logs, self.sender, self.committed = logs, sender, committed
        self.table = Table("learned", rows, Kept, Kept)
        self.agent = LearnerAgent(SETTINGS, self.table)
        self.dead = DeadLetters(SETTINGS)
        self.flusher = Flusher(SETTINGS, sender, [self.table], self.dead.take, 1.0)
        self.acks = []
        self.positions = {shard: committed.get(shard, 0) for shard in range(SETTINGS.shards)}
        for shard in self.positions:
            restoring = Restoring(rows, shard, units=True)
            records = changelog(sender, shard)
            restoring.take(records[restoring.offset + 1 :])
            restoring.reach(len(records) - 1)
            self.table.partition(shard)

    async def fold(self, shard, count):
        start = self.positions[shard]
        events = [
            Event(Message("examples", shard, start + n, None, value), self.acks, self.sender.step)
            for n, value in enumerate(self.logs[shard][start : start + count])
        ]
        await consume(Stream(events), self.agent.fold_examples, self.flusher, self.dead)
        self.positions[shard] += len(events)

    def commit(self):
        for shard in self.positions:
            acked = {offset for _, number, offset in self.acks if number == shard}
            while self.committed.get(shard, 0) in acked:
                self.committed[shard] = self.committed.get(shard, 0) + 1

    async def live(self, draw):
        while any(self.positions[shard] < len(self.logs[shard]) for shard in self.positions):
            await self.fold(draw.randrange(SETTINGS.shards), draw.randint(1, 3))
            if draw.random() < 0.5:
                await self.flusher.flush()
            if draw.random() < 0.5:
                self.commit()
        await self.flusher.flush()
        self.commit()


def changelog(sender, shard):
    place = CHANGELOG, shard
    return [
        Message(*place, offset, *record, headers=sender.headers[place][offset])
        for offset, record in enumerate(sender.log.get(place, ()))
    ]


def told(sender):
    """What a new owner, or a replica, would see."""
    found = {}
    for shard in range(SETTINGS.shards):
        rows = Reading(units=True).read(changelog(sender, shard))
        found |= {(shard, key): row for key, row in rows.items() if row is not None}
    return found


def at_rest(rows):
    return {(shard, key): row for shard in range(SETTINGS.shards) for key, row in rows.scan(shard)}


def folded(logs):
    """The fold of the examples in one go."""
    sender, rows = Sender(), Rows()
    process = Process(logs, sender, rows, {})
    asyncio.run(process.live(random.Random(0)))
    return at_rest(rows)


@pytest.mark.parametrize("seed", range(40))
def test_a_crash_at_any_point_changes_nothing(seed):
    draw = random.Random(seed)
    logs, sender, rows, committed = written(draw), Sender(), Rows(), {}
    for crash in range(5):
        sender.step = rows.step = Fuse(draw.randint(1, 150)) if crash < 4 else no_step
        try:
            asyncio.run(Process(logs, sender, rows, committed).live(draw))
        except Crash:
            if draw.random() < 0.3:
                rows = Rows()
    expected = folded(logs)
    assert at_rest(rows) == told(sender) == expected
    for shard in range(SETTINGS.shards):
        assert decode(rows.get_row(shard, NOTE)).positions == (
            {"examples": len(logs[shard])} if logs[shard] else {}
        )
        assert committed.get(shard, 0) == len(logs[shard])


def test_how_records_are_cut_and_flushed_changes_nothing_but_the_notes():
    said = list(choices(random.Random(1), 30))
    whole = folded({0: [examples.encode(0, 0, said)], 1: []})
    apart = folded({0: [examples.encode(0, 0, [one]) for one in said], 1: []})
    assert whole == apart


def agent(rows=None):
    table = Table("learned", rows or Rows(), Kept, Kept)
    return LearnerAgent(SETTINGS, table), table


def record(*said, partition=0, offset=0):
    return Message("examples", partition % 2, offset, None, examples.encode(0, partition, list(said)))


def test_what_was_said_twice_is_learned_once_and_origins_do_not_hide_each_other():
    one, two = (Choice(n, "ab"[n], ("c",), 1_700_000_000_000, 1.0) for n in range(2))
    fold, table = agent()
    for message in (record(one), record(one, two), record(one, partition=2)):
        fold.fold_examples(message)
    (partition,) = table.dirty()
    frozen = partition.freeze()
    assert set(frozen) == {b"", b"a", b"b", b"c"}
    assert Common.from_row(frozen[b""]).marks == {0: 1, 2: 0}
    partition.store(0)
    fold.fold_examples(record(one, two))
    assert not partition.dirty


def test_a_torn_flush_of_new_items_is_taken_back_by_the_next_owner():
    logs = {0: [examples.encode(0, 0, list(choices(random.Random(2), 3)))], 1: []}
    sender, rows = Sender(), Rows()
    sender.step = Fuse(8)  # claim and some rows, no note
    with pytest.raises(Crash):
        asyncio.run(Process(logs, sender, rows, {}).live(random.Random(0)))
    assert len(sender.log[CHANGELOG, 0]) > 2
    assert told(sender) == {}
    sender.step = no_step
    next_one = Process({0: [], 1: []}, sender, rows, {})  # not one example comes again
    asyncio.run(next_one.flusher.flush())
    assert told(sender) == at_rest(rows) == {}
    newest = {key: row for key, row in sender.log[CHANGELOG, 0] if key != NOTE}
    assert newest
    assert set(newest.values()) == {None}


def test_rows_of_another_length_stop_the_learner():
    rows = Rows()
    fold, table = agent(rows)
    fold.fold_examples(record(*choices(random.Random(1), 3)))
    (partition,) = table.dirty()
    partition.freeze()
    partition.store(0)
    other = LearnerAgent(Settings(dimensions=16), Table("learned", rows, Kept, Kept))
    with pytest.raises(StateError, match="8 dimensions"):
        other.fold_examples(record())


def test_a_row_waits_once_for_each_flush_in_which_it_changed():
    fold, table = agent()
    for n in range(4):
        fold.fold_examples(record(Choice(2 * n, "a", (), 1_700_000_000_000, 1.0), offset=2 * n))
        fold.fold_examples(record(Choice(2 * n + 1, "a", (), 1_700_000_000_000, 1.0), offset=2 * n + 1))
        (partition,) = table.dirty()
        assert set(partition.freeze()) == {b"", b"a"}
        partition.store(n)
    assert table.dirty() == []


def test_what_was_learned_of_a_partition_that_is_gone_is_gone_at_once():
    fold, table = agent()
    fold.fold_examples(record(*choices(random.Random(1), 3)))
    (partition,) = table.dirty()
    partition.freeze()
    partition.store(0)
    learned = weakref.ref(fold.load(partition).learned)
    gc.disable()  # a cycle would wait for its turn, which a worker's settings put far away
    try:
        table.forget([0])
        del partition
        assert learned() is None
    finally:
        gc.enable()


def test_what_is_no_batch_of_examples_is_refused_before_anything_changed():
    fold, table = agent()
    with pytest.raises(Refused, match="not a batch of examples"):
        fold.fold_examples(Message("examples", 0, 0, None, b"\xc1"))
    assert table.dirty() == []


def test_the_common_row_is_nobodys_item():
    fold, table = agent()
    fold.fold_examples(record(Choice(0, "a", (), 1_700_000_000_000, 1.0)))
    assert set(table.partition(0).dirty) == {COMMON, "a"}


def test_what_was_seen_is_learned_once_beside_the_choices_of_the_same_event():
    (event,) = seen(random.Random(3), 1)
    event = msgspec.structs.replace(event, source="events", chosen=(("click", 1),))
    slate = msgspec.structs.replace(event, source="slates", request=b"another1")
    fold, table = agent()
    for message in (
        record(Choice(0, "a", (), 1_700_000_000_000, 1.0), event),
        record(event, slate, offset=1),
    ):
        fold.fold_examples(message)
    common = Common.from_row(table.dirty()[0].freeze()[b""])
    assert common.marks == {0: 0, 1 << 32: 0, 2 << 32: 0}
    assert common.choices == 1
    learned = Responses.from_row(common.actions)
    assert learned.tally[LEARNED] == 8
    assert learned.actions["click"].chosen == 2


def test_how_what_was_seen_is_cut_and_flushed_changes_nothing():
    said = list(seen(random.Random(1), 80))
    whole = folded({0: [examples.encode(0, 0, said)], 1: []})
    apart = folded({0: [examples.encode(0, 0, [one]) for one in said], 1: []})
    assert whole == apart
