"""Restoring: brings the rows of a partition up to its changelog, in batches, atomically with the offset they reach."""

from collections.abc import Sequence

from agents.table import Rows
from streams import changelog
from streams.changelog import NOBODY, NOTE, Note, Reading, Record


class Restoring:
    """Goes on from where the rows stand; with `units` they are at any moment the fold of what their note says."""

    def __init__(self, rows: Rows, partition: int, *, units: bool) -> None:
        self.units = units
        self._rows = rows
        self._partition = partition
        note, offset = changelog.decode(rows.get_row(partition, NOTE)), rows.offset(partition)
        self._reading = Reading(note, offset if note.whole == NOBODY else note.whole, units=units)

    @property
    def offset(self) -> int:
        """The offset behind which reading goes on."""
        return self._reading.offset

    def take(self, records: Sequence[Record]) -> None:
        """Write what the next records say; a fenced worker's are left out."""
        rows = self._reading.read(records)
        rows[NOTE] = changelog.encode(self._reading.note)
        self._rows.put_rows(self._partition, rows, self._reading.offset)

    def reach(self, offset: int) -> None:
        """Take note that the changelog holds nothing more up to an offset; compaction may have emptied its end.

        What a flush began there that has no note is void: the owner's next flush says the true rows.
        """
        reading = self._reading
        if reading.begun:
            void = tuple(sorted({*reading.note.void, *reading.begun}))
            note = Note(reading.note.owner, reading.note.positions, void, reading.offset)
            self._rows.put_rows(self._partition, {NOTE: changelog.encode(note)}, offset)
        elif self._rows.offset(self._partition) < offset:
            self._rows.put_rows(self._partition, {}, offset)
