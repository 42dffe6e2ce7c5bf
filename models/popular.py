"""Popular: a row of `popular`, the decayed choices of one partition's items in one context.

The item partition that owns an item counts it, so no second re-keying is needed: a reader merges the rows of all
partitions, whose items never overlap.
"""

from dataclasses import dataclass, field

from models.decay import DAY, keep_largest
from models.marks import in_order
from streams.rows import pack, unpack

VERSION = 1
KEEP = 200
HALF_LIFE = 14 * DAY


@dataclass(slots=True)
class Popular:
    """The most chosen items of a context, as decayed sums (`models.decay`)."""

    marks: dict[int, int] = field(default_factory=dict)
    items: dict[str, float] = field(default_factory=dict)

    def row(self) -> bytes:
        """Return the bytes of the row."""
        return pack(VERSION, (in_order(self.marks), self.items))

    @classmethod
    def from_row(cls, row: bytes) -> "Popular":
        """Return the counts of a row; raises StateError on another version."""
        return cls(*unpack(VERSION, row))


def choose(popular: Popular, item: str, amount: float) -> Popular:
    """Fold a choice of an item in this context; `amount` is its weight times its growth."""
    items = popular.items
    items[item] = items.get(item, 0.0) + amount
    if len(items) > KEEP * 3 // 2:
        keep_largest(items, KEEP)
    return popular
