"""How rows, and the changelog offset they came up to, enter RocksDB together, and leave it."""

from collections.abc import Iterator, Mapping

from rocksdict import Rdict, WriteBatch

from streams.changelog import NOTE

OFFSET = b"__faust\0offset__"  # Faust's key for the changelog offset of a partition


def batch(rows: Mapping[bytes, bytes | None], offset: int) -> WriteBatch:
    """Return the batch that writes rows (None deletes) and the offset, all or nothing."""
    made = WriteBatch(raw_mode=True)
    for key, row in rows.items():
        if row is None:
            made.delete(key)
        else:
            made.put(key, row)
    made.put(OFFSET, str(offset).encode())
    return made


def rows_of(db: Rdict) -> Iterator[tuple[bytes, bytes]]:
    """Yield the rows of an open database in the order of their keys, without what else it holds."""
    for key, row in db.items():
        if key not in (NOTE, OFFSET):
            yield key, row
