"""Moments: the choices whose candidates become rows, each found where a history stands just before it."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol
from zlib import crc32

from ops.log.manifest import Spans
from ops.progress import Advance
from ops.train.scene import Scene
from streams.events import Event

Part = Callable[
    [int], str | None
]  # the part that a choice belongs to by its number in all that was said, None for none


class Moment(NamedTuple):
    """Someone who had chosen `earlier` items chose another one at `at` (ms); `number` is its place in the history."""

    number: int
    part: str
    at: int
    user: str
    item: str
    earlier: int


class Past(Protocol):
    """What was said, wherever it is read and folded."""

    @property
    def span(self) -> Spans:
        """The offsets of the log that it covers."""

    @property
    def data(self) -> str:
        """The name of a file or export, empty for the log."""

    def count(self) -> int:
        """Return how many records were said."""

    def time(self, number: int) -> int:
        """Return when a record became known, in ms."""

    def moments(self, scene: Scene, part: Part, advance: Advance) -> Iterator[Moment]:
        """Fold everything into a scene; yield each moment of a part while the scene stands just before it."""


def met(event: Event, at: int, number: int, own: set[str], part: Part) -> Moment | None:
    """Return the moment of a wanted choice that became known at `at` (ms), and add it to what its user chose, `own`.

    There is none for a user's first choice, for an item chosen before, and outside the parts.
    """
    item, earlier = event.item_id or "", len(own)
    name = part(number) if own and item not in own else None
    own.add(item)
    return None if name is None else Moment(number, name, at, event.user, item, earlier)


def parts_of(count: int, wanted: Mapping[str, tuple[float, float, int]]) -> Part:
    """Return which of `count` records belong to which part: a span in shares of all, and about how many of it.

    Which ones are taken follows from their numbers alone.
    """

    def part(number: int) -> str | None:
        lot = crc32(number.to_bytes(8, "little")) / 2**32
        for name, (first, end, most) in wanted.items():
            if first * count <= number < end * count and lot * (end - first) * count < most:
                return name
        return None

    return part
