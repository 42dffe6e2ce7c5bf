"""Dumps: the rows of a table's partition as a worker's RocksDB, the changelog alone, or the log has them.

The three are equal at equal positions. A place is read without disturbing who writes there, and row by row, so that a
partition need not fit in memory; `live`, `changelog` and `log` take it whole.
"""

import contextlib
import dataclasses
import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import rocksdict
from rocksdict import AccessType, Rdict

from agents.batch import OFFSET, rows_of
from models.items import ItemRow
from models.join import Shown
from models.learned import Common
from models.outcomes import Outcomes
from models.popular import Popular
from models.users import User
from ops.state.fold import SOURCES, VERSIONS, Source, ends, stage_of
from ops.state.reference import reference
from ops.state.scratch import temporary
from streams import changelog as notes
from streams.changelog import NOBODY, NOTE, Note, Reading
from streams.errors import StateError
from streams.log import Log, Record
from streams.rows import unpack
from streams.settings import Settings
from streams.topology import UNITS

KINDS = {"users": User, "shown": Shown, "items": ItemRow, "popular": Popular, "outcomes": Outcomes}
NAMES = {table: [field.name for field in dataclasses.fields(kind)] for table, kind in KINDS.items()}
LEARNED = ("slot", "into", "out", "numbers", "others", "counts")  # of an item's row in `learned`
COMMON = [field.name for field in dataclasses.fields(Common)]  # of the one row that is no item's
TRIES = 5  # of opening a database whose owner may be deleting files meanwhile
PAUSE = 0.2  # seconds between them
MOST_WAITING = 5_000  # rows of a changelog kept in memory


@dataclass(frozen=True)
class Standing:
    """Rows as they stand in one place: their note, the changelog offset they came up to, the rows by key."""

    note: Note
    offset: int
    scan: Callable[[], Iterator[tuple[bytes, bytes]]]


@dataclass(frozen=True)
class Dumped:
    """A partition's rows, sorted by key; positions of their sources, changelog offset (-1: none), digest as hex."""

    rows: dict[bytes, bytes]
    positions: Mapping[str, int]
    offset: int
    digest: str


class Changelogs(Protocol):
    """What reads changelogs: the log (streams/log.py)."""

    def changelog(self, table: str, partition: int, end: int | None = None) -> Iterable[list[Record]]:
        """Yield the records of a changelog's partition in batches."""
        ...


def live(settings: Settings, table: str, partition: int) -> Dumped:
    """Return the rows in the RocksDB of the worker on this machine that owns the partition, running or not.

    Raises StateError when no worker here has it, or a row has a version that this release does not know.
    """
    with at_worker(settings, table, partition) as standing:
        return _taken(table, standing)


def changelog(settings: Settings, table: str, partition: int, until_offset: int | None = None) -> Dumped:
    """Return the rows that the changelog tells, as of the last flush that ended at or before `until_offset`."""
    with Log(settings) as source, in_changelog(source, settings, table, partition, until_offset) as standing:
        return _taken(table, standing)


def log(
    settings: Settings, table: str, partition: int, positions: Mapping[str, int], weights: Mapping[str, float]
) -> Dumped:
    """Return the rows that a fold of the log up to `positions` gives. Raises StateError where records are missing."""
    with Log(settings) as source, in_log(source, settings, table, partition, positions, weights) as standing:
        return _taken(table, standing)


def digest(rows: Iterable[tuple[bytes, bytes]]) -> tuple[int, str]:
    """Return the count and the hash of rows, given in the order of their keys.

    >>> digest([(b"a", b"1")]) == digest([(b"a1", b"")])
    False
    """
    found, count = hashlib.sha256(), 0
    for key, row in rows:
        found.update(len(key).to_bytes(4) + key + len(row).to_bytes(4) + row)
        count += 1
    return count, found.hexdigest()


