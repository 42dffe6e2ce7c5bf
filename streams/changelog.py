"""What a changelog holds beside rows: who owns the partition, and how far its sources were folded.

Every record of a flush names its owner in a header: the offset of the claim that the owner wrote when it took the
partition over. A later claim fences off all earlier owners (fencing tokens: Kleppmann 2016, "How to do
distributed locking"), so what a worker writes that slept through its replacement is void wherever it is read.
Each flush ends with a note: the owner, and the offsets its rows are the fold of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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

    A claim is a note whose owner is nobody yet: its own offset names it.
    """

    owner: int = NOBODY
    positions: dict[str, int] = {}
    void: tuple[bytes, ...] = ()


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


@dataclass
class Reading:
    """Reads one partition's changelog in order, from the note it stood at: `read` says what a record changes."""

    note: Note = field(default_factory=Note)

    def read(self, records: Sequence[Record]) -> dict[bytes, bytes | None]:
        """Return the rows that records leave behind, None for a deleted one, and move `note` on.

        Rows of an owner that was fenced off are left out; their keys stand in `note.void` until their true rows
        are written again, and so does NOTE when its last value says less than is known.
        """
        rows: dict[bytes, bytes | None] = {}
        owner, positions, void = self.note.owner, dict(self.note.positions), set(self.note.void)
        for record in records:
            writer = _owner(record)
            if record.key == NOTE:
                said = decode(record.value)
                writer = record.offset if writer == NOBODY else writer
                fenced = writer < owner
                if not fenced:
                    # a claim may come late, from a worker that knows less than the owner it fences off
                    owner, positions = writer, merge(positions, said.positions)
                (void.add if fenced or positions != said.positions else void.discard)(NOTE)
            elif record.key is None:
                continue
            elif writer >= owner:
                owner = writer  # compaction may have taken the claim
                rows[record.key] = record.value
                void.discard(record.key)
            else:
                void.add(record.key)
        self.note = Note(owner, positions, tuple(sorted(void)))
        return rows


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
