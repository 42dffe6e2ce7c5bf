"""Scratch: tables folded without a worker, a RocksDB for each table and partition, laid out as a worker has them.

Nothing here has a write-ahead log: a crash takes back the newest writes, whole batches of them with their notes, so
that a fold goes on from an earlier place.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import rocksdict
from rocksdict import Checkpoint, Rdict

from agents.batch import OFFSET, batch, rows_of
from streams import changelog
from streams.changelog import NOTE, Note
from streams.errors import StateError

MEMTABLES = 128 << 20  # bytes of all databases together
BLOCKS = 64 << 20
IDENTITY = "identity.json"


class Scratch:
    """Tables in a folder; `identity` says what their rows mean (`ops.state.fold.identity`).

    Raises StateError when the folder holds rows of another identity, or is open elsewhere.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str]) -> None:
        self._folder = folder
        self._identity = dict(identity)
        self._options = _options()
        self._open: dict[tuple[str, int], Rdict] = {}
        folder.mkdir(parents=True, exist_ok=True)
        known = folder / IDENTITY
        if not known.exists():
            if any(folder.glob("*.db")):
                raise StateError(f"{folder} holds tables of unknown origin: name another folder")
            known.write_text(json.dumps(self._identity, indent=2) + "\n")
        elif (found := json.loads(known.read_text())) != self._identity:
            raise StateError(
                f"{folder} holds other rows, {_difference(found, identity)}: name another folder"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self, table: str) -> "ScratchRows":
        """Return the rows of a table."""
        return ScratchRows(self, table)

    def db(self, table: str, partition: int) -> Rdict:
        """Return the database of a table's partition, made if it is new."""
        found = self._open.get((table, partition))
        if found is None:
            path = self._folder / f"{table}-{partition}.db"
            try:
                found = Rdict(str(path), self._options)
            except Exception as error:  # rocksdict raises nothing more precise
                raise StateError(f"{path} cannot be opened: {error}") from error
            unlogged = rocksdict.WriteOptions()
            unlogged.disable_wal = True
            found.set_write_options(unlogged)
            self._open[table, partition] = found
        return found

    def checkpoint(self, into: Path) -> None:
        """Copy all tables as they are now into a new folder, by hard links where it is on the same disk."""
        into.mkdir(parents=True)
        for path in sorted(self._folder.glob("*.db")):
            table, _, number = path.stem.rpartition("-")
            Checkpoint(self.db(table, int(number))).create_checkpoint(str(into / path.name))
        (into / IDENTITY).write_text((self._folder / IDENTITY).read_text())

    def close(self) -> None:
        """Write what is in memory to disk and close the files."""
        with contextlib.ExitStack() as closing:
            for db in self._open.values():
                closing.callback(db.close)
                closing.callback(db.flush)
        self._open.clear()


class ScratchRows:
    """The rows of one table at rest (`agents.table.Rows`), and all of them in the order of their keys."""

    def __init__(self, scratch: Scratch, table: str) -> None:
        self._scratch = scratch
        self._table = table

    def get_row(self, partition: int, key: bytes) -> bytes | None:
        """Return a row."""
        row: bytes | None = self._scratch.db(self._table, partition).get(key)
        return row

    def put_rows(self, partition: int, rows: Mapping[bytes, bytes | None], offset: int) -> None:
        """Write rows (None deletes) and a changelog offset, all or nothing."""
        self._scratch.db(self._table, partition).write(batch(rows, offset))

    def offset(self, partition: int) -> int:
        """Return the changelog offset the rows came up to, -1 for none."""
        offset = self.get_row(partition, OFFSET)
        return -1 if offset is None else int(offset)

    def note(self, partition: int) -> Note:
        """Return how far the sources are folded into the rows."""
        return changelog.decode(self.get_row(partition, NOTE))

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield every row with its key, in the order of the keys."""
        return rows_of(self._scratch.db(self._table, partition))


@contextlib.contextmanager
def temporary(below: Path, identity: Mapping[str, str]) -> Iterator[Scratch]:
    """Yield empty tables in a folder of their own, deleted at the end."""
    below.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="fold-", dir=below) as folder,
        Scratch(Path(folder), identity) as made,
    ):
        yield made


def _difference(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    return ", ".join(f"{name} {found.get(name)!r} where {expected.get(name)!r} is meant" for name in names)


def _options() -> rocksdict.Options:
    blocks = rocksdict.BlockBasedOptions()
    cache = rocksdict.Cache(BLOCKS)
    blocks.set_block_cache(cache)
    blocks.set_bloom_filter(10, block_based=False)
    chosen = rocksdict.Options(raw_mode=True)
    chosen.create_if_missing(True)
    chosen.set_write_buffer_size(32 << 20)
    chosen.set_max_write_buffer_number(2)
    chosen.set_write_buffer_manager(rocksdict.WriteBufferManager(MEMTABLES, allow_stall=False))
    chosen.set_level_zero_file_num_compaction_trigger(8)
    chosen.set_max_background_jobs(2)
    chosen.set_max_open_files(256)
    chosen.set_block_based_table_factory(blocks)
    return chosen
