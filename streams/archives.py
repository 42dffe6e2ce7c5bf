"""Archives: beginnings of the log's topics that were written anew, every record under its old offset.

Offsets are what marks and origins are made of, so nothing may move: where a record was taken out, a blank one with
the header `erased` holds its place. `control` holds which archive stands for which topic, and up to where.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from streams import control
from streams.settings import Settings

NAME = "archives"
ERASED = "erased"  # header of a blank record, and of a batch with nil for some of its events
PLACE = b"\xff"  # key of a blank record in a compacted topic, which takes none without; no UTF-8, so no id can be it
HEADERS: tuple[tuple[str, bytes], ...] = ((ERASED, b""),)


class Record(Protocol):
    """A record of the log, as any client gives it."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """The topic that holds what another one held before `until`, an offset by partition."""

    topic: str
    until: dict[int, int]


def erased(record: Record) -> bool:
    """Tell whether something was taken out of a record."""
    return any(name == ERASED for name, _ in record.headers or ())


def blank(record: Record) -> bool:
    """Tell whether a record only holds a place; a worker would refuse it, so leaving it out changes no row."""
    return record.value is None and record.key in (None, PLACE) and erased(record)


def load(settings: Settings) -> dict[str, Archive]:
    """Return the archives by the broker's name of the topic they stand for."""
    value = control.read(settings).get(NAME)
    return {} if value is None else msgspec.msgpack.decode(value, type=dict[str, Archive])


def save(settings: Settings, archives: dict[str, Archive]) -> None:
    """Record archives; raises Unavailable."""
    control.write(settings, NAME, msgspec.msgpack.encode(archives))
