"""Popular: a row of `popular`, the decayed choices of one partition's items in one context.

The item partition that owns an item counts it, so no second re-keying is needed: a reader merges the rows of all
partitions, whose items never overlap.
"""

from dataclasses import dataclass, field

from models.decay import DAY, Counter, add, prune
from streams.rows import pack, unpack

VERSION = 1
KEEP = 200
HALF_LIFE = 7 * DAY


@dataclass(slots=True)
class Popular:
    """The most chosen items of a context."""

    marks: dict[int, int] = field(default_factory=dict)
    items: dict[str, Counter] = field(default_factory=dict)

    def row(self) -> bytes:
        """Return the bytes of the row."""
        return pack(VERSION, (self.marks, self.items))

    @classmethod
    def from_row(cls, row: bytes) -> "Popular":
        """Return the counts of a row; raises StateError on another version."""
        return cls(*unpack(VERSION, row))


def choose(popular: Popular, item: str, weight: float, at: int) -> Popular:
    """Fold a choice of an item in this context."""
    add(popular.items, item, weight, at, HALF_LIFE)
    if len(popular.items) > KEEP * 3 // 2:
        prune(popular.items, KEEP, HALF_LIFE)
    return popular
