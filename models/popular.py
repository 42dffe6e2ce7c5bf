"""Popular: a row of `popular`, the decayed choices of one partition's items in one context.

The item partition that owns an item counts it, so no second re-keying is needed: a reader merges the rows of all
partitions, whose items never overlap.
"""

from dataclasses import dataclass, field

import numpy as np

from models.decay import DAY, keep_largest
from models.features import Floats
from models.items import PRIOR_STRENGTH, answered, common_rate
from models.marks import in_order
from streams.rows import pack, unpack

VERSION = 1
KEEP = 200
HALF_LIFE = 14 * DAY
SEVERAL = np.float32(20.0)  # weighted choices that an item's popularity in a context is told by


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


def lift(here: Floats, anywhere: Floats) -> Floats:
    """Return how many times as popular candidates are in a context as anywhere, (n,), drawn to one.

    `here` and `anywhere` (n,) are their decayed choices.
    """
    share = np.float32(here.sum() / max(float(anywhere.sum()), 1e-9))
    return (here + SEVERAL) / (anywhere * share + SEVERAL)


def by_chances(popularity: Floats, lift: Floats, ctr: Floats, examined: Floats) -> Floats:
    """Return how much candidates are liked, (n,): choices per look where looks are known, popularity where not.

    What is shown much is chosen much, so popularity alone would keep up what it once put first. `popularity` (n,), not
    below zero, stands in for PRIOR_STRENGTH looks at half the common rate to one and a half times; `lift` tells
    how much more an item is liked here than anywhere. `ctr` and `examined` are those of `models.items`.
    """
    usual = float(popularity.sum()) / max(len(popularity), 1) or 1.0
    expected = common_rate(ctr, examined) * (0.5 + popularity / (popularity + usual))
    liked = (answered(ctr, examined) * lift + PRIOR_STRENGTH * expected) / (examined + PRIOR_STRENGTH)
    return liked.astype(np.float32)