def fields(table: str, key: bytes, row: bytes) -> dict[str, Any]:
    """Return a row's fields by name; raises StateError, naming the key, on an unknown version."""
    try:
        values = unpack(VERSIONS[table], row)
    except StateError as error:
        raise StateError(f"{table} {key!r}: {error}, with `refold rebuild`") from None
    return dict(zip(_names(table, key), values, strict=False))


def decoded(table: str, key: bytes, row: bytes) -> dict[str, Any]:
    """Return a row's fields by name, vectors as lists and bytes as hex; raises StateError as `fields` does."""
    return {name: _plain(value) for name, value in fields(table, key, row).items()}


def checked(table: str, standing: Standing) -> Iterator[tuple[bytes, bytes]]:
    """Yield rows in the order of their keys; raises StateError at one of an unknown version."""
    for key, row in standing.scan():
        fields(table, key, row)
        yield key, row


def lines(
    settings: Settings,
    table: str,
    place: str,
    partitions: Iterable[int],
    weights: Mapping[str, float],
    *,
    to_end: bool = False,
    digests: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield every row of partitions as a place (`live`, `changelog` or `log`) has it, or with `digests` one line each.

    The log is folded to where the table stands, or `to_end`. Raises StateError as `live`, `changelog` and `log` do.
    """
    with Log(settings) as source:
        for partition in partitions:
            with _standing(source, settings, table, place, partition, weights, to_end) as standing:
                yield from _told(table, partition, standing, digests=digests)


def replayed(
    folder: Path, table: str, partitions: Iterable[int] | None = None, *, digests: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield the same of a folder that `refold replay` or `refold snapshot` made, which stays as it is.

    Raises StateError when the folder holds none of the table.
    """
    held = {int(path.stem.rpartition("-")[2]): path for path in folder.glob(f"{table}-*.db")}
    for partition in partitions or sorted(held) or [0]:
        if partition not in held:
            raise StateError(
                f"{folder} holds no {table}[{partition}]: name a folder that `refold replay` made"
            )
        with _beside(held[partition]) as db:
            standing = Standing(notes.decode(db.get(NOTE)), _offset(db), partial(rows_of, db))
            yield from _told(table, partition, standing, digests=digests)


def _told(table: str, partition: int, standing: Standing, *, digests: bool) -> Iterator[dict[str, Any]]:
    if digests:
        count, found = digest(checked(table, standing))
        at = {"positions": dict(standing.note.positions), "offset": standing.offset}
        yield {"table": table, "partition": partition, "rows": count, "digest": found, **at}
    else:
        for key, row in standing.scan():
            yield _line(table, partition, key, row)


@contextlib.contextmanager
def at_worker(settings: Settings, table: str, partition: int) -> Iterator[Standing]:
    """Yield the rows of the worker on this machine that owns the partition; raises StateError when none does."""
    with contextlib.ExitStack() as opened:
        copies = [opened.enter_context(_beside(path)) for path in held(settings, table, partition)]
        if not copies:
            raise StateError(
                f"no worker in {settings.data} has {table}[{partition}]: run this on the machine of its worker, "
                "or ask its changelog"
            )
        offset, db = max(((_offset(db), db) for db in copies), key=lambda copy: copy[0])
        yield Standing(notes.decode(db.get(NOTE)), offset, lambda: rows_of(db))


def held(settings: Settings, table: str, partition: int) -> list[Path]:
    """Return where workers of this machine keep a partition; old copies of it stay when it moves."""
    group = settings.group(stage_of(table))
    found = settings.data.glob(f"*/{group}/**/{table}-{partition}.db")
    return sorted(path for path in found if (path / "CURRENT").exists())  # else it was never wholly made


@contextlib.contextmanager
def in_changelog(
    source: Changelogs, settings: Settings, table: str, partition: int, until_offset: int | None = None
) -> Iterator[Standing]:
    """Yield the rows a changelog tells, up to the last note there at or before `until_offset`."""
    end = None if until_offset is None else until_offset + 1
    with temporary(settings.data, {}) as scratch:
        rows = scratch.rows(table)
        waiting: dict[bytes, bytes | None] = {}
        at = -1
        for note, changed, at in flushes(source.changelog(table, partition, end), units=table in UNITS):
            waiting |= changed
            waiting[NOTE] = notes.encode(note)
            if (
                len(waiting) >= MOST_WAITING
            ):  # rows come again and again; only the last of many need be written
                rows.put_rows(partition, waiting, at)
                waiting = {}
        if waiting:
            rows.put_rows(partition, waiting, at)
        yield Standing(rows.note(partition), rows.offset(partition), lambda: rows.scan(partition))


@contextlib.contextmanager
def in_log(
    source: Source,
    settings: Settings,
    table: str,
    partition: int,
    positions: Mapping[str, int],
    weights: Mapping[str, float],
) -> Iterator[Standing]:
    """Yield the rows that the log up to `positions` folds to."""
    with reference(source, settings, stage_of(table), partition, weights) as truth:
        truth.fold({source: positions[source] for source in SOURCES[table] if source in positions})
        yield Standing(Note(positions=dict(truth.reached)), -1, lambda: truth.rows(table))


def flushes(
    batches: Iterable[list[Record]], *, units: bool = False
) -> Iterator[tuple[Note, dict[bytes, bytes | None], int]]:
    """Yield, for every whole flush in a changelog, its note, the rows it left behind and the offset of the note.

    What stands behind the last note is a flush that goes on, or was cut off: rows that no note speaks for. With
    `units` rows that a claim cut off from their note count nowhere.
    """
    reading, owner = Reading(units=units), NOBODY
    waiting: list[Record] = []
    for batch in batches:
        for record in batch:
            waiting.append(record)
            if record.key != NOTE:
                continue
            said = notes.decode(record.value).owner
            fenced, owner = said < owner, max(owner, record.offset if said == NOBODY else said)
            if said != NOBODY and not fenced:
                changed = reading.read(waiting)
                yield reading.note, changed, record.offset
                waiting = []


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Rdict]:
    """Open a database that another process may be writing, as it is now."""
    with tempfile.TemporaryDirectory(prefix="refold-") as folder:
        options = rocksdict.Options(raw_mode=True)
        options.set_max_open_files(-1)  # all of them, at once: its owner may delete them later
        for left in reversed(range(TRIES)):
            try:
                db = Rdict(str(path), options, access_type=AccessType.secondary(folder))
                break
            except Exception as error:  # rocksdict raises nothing more precise
                if not left:
                    raise StateError(f"{path} cannot be read: {error}") from error
                time.sleep(PAUSE)
        with contextlib.closing(db):
            yield db


