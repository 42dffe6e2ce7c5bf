"""Archives: beginnings of the log's topics that were rewritten, under another name and with their old offsets.

An archived record says in a header which offset it once had, so that marks and origins stay true. `control` holds
which archive stands for which topic, and up to where.
"""

from collections.abc import Sequence

import msgspec

from streams import control
from streams.errors import StateError
from streams.settings import Settings

NAME = "archives"
HEADER = "offset"


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """The topic that holds what another one held before `until`, the first offset by partition that it lacks."""

    topic: str
    until: dict[int, int]

    def position_at(self, partition: int, at: int, position: int) -> int:  # noqa: ARG002
        """Return a position found by time in the topic itself; it cannot lie inside the archive."""
        return max(position, self.until.get(partition, 0))


def headers(offset: int) -> list[tuple[str, bytes]]:
    """Return the headers of an archived record."""
    return [(HEADER, offset.to_bytes(8))]


def offset_of(found: Sequence[tuple[str, bytes]]) -> int:
    """Return the offset a record once had; raises StateError when it does not say."""
    for name, value in found:
        if name == HEADER:
            return int.from_bytes(value)
    raise StateError("an archived record does not say which offset it had; the topic is no archive")


def load(settings: Settings) -> dict[str, Archive]:
    """Return the archives by the broker's name of the topic they stand for."""
    value = control.read(settings).get(NAME)
    return {} if value is None else msgspec.msgpack.decode(value, type=dict[str, Archive])


def save(settings: Settings, archives: dict[str, Archive]) -> None:
    """Record archives; raises Unavailable."""
    control.write(settings, NAME, msgspec.msgpack.encode(archives))
