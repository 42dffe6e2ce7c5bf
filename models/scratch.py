"""Scratch: what a learner notes by slot while it learns; it is derived from rows, and none of it is kept in them."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.compiled import compiled
from models.learned import FREE, Slots

BITS = 12  # of a place
CHOSEN = (1 << BITS) - 1  # the place of what was chosen


class Scratch(NamedTuple):
    """Arrays by slot (capacity,).

    `ringed`: how often an item stands in the ring; `noted`: the last choice that it had a place in, and which;
    `moved`: whether its row changed since it was last asked; then it is among the `many` first of `changed`.
    """

    ringed: Slots
    noted: npt.NDArray[np.int64]
    moved: npt.NDArray[np.bool_]
    changed: Slots
    many: npt.NDArray[np.int64]


def fresh(capacity: int, ring: Slots) -> Scratch:
    """Return what is noted before the first choice, with that ring of recent ones."""
    return Scratch(
        np.bincount(ring[ring != FREE], minlength=capacity).astype(np.int32),
        np.full(capacity, -1),
        np.zeros(capacity, np.bool_),
        np.zeros(capacity, np.int32),
        np.zeros(1, np.int64),
    )


def grown(scratch: Scratch, capacity: int) -> Scratch:
    """Return the same with room for more."""
    more = capacity - len(scratch.ringed)
    return Scratch(
        np.pad(scratch.ringed, (0, more)),
        np.pad(scratch.noted, (0, more), constant_values=-1),
        np.pad(scratch.moved, (0, more)),
        np.pad(scratch.changed, (0, more)),
        scratch.many,
    )


@compiled
def note(scratch: Scratch, slot: int) -> None:
    """Note that a row changed."""
    if not scratch.moved[slot]:
        scratch.moved[slot] = True
        scratch.changed[scratch.many[0]] = slot
        scratch.many[0] += 1


@compiled
def lay(scratch: Scratch, now: int, item: int, after: Slots) -> None:
    """Note the places of choice number `now`: of its trail, and of what was chosen."""
    for k in range(len(after)):
        scratch.noted[after[k]] = (now << BITS) + min(k, CHOSEN - 1)
    scratch.noted[item] = (now << BITS) + CHOSEN


@compiled
def place(scratch: Scratch, slot: int, now: int) -> int:
    """Return the place of an item in choice number `now`, FREE for one that has none."""
    noted = scratch.noted[slot]
    return int(noted & CHOSEN) if noted >> BITS == now else FREE
