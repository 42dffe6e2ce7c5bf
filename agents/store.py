"""The RocksDB store behind every Faust table, bounded, and written only in whole batches with their offset."""

from collections.abc import Iterator, Mapping
from typing import Any

from faust.stores import STORES
from faust.stores.rocksdb import Store as FaustStore

from agents.batch import OFFSET, batch, rows_of

SCHEME = "refold"

# Per partition and table; Faust's defaults would allow 2 GiB of cache for each (docs/adr/0003).
OPTIONS: Mapping[str, Any] = {
    "driver": "rocksdict",
    "write_buffer_size": 2 << 20,
    "max_write_buffer_number": 2,
    "block_cache_size": 8 << 20,
    "bloom_filter_size": 10,
    "max_open_files": 256,
}


class Store(FaustStore):  # type: ignore[misc]
    """Faust's store for rows that arrive in batches: rows and changelog offset enter RocksDB together."""

    def get_row(self, partition: int, key: bytes) -> bytes | None:
        """Return a row as it is on disk."""
        row: bytes | None = self._db_for_partition(partition).get(key)
        return row

    def put_rows(self, partition: int, rows: Mapping[bytes, bytes | None], offset: int) -> None:
        """Write rows and the offset of the last of them in the changelog, all or nothing."""
        self._db_for_partition(partition).write(batch(rows, offset))

    def offset(self, partition: int) -> int:
        """Return the changelog offset the rows came up to, -1 for none."""
        offset = self._db_for_partition(partition).get(OFFSET)
        return -1 if offset is None else int(offset)

    def buffer(self, partition: int, size: int) -> None:
        """Let so many bytes of rows gather in memory before they become a file."""
        self._db_for_partition(partition).set_options({"write_buffer_size": str(size)})

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield every row with its key, in the order of the keys."""
        return rows_of(self._db_for_partition(partition))


STORES.aliases[SCHEME] = "agents.store:Store"
