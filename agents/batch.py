"""The batch in which rows and the changelog offset they came up to enter RocksDB together."""

from collections.abc import Mapping

from rocksdict import WriteBatch

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
