"""What a changelog holds beside rows: who owns the partition, and how far its sources were folded.

Every record of a flush names its owner in a header: the offset of the claim that the owner wrote when it took the
partition over. A later claim fences off all earlier owners (fencing tokens: Kleppmann 2016, "How to do
distributed locking"), so what a worker writes that slept through its replacement is void wherever it is read.
Each flush ends with a note: the owner, and the offsets its rows are the fold of.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

NOTE = b"\xff"  # key of claims and notes; no UTF-8, so no id can be it
HEADER = "owner"
NOBODY = -1


class Record(Protocol):
    """A record of a changelog, as any client gives it."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Note(msgspec.Struct, frozen=True, array_like=True):
    """The owner of a partition, its positions (next offset by source, as the topology names it), void rows' keys.

    A claim is a note whose owner is nobody yet: its own offset names it. Beside rows at rest `whole` is the offset of
    the last whole flush, where the changelog was read to the middle of another: reading goes on from there.
    """

    owner: int = NOBODY
    positions: dict[str, int] = {}
    void: tuple[bytes, ...] = ()
    whole: int = NOBODY


_decoder = msgspec.msgpack.Decoder(Note)
_encoder = msgspec.msgpack.Encoder()


def encode(note: Note) -> bytes:
    """Return the value of a note."""
    return _encoder.encode(note)


def decode(value: bytes | None) -> Note:
    """Return a note, an empty one for a partition without."""
    return Note() if value is None else _decoder.decode(value)


def headers(owner: int) -> list[tuple[str, bytes]]:
    """Return the headers of what an owner writes."""
    return [(HEADER, owner.to_bytes(8))]


class Reading:
    """Reads one partition's changelog in order: `read` says what records change.

    `note` is the last, and `offset` how far it and the rows given out reach: who stops stores both with the rows, and
    reading goes on from there. With `units` rows are given out in whole flushes: those behind the last note wait in
    `begun`, and a claim makes them void. `whole` tells that no row was given out since the last note, `torn` how often
    a claim came where one had been: its rows count, but what they are the fold of nobody says.
    """

    def __init__(self, note: Note | None = None, offset: int = -1, *, units: bool = False) -> None:
        self.note = note or Note()
        self.offset = offset
        self.begun: dict[bytes, bytes | None] = {}
        self.whole = self.note.whole == offset  # both are -1 before anything was read
        self.torn = 0
        self._units = units
        self._next = offset + 1
        self._compacted = False  # since the last note
        self._owner = self.note.owner
        self._positions = dict(self.note.positions)
        self._void = set(self.note.void)

    def read(self, records: Sequence[Record]) -> dict[bytes, bytes | None]:
        """Return the rows that records leave behind, None for a deleted one, and move `note` on.

        Rows of an owner that was fenced off are left out; their keys stand in `note.void` until their true rows
        are written again, and so does NOTE when its last value says less than is known.
        """
        rows: dict[bytes, bytes | None] = {}
        for record in records:
            writer = _owner(record)
            if self._units and record.offset != self._next:
                # compaction took a note, since it takes nothing of a flush that is not whole: what was begun counts
                self._compacted = True
                rows |= self.begun
                self.begun, self.whole = {}, False
            self._next = record.offset + 1
            if record.key == NOTE:
                self._hear(record, writer, rows)
            elif record.key is None:
                continue
            elif writer >= self._owner:
                self._owner = writer  # compaction may have taken the claim
                waits = self._units and not self._compacted
                (self.begun if waits else rows)[record.key] = record.value
                self.whole = self.whole and waits
                self._void.discard(record.key)
            else:
                self._void.add(record.key)
        if records and not self._units:
            self._stand(records[-1].offset)
        # a fenced worker's words may be the last ones of the changelog, with no note of the owner's behind them
        self.note = msgspec.structs.replace(self.note, void=tuple(sorted(self._void)))
        return rows

    def _hear(self, record: Record, writer: int, rows: dict[bytes, bytes | None]) -> None:
        """Take in a claim or a note."""
        said = decode(record.value)
        claims = writer == NOBODY
        writer = record.offset if claims else writer
        fenced = writer < self._owner
        if not fenced:
            # a claim may come late, from a worker that knows less than the owner it fences off
            self._owner, self._positions = writer, merge(self._positions, said.positions)
            self.torn += claims and not self.whole
            self.whole = self.whole or not claims
        (self._void.add if fenced or self._positions != said.positions else self._void.discard)(NOTE)
        if self._units and not fenced:
            if claims:
                self._void |= self.begun.keys()
            else:
                rows |= self.begun
            self.begun, self._compacted = {}, False
            self._stand(record.offset)

    def _stand(self, offset: int) -> None:
        self.offset, self.note = offset, Note(self._owner, self._positions)


def _owner(record: Record) -> int:
    for name, value in record.headers:
        if name == HEADER:
            return int.from_bytes(value)
    return NOBODY


def merge(positions: Mapping[str, int], moved: Mapping[str, int]) -> dict[str, int]:
    """Return the further position of every source.

    >>> merge({"events": 5}, {"events": 3, "profiles": 1})
    {'events': 5, 'profiles': 1}
    """
    return {source: max(positions.get(source, 0), moved.get(source, 0)) for source in {**positions, **moved}}
