"""The learner's agent: folds `examples` into `learned`, all rows of a shard in memory at once.

An example changes rows that other examples of its record read, so there is one mark for all of them, in the common
row, and a flush is whole or void (`streams.changelog.Reading`).
"""

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from agents.table import Partition, Row, Table
from models import marks
from models.learned import COMMON, Learned
from models.learner import Learner
from streams import examples
from streams.examples import Choice
from streams.settings import Settings

EXAMPLES = 0  # source of the table, in the topology's order


@dataclass(slots=True, frozen=True)
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
        self._learners: WeakKeyDictionary[Partition[Row], Learner] = WeakKeyDictionary()

    def load(self, partition: Partition[Row]) -> Learner:
        """Return the learner of a shard, made from its rows at rest: some 15 us each, without a pause."""
        learner = self._learners.get(partition)
        if learner is None:
            learned = Learned(self._settings.dimensions)
            for key, row in self._table.rows.scan(partition.number):
                learned.put(key.decode(), row)
            learner = self._learners.setdefault(partition, Learner(learned))
        return learner

    def fold_examples(self, message: Any) -> None:
        """Learn what one events partition said; what was said twice is learned once."""
        batch = examples.decode(message.value)
        partition = self._table.partition(message.partition)
        learner = self.load(partition)
        learned, dirty = learner.learned, partition.dirty
        source = marks.source(EXAMPLES, batch.epoch, batch.partition)
        for said in batch.said:
            if isinstance(said, Choice) and marks.advance(learned.common.marks, source, said.origin):
                learner.learn(said)
                dirty[COMMON] = learned.common
        for slot in learner.changed():
            dirty[learned.keys[slot]] = ItemRow(learned, slot)


def compile_kernels() -> None:
    """Have the learner's machine code made, or read as it was made before: no consumer group waits so long."""
    learner = Learner(Learned())
    for origin, (item, after, weight) in enumerate(
        [("a", (), 1.0), ("b", ("a",), 1.0), ("a", ("b",), 1.0), ("b", ("a",), -1.0)]
    ):
        learner.learn(Choice(origin, item, after, 0, weight))
