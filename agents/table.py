"""The one table class: rows in memory, written behind, never ahead of the changelog.

A fold changes a state object in memory and `put` marks it dirty. A flush (agents/flush.py) freezes the dirty rows
to bytes, has the changelog acknowledge them, and only then writes them to RocksDB in one batch together with the
changelog's offset. RocksDB is therefore never ahead of the changelog, and a replayed event at or below a row's
mark is simply not folded again (docs/adr/0003).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from streams import changelog
from streams.changelog import NOBODY, NOTE, Note
from streams.errors import StateError
from streams.topology import UNITS


class Row(Protocol):
    """A state that knows the bytes of its row."""

    def row(self) -> bytes | None:
        """Return the bytes of the row, None for one that is to be deleted."""
        ...


@dataclass(slots=True)
class Kept:
    """A row as it is at rest, for a table that has no states of its own; None where there is none."""

    at_rest: bytes | None = None

    def row(self) -> bytes | None:
        """Return the bytes of the row."""
        return self.at_rest


class Rows(Protocol):
    """Where rows rest: RocksDB in a worker (agents/store.py), a dictionary in tests."""

    def get_row(self, partition: int, key: bytes) -> bytes | None:
        """Return a row as it rests."""
        ...

    def put_rows(self, partition: int, rows: Mapping[bytes, bytes | None], offset: int) -> None:
        """Write rows (None deletes) and the changelog offset of the last, all or nothing."""
        ...

    def offset(self, partition: int) -> int:
        """Return the changelog offset the rows came up to, -1 for none."""
        ...

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield every row with its key; nothing may be awaited meanwhile."""
        ...


S = TypeVar("S", bound=Row)
Frozen = dict[bytes, bytes | None]


class Partition(Generic[S]):
    """The rows of one partition: two generations of cached states, the dirty ones, and those being flushed.

    It lasts as long as the partition is ours: `owner` is the offset of our claim in the changelog, `end` the last
    offset there we know of, `positions` how far the sources are folded into the rows at rest, `reached` how far by now.
    """

    def __init__(self, number: int, table: "Table[S]") -> None:
        self.number = number
        self.frozen: Frozen = {}
        self._table = table
        self._young: dict[str, S] = {}
        self._old: dict[str, S] = {}
        self.dirty: dict[str, S] = {}
        note = changelog.decode(table.rows.get_row(number, NOTE))
        self.positions: Mapping[str, int] = note.positions
        self.reached = dict(note.positions)
        self._noted: Mapping[str, int] = note.positions  # with the frozen rows
        self.owner = NOBODY
        self.end = table.rows.offset(number)
        # the changelog's last word on these is another's, who knew less: say the true one again
        self._void = NOTE in note.void
        units = (
            table.name in UNITS
        )  # there a key without a row has to be deleted, since nothing else says so in time
        for key in note.void:
            if key != NOTE and (units or table.rows.get_row(number, key) is not None):
                self.dirty[key.decode()] = self.get(key.decode())

    def get(self, key: str) -> S:
        """Return the state of a key, a new one for a key without a row."""
        state = self._young.get(key)
        if state is None:
            state = self._old.get(key) or self.dirty.get(key) or self._load(key)
            self._young[key] = state
        return state

    def find(self, key: str) -> S | None:
        """Return the state of a key, None for a key without a row."""
        known = key in self._young or key in self._old or key in self.dirty or self._row(key) is not None
        return self.get(key) if known else None

    def put(self, key: str, state: S) -> None:
        """Mark a state changed; the next flush publishes it."""
        self.dirty[key] = state

    def reach(self, source: str, position: int) -> None:
        """Take note that a source is folded up to a position; a replay is behind it for a while."""
        if position > self.reached.get(source, 0):
            self.reached[source] = position

    @property
    def behind(self) -> bool:
        """Tell whether the changelog lacks something: rows, or only a note of how far they reach.

        Only the note, when a worker died between the last of its rows and its note, and a replay finds all folded.
        """
        return bool(self.dirty) or self._void or self.reached != self.positions

    def _row(self, key: str) -> bytes | None:
        raw = key.encode()
        return self.frozen[raw] if raw in self.frozen else self._table.rows.get_row(self.number, raw)

    def _load(self, key: str) -> S:
        row = self._row(key)
        return self._table.new() if row is None else self._table.load(row)

    def freeze(self, positions: Mapping[str, int] | None = None) -> Frozen:
        """Turn the dirty states into bytes, which later folds no longer change; needs the last ones stored.

        `positions` says how far each source is folded by now.
        """
        assert not self.frozen, "the flush before this one was not stored"
        self.frozen = {key.encode(): state.row() for key, state in self.dirty.items()}
        self.dirty = {}
        self.reached = changelog.merge(self.reached, positions or {})
        self._noted = dict(self.reached)
        if len(self._young) > self._table.cached:
            self._old, self._young = self._young, {}
        return self.frozen

    def claim(self) -> bytes:
        """Return the value of the note that takes the partition over, to be written before any row.

        It speaks for the rows at rest alone: we may die before the first of ours is written.
        """
        return changelog.encode(Note(NOBODY, dict(self.positions)))

    def claimed(self, offset: int) -> None:
        """Own the partition by a claim at this offset of the changelog; raises StateError as `wrote` does."""
        self.wrote(1, offset)
        self.owner = offset

    def note(self) -> bytes:
        """Return the value of the note that ends a flush."""
        return changelog.encode(Note(self.owner, dict(self._noted)))

    def wrote(self, count: int, last: int) -> None:
        """Take note that the changelog took `count` records up to the offset `last`.

        Raises StateError when somebody else's stand between: rows here and there would differ from then on.
        """
        if last != self.end + count:
            raise StateError(
                f"the changelog of {self._table.name}[{self.number}] went from {self.end} to {last} by {count} "
                "records of ours: another worker owns the partition, or did until now; restoring it anew"
            )
        self.end = last

    def store(self, offset: int) -> None:
        """Write the frozen rows, which the changelog has acknowledged up to `offset`, and how far they reach."""
        self._table.rows.put_rows(self.number, {**self.frozen, NOTE: self.note()}, offset)
        self.positions, self.frozen, self._void = self._noted, {}, False


class Table(Generic[S]):
    """A table of one worker: its assigned partitions over the rows at rest.

    `cached` bounds the states kept per partition and generation; a state is about 4 KiB.
    """

    def __init__(
        self, name: str, rows: Rows, new: Callable[[], S], load: Callable[[bytes], S], cached: int = 2_000
    ) -> None:
        self.name = name
        self.rows = rows
        self.new = new
        self.load = load
        self.cached = cached
        self._partitions: dict[int, Partition[S]] = {}

    def partition(self, number: int) -> Partition[S]:
        """Return a partition by number."""
        found = self._partitions.get(number)
        if found is None:
            found = self._partitions[number] = Partition(number, self)
        return found

    def dirty(self) -> list[Partition[S]]:
        """Return the partitions with something to flush."""
        return [partition for partition in self._partitions.values() if partition.behind]

    def forget(self, numbers: Iterable[int] | None = None) -> None:
        """Drop partitions from memory (all without `numbers`); what was not flushed will be folded again."""
        for number in list(self._partitions) if numbers is None else numbers:
            self._partitions.pop(number, None)
