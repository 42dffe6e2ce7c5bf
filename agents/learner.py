"""The learner's agent: folds `examples` into `learned`, all rows of a shard in memory at once.

An example changes rows that other examples of its record read, so there is one mark for all of them, in the common
row, and a flush is whole or void (`streams.changelog.Reading`).
"""

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from agents.table import Partition, Row, Table
from models import marks
from models.learned import COMMON, Learned
from models.learner import Learner
from models.responses import Responses
from models.teacher import Teacher
from models.users import seen_hash
from streams import examples
from streams.examples import Choice
from streams.settings import Settings

CHOICES = 0  # marks of a partition: of choices, and of what events and slates let see
SEEN = {"events": 1, "slates": 2}


class Shard:
    """What learns one shard: of items, and of actions."""

    def __init__(self, learned: Learned) -> None:
        self.learned = learned
        self.learner = Learner(learned)
        self.teacher = Teacher(Responses.from_row(learned.common.actions))
        self._waiting = np.zeros(0, np.bool_)  # by slot: its row waits for a flush

    def flushed(self) -> None:
        """Take note that a flush took all rows that waited for it."""
        self._waiting[:] = False

    def moved(self) -> list[int]:
        """Return the slots whose rows changed and do not wait for a flush yet; from now on they do.

        A row that waits is made of what the arrays say when it is written, however often it changed meanwhile.
        """
        if len(self._waiting) < len(self.learned.keys):
            self._waiting = np.pad(self._waiting, (0, len(self.learned.arrays.into) - len(self._waiting)))
        changed = self.learner.changed()
        new = changed[~self._waiting[changed]]
        self._waiting[new] = True
        slots: list[int] = new.tolist()
        return slots

    def row(self) -> bytes:
        """Return the bytes of the common row."""
        self.learned.common.actions = self.teacher.row()
        return self.learned.common.row()


@dataclass(slots=True)
class ItemRow:
    """The row of one item, as it is when it is asked for."""

    learned: Learned
    slot: int

    def row(self) -> bytes:
        """Return the bytes of the row."""
        return self.learned.row(self.slot)


class LearnerAgent:
    """Folds records by shard; it says nothing to other topics."""

    def __init__(self, settings: Settings, table: Table[Row]) -> None:
        self._settings = settings
        self._table = table
        self._shards: WeakKeyDictionary[Partition[Row], Shard] = WeakKeyDictionary()

    def load(self, partition: Partition[Row]) -> Shard:
        """Return what learns a shard, made from its rows at rest: some 15 us each, without a pause."""
        shard = self._shards.get(partition)
        if shard is None:
            learned = Learned(self._settings.dimensions)
            for key, row in self._table.rows.scan(partition.number):
                learned.put(key.decode(), row)
            shard = self._shards.setdefault(partition, Shard(learned))
        return shard

    def fold_examples(self, message: Any) -> None:
        """Learn what one events partition said; what was said twice is learned once."""
        batch = examples.decode(message.value)
        partition = self._table.partition(message.partition)
        shard = self.load(partition)
        learned, known, dirty = shard.learned, shard.learned.common.marks, partition.dirty
        if not dirty:  # nobody else changes these rows
            shard.flushed()
        source = marks.source(CHOICES, batch.epoch, batch.partition)
        for said in batch.said:
            if isinstance(said, Choice):
                if marks.advance(known, source, said.origin):
                    shard.learner.learn(said)
                    dirty[COMMON] = shard
            elif marks.advance(
                known, marks.source(SEEN[said.source], batch.epoch, batch.partition), said.origin
            ):
                shard.teacher.learn(said)
                dirty[COMMON] = shard
        for slot in shard.moved():
            dirty[learned.keys[slot]] = ItemRow(learned, slot)


def compile_kernels() -> None:
    """Have the learner's machine code made, or read as it was made before: no consumer group waits so long."""
    learned = Learned()
    learner = Learner(learned)
    for origin, (item, after, weight) in enumerate(
        [("a", (), 1.0), ("b", ("a",), 1.0), ("a", ("b",), 1.0), ("b", ("a",), -1.0)]
    ):
        learner.learn(Choice(origin, item, after, 0, weight, before=seen_hash("c")))
    for n in range(64):
        learned.slot(f"more {n}")  # the table of hashes grows
