"""Rows: one replicated table on disk, RocksDB, in which rows and the offset they came up to never part.

Everything in it can be read again from the changelog, so whatever cannot be trusted is wiped, not mended.
"""

import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import rocksdict
from rocksdict import Rdict, WriteBatch

from streams import changelog
from streams.changelog import Note
from streams.errors import StateError

logger = logging.getLogger(__name__)

ROW, OFFSET, NOTES, IDENTITY, FRESH = b"r", b"o", b"n", b"i", b"f"  # first byte of a key
AWAY_MS = 12 * 3_600_000  # half the time for which a broker keeps the record of a deletion
# How RocksDB says that rows are broken; anything else (a lock, a full disk) is not their fault.
BROKEN = ("Corruption", "Invalid argument", "NotFound", "No such file", "not found")


def options() -> rocksdict.Options:
    """Return bounded options, about 32 MiB for a table; the defaults would take gigabytes."""
    blocks = rocksdict.BlockBasedOptions()
    blocks.set_block_cache(rocksdict.Cache(16 << 20))
    blocks.set_bloom_filter(10, block_based=False)
    chosen = rocksdict.Options(raw_mode=True)
    chosen.create_if_missing(True)
    chosen.set_write_buffer_size(8 << 20)
    chosen.set_max_write_buffer_number(2)
    chosen.set_max_open_files(256)
    chosen.set_block_based_table_factory(blocks)
    return chosen


class Rows:
    """The rows of one table, and per partition the changelog offset of the last one taken over and its note.

    `identity` says what the rows mean (namespace, row version, partitions); others on disk are wiped.
    `broken` says how RocksDB failed, until `wipe` or `reopen`. Raises StateError when the folder is unusable.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self.identity = identity
        self.offsets: dict[int, int] = {}
        self.notes: dict[int, Note] = {}
        self.broken = ""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = self._open()
        self._check()

    def get(self, key: bytes) -> bytes | None:
        """Return a row, or None; also None, and `broken`, when RocksDB cannot read it."""
        return self._get(ROW + key)

    def put(self, partition: int, rows: Mapping[bytes, bytes | None], offset: int, note: Note) -> None:
        """Write rows (None deletes), the offset of the last and the note, all or nothing. Raises StateError."""
        batch = WriteBatch(raw_mode=True)
        for key, row in rows.items():
            if row is None:
                batch.delete(ROW + key)
            else:
                batch.put(ROW + key, row)
        batch.put(OFFSET + partition.to_bytes(2), offset.to_bytes(8))
        batch.put(NOTES + partition.to_bytes(2), changelog.encode(note))
        self._write(batch)
        self.offsets[partition] = offset
        self.notes[partition] = note

    def scan(self, prefix: bytes = ROW) -> Iterator[tuple[bytes, bytes]]:
        """Yield every row with its key; stops and is `broken` where RocksDB cannot read on."""
        walk = self._db.iter()
        walk.seek(prefix)
        while walk.valid():
            key = walk.key()
            if not key.startswith(prefix):
                return
            yield key[len(prefix) :], walk.value()
            walk.next()
        try:
            walk.status()
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing more precise
            self._fail("scan", error)

    def mark_fresh(self, now: int) -> None:
        """Write down that at `now` (ms) nothing was left to read. Raises StateError."""
        batch = WriteBatch(raw_mode=True)
        batch.put(FRESH, now.to_bytes(8))
        self._write(batch)

    def fresh_at(self) -> int:
        """Return when, in ms, nothing was left to read as far as was written down."""
        return int.from_bytes(self._get(FRESH) or b"")

    def distrusted(self, spans: Mapping[int, tuple[int, int]], now: int) -> str:
        """Return why reading on from the offsets would not give the table, empty if it would.

        `spans` gives (begin, end) of each partition of the changelog, `now` is in ms.
        """
        if any(sign in self.broken for sign in BROKEN):
            return self.broken
        if self.offsets and now - self.fresh_at() > AWAY_MS:
            return f"it was not up to date for {AWAY_MS // 3_600_000} hours, so deletions may be missing"
        for partition, offset in self.offsets.items():
            begin, end = spans[partition]
            if not begin <= offset + 1 <= end:
                return (
                    f"partition {partition} was read up to {offset}, its changelog holds {begin}..{end - 1}"
                )
        return ""

    def wipe(self, reason: str) -> None:
        """Forget everything; the table is read again from the beginning."""
        logger.warning("%s is wiped and read again: %s", self.path, reason)
        self._db.close()
        shutil.rmtree(self.path)
        self._db = self._open()
        self._check()

    def reopen(self) -> None:
        """Close and open again: after a full disk RocksDB writes no more until then. Raises StateError."""
        self._db.close()
        self._db = self._open()
        self._check()

    def close(self) -> None:
        """Close the files."""
        self._db.close()

    def _open(self) -> Rdict:
        try:
            return Rdict(str(self.path), options())
        except Exception as error:
            if "lock" in str(error):
                raise StateError(
                    f"{self.path} is in use: two API processes need two names, set REFOLD_API_NAME ({error})"
                ) from error
            if not any(sign in str(error) for sign in BROKEN):
                raise StateError(f"{self.path} cannot be opened: {error}") from error
            logger.warning("%s is broken, wiped and read again: %s", self.path, error)
        shutil.rmtree(self.path)
        return Rdict(str(self.path), options())

    def _check(self) -> None:
        self.broken = ""
        stored = self._get(IDENTITY)
        self.offsets = {int.from_bytes(key): int.from_bytes(value) for key, value in self.scan(OFFSET)}
        self.notes = {int.from_bytes(key): changelog.decode(value) for key, value in self.scan(NOTES)}
        if self.broken:
            self.wipe(self.broken)
        elif stored is None:
            batch = WriteBatch(raw_mode=True)
            batch.put(IDENTITY, self.identity.encode())
            batch.put(FRESH, int(time.time() * 1000).to_bytes(8))
            self._write(batch)
        elif stored.decode() != self.identity:
            self.wipe(f"it holds {stored.decode()!r}, expected {self.identity!r}")

    def _get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing more precise
            self._fail("read", error)
            return None
        return value

    def _write(self, batch: Any) -> None:
        try:
            self._db.write(batch)
        except Exception as error:
            self._fail("write", error)
            raise StateError(f"{self.path} cannot be written: {error}") from error

    def _fail(self, what: str, error: Exception) -> None:
        if not self.broken:
            # As text: the error itself would keep the iterator, and so the lock, alive in the log.
            logger.error("%s failed to %s: %s", self.path, what, str(error))
        self.broken = str(error)
