"""The one table class: rows in memory, written behind, never ahead of the changelog.

A fold changes a state object in memory and marks it dirty. A flush (agents/flush.py) freezes the dirty rows to
bytes, has the changelog acknowledge them, and only then writes them to RocksDB in one batch together with the
changelog's offset. RocksDB is therefore never ahead of the changelog, and a replayed event at or below a row's
mark is simply not folded (docs/adr/0003).
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from streams.rows import StateError as _StateError

__all__ = ["Partition", "Row", "Rows", "Table"]


class Row(Protocol):
    """A state with the bytes of its row."""

    def row(self) -> bytes: ...


class Rows(Protocol):
    """Where rows rest: RocksDB in a worker, a dictionary in tests."""

    def get_row(self, partition: int, key: bytes) -> bytes | None: ...

    def put_rows(self, partition: int, rows: dict[bytes, bytes | None], offset: int) -> None: ...


S = TypeVar("S", bound=Row)