def _standing(
    source: Log,
    settings: Settings,
    table: str,
    place: str,
    partition: int,
    weights: Mapping[str, float],
    to_end: bool,
) -> contextlib.AbstractContextManager[Standing]:
    if place == "live":
        return at_worker(settings, table, partition)
    if place == "changelog":
        return in_changelog(source, settings, table, partition)
    if to_end:
        positions: Mapping[str, int] = ends(source, stage_of(table), partition)
    else:
        positions = _note(source, settings, table, partition).positions
    return in_log(source, settings, table, partition, positions, weights)


def _note(source: Log, settings: Settings, table: str, partition: int) -> Note:
    here = bool(held(settings, table, partition))
    with _standing(
        source, settings, table, "live" if here else "changelog", partition, {}, False
    ) as standing:
        return standing.note


def _names(table: str, key: bytes) -> Sequence[str]:
    if table != "learned":
        return NAMES[table]
    return LEARNED if key else COMMON


def _offset(db: Rdict) -> int:
    return int(db.get(OFFSET) or -1)


def _taken(table: str, standing: Standing) -> Dumped:
    rows = dict(checked(table, standing))
    return Dumped(rows, standing.note.positions, standing.offset, digest(rows.items())[1])


def _line(table: str, partition: int, key: bytes, row: bytes) -> dict[str, Any]:
    shown, hashed = decoded(table, key, row), hashlib.sha256(row).hexdigest()
    return {"table": table, "partition": partition, "key": key.decode(), "sha256": hashed, "row": shown}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value
