"""Scratch: what a learner notes by slot while it learns; it is derived from rows, and none of it is kept in them."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.compiled import compiled
from models.learned import FREE, Slots


class Scratch(NamedTuple):
    """Arrays by slot (capacity,).

    `ringed`: how often an item stands in the ring; `moved`: whether its row changed since that was last asked; then
    it is among the `many` first of `changed`.
    """

    ringed: Slots
    moved: npt.NDArray[np.bool_]
    changed: Slots
    many: npt.NDArray[np.int64]


def fresh(capacity: int, ring: Slots) -> Scratch:
    """Return what is noted before the first choice, with that ring of recent ones."""
    return Scratch(
        np.bincount(ring[ring != FREE], minlength=capacity).astype(np.int32),
        np.zeros(capacity, np.bool_),
        np.zeros(capacity, np.int32),
        np.zeros(1, np.int64),
    )


def grown(scratch: Scratch, capacity: int) -> Scratch:
    """Return the same with room for more."""
    more = capacity - len(scratch.ringed)
    return Scratch(
        np.pad(scratch.ringed, (0, more)),
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
