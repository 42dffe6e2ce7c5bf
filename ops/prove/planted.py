"""Planted bugs: each a way to be wrong that looks right, for a simulator that finds none of them proves nothing.

Without crashes every one of them folds the log as it should.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agents.flush import Flusher
from agents.items import TOUCHES, ItemAgent
from agents.learner import CHOICES, LearnerAgent
from agents.restoring import Restoring
from agents.table import Frozen, Partition, Rows, Table
from agents.users import EVENTS, UserAgent
from models import marks
from ops.prove.stage import Build
from streams import changelog, events, examples, touches
from streams.changelog import NOBODY, NOTE, Note, Record
from streams.errors import Refused
from streams.touches import Outcome, Touch


class NoMark(UserAgent):
    """Folds an event whether or not its user's row has it."""

    def fold_events(self, message: Any) -> None:
        """Forget the marks before the fold asks for them."""
        partition = self._table.partition(message.partition)
        source = marks.source(EVENTS, self._settings.epoch, message.partition)
        with contextlib.suppress(Refused):
            for event in events.decode(message.value, int(message.timestamp * 1000)):
                partition.get(event.user).marks.pop(source, None)
        super().fold_events(message)


class OneMark(NoMark):
    """Keeps one mark for a partition, its note, instead of one in every row."""

    def fold_events(self, message: Any) -> None:
        """Skip what the note has, fold everything else."""
        if message.offset >= self._table.partition(message.partition).positions.get("events", 0):
            super().fold_events(message)


class NoTouchMark(ItemAgent):
    """Folds a touch whether or not its item's row has it."""

    def fold_touches(self, message: Any) -> None:
        """Forget the marks before the fold asks for them."""
        batch = touches.decode(message.value)
        source = marks.source(TOUCHES, batch.epoch, batch.partition)
        for said in batch.said:
            if isinstance(said, Touch):
                self._items.partition(message.partition).get(said.item).marks.pop(source, None)
        super().fold_touches(message)


class NoOutcomeMark(ItemAgent):
    """Folds an outcome whether or not its experiment's row has it."""

    def fold_touches(self, message: Any) -> None:
        """Forget the marks before the fold asks for them."""
        batch = touches.decode(message.value)
        source = marks.source(TOUCHES, batch.epoch, batch.partition)
        for said in batch.said:
            if isinstance(said, Outcome):
                self._outcomes.partition(message.partition).get(said.experiment).marks.pop(source, None)
        super().fold_touches(message)


class NoExampleMark(LearnerAgent):
    """Learns an example whether or not the common row has it."""

    def fold_examples(self, message: Any) -> None:
        """Forget the marks before the fold asks for them."""
        batch = examples.decode(message.value)
        common = self.load(self._table.partition(message.partition)).learned.common
        common.marks.pop(marks.source(CHOICES, batch.epoch, batch.partition), None)
        super().fold_examples(message)


class AcksFirst(Flusher):
    """Acks source records before the changelog has their rows."""

    async def flush(self) -> None:
        """Ack, then flush."""
        for event in self._held:
            event.ack()
        self._held = []
        await super().flush()


class AcksTooMuch(Flusher):
    """Acks with a flush also what was folded while it was under way."""

    async def flush(self) -> None:
        """Flush, then ack everything."""
        await super().flush()
        for event in self._held:
            event.ack()
        self._held = []


class EffectsLast(Flusher):
    """Tells other topics what was folded when rows rest and records are acked already."""

    async def flush(self) -> None:
        """Flush rows, then say."""
        say, self._say = self._say, list
        await super().flush()
        self._say = say
        await asyncio.gather(*(self._sender.send(*outgoing) for outgoing in say()))


class RowsFirst(Partition[Any]):
    """Writes rows to RocksDB before the changelog has them."""

    def freeze(self, positions: Mapping[str, int] | None = None) -> Frozen:
        """Freeze and write."""
        frozen = super().freeze(positions)
        self._table.rows.put_rows(self.number, frozen, self.end)
        return frozen


class NoCount(Partition[Any]):
    """Does not look whether another worker wrote to its changelog."""

    def wrote(self, count: int, last: int) -> None:  # noqa: ARG002 - that is the bug
        """Believe the broker."""
        self.end = last


class NoteAhead(Partition[Any]):
    """Notes how far it has folded by now, not how far the flushed rows have."""

    def note(self) -> bytes:
        """Return a note of now."""
        return changelog.encode(Note(self.owner, dict(self.reached)))


class ClaimAhead(Partition[Any]):
    """Claims with the positions that its first flush will reach."""

    def claim(self) -> bytes:
        """Return a claim that promises."""
        return changelog.encode(Note(NOBODY, dict(self.reached)))


class NeverAgain(Partition[Any]):
    """Leaves the last word on a key to a fenced worker."""

    def __init__(self, number: int, table: Table[Any]) -> None:
        super().__init__(number, table)
        self.dirty.clear()
        self._void = False


class QuietNotes(Partition[Any]):
    """Flushes a note only beside rows."""

    @property
    def behind(self) -> bool:
        """Tell whether rows wait."""
        return bool(self.dirty)


class RestoresAll(Restoring):
    """Restores rows whoever wrote them."""

    def take(self, records: Sequence[Record]) -> None:
        """Restore, then write what was left out."""
        super().take(records)
        rows = {record.key: record.value for record in records if record.key not in (None, NOTE)}
        self._rows.put_rows(self._partition, rows, records[-1].offset)


class RestoresLatestNote(Restoring):
    """Restores the positions of whichever note or claim came last."""

    def take(self, records: Sequence[Record]) -> None:
        """Restore, then take positions back."""
        super().take(records)
        note = self._reading.note
        said = [changelog.decode(record.value).positions for record in records if record.key == NOTE]
        if said:
            note = msgspec.structs.replace(note, positions=said[-1])
            self._rows.put_rows(self._partition, {NOTE: changelog.encode(note)}, records[-1].offset)


class RestoresHalves(Restoring):
    """Restores what there is of a flush that a crash cut off, where only all of it means anything."""

    def __init__(self, rows: Rows, partition: int, *, units: bool) -> None:  # noqa: ARG002 - that is the bug
        super().__init__(rows, partition, units=False)


def _with(kind: type[Partition[Any]]) -> Build:
    class Planted(Table[Any]):
        def partition(self, number: int) -> Partition[Any]:
            if number not in self._partitions:
                self._partitions[number] = kind(number, self)
            return self._partitions[number]

    return Build(table=Planted)


PLANTED: Mapping[str, Build] = {
    "no mark": Build(users=NoMark),
    "one mark for a partition": Build(users=OneMark),
    "no mark of touches": Build(items=NoTouchMark),
    "no mark of outcomes": Build(items=NoOutcomeMark),
    "no mark of examples": Build(learner=NoExampleMark),
    "acks before the changelog": Build(flusher=AcksFirst),
    "acks past the flush": Build(flusher=AcksTooMuch),
    "effects after the acks": Build(flusher=EffectsLast),
    "RocksDB before the changelog": _with(RowsFirst),
    "offsets not counted": _with(NoCount),
    "note ahead of the rows": _with(NoteAhead),
    "claim ahead of the rows": _with(ClaimAhead),
    "void rows not said again": _with(NeverAgain),
    "no note without rows": _with(QuietNotes),
    "fenced rows restored": Build(restoring=RestoresAll),
    "positions taken back": Build(restoring=RestoresLatestNote),
    "half a flush restored": Build(restoring=RestoresHalves),
}
