"""Placing: where items stand by what was learned of them, and by what is said of those little is known about."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from api.columns import Columns, Slots
from api.index import VectorIndex
from api.lore import Lore
from models import content
from models.content import Content
from models.features import Floats

MOVED = 0.1  # of its length: how far a place may be off before the index hears of it
SURE = 20.0  # choices from which on an item's content no longer counts
BLOCK = 2048  # items placed at a time

Halves = npt.NDArray[np.float16]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Placed:
    """The places `y` (n or more, d + 1) of `n` items, the index over the `live` ones, the map that was used."""

    n: int
    y: Halves
    live: Flags
    index: VectorIndex
    content: Content | None
    choices: float  # of all items when the map was fitted


class Placer:
    """Places items by their columns and what was learned; one is `moved` by so much of its length, or stays."""

    def __init__(self, columns: Columns, lore: Lore, moved: float = MOVED) -> None:
        self._columns = columns
        self._lore = lore
        self._moved = moved

    def live(self, slots: Slots) -> Flags:
        """Tell which items may be found."""
        found: Flags = self._columns.listed[slots] & self._columns.available[slots]
        return found

    def place(self, slots: Slots, by: Content | None) -> Floats:
        """Return places (n, d + 1), zero for an item of which nothing is known; `by` places the little known."""
        placed = self._lore.places(slots)
        if by is None:
            return placed
        new = np.flatnonzero(self.guessed(slots))
        if len(new):
            slots = slots[new]
            guessed = by.place(self._columns.terms[slots], self._columns.sketches(slots))
            placed[new] = content.blend(placed[new], self._lore.chosen(slots), guessed)
        return placed

    def guessed(self, slots: Slots) -> Flags:
        """Tell which items are known so little that what is said of them has a part in placing them."""
        columns = self._columns
        found: Flags = columns.described[slots] & (self._lore.chosen(slots) < SURE)
        return found

    def fit(self) -> Content | None:
        """Fit the map from content to places to the items that are known well; None where none can be had.

        A row that changes meanwhile may be read half old, half new: one of many.
        """
        columns = self._columns
        known = np.flatnonzero(columns.described[: len(columns)])
        chosen = [self._lore.chosen(known[part]) for part in blocks_of(len(known))]
        known = known[np.concatenate([np.zeros(0), *chosen]) >= content.KNOWN]
        known = known[:: -(-len(known) // content.SAMPLE) or 1]
        return content.fit(columns.terms[known], columns.sketches(known), self._lore.places(known))

    def moved(self, slots: Slots, new: Floats, y: Halves, live: Flags) -> Flags:
        """Tell which items stand too far from where they stood, or can be found now and could not, or reversed."""
        old = y[slots].astype(np.float32)
        far = np.square(new - old).sum(axis=1) > self._moved**2 * np.square(old).sum(axis=1)
        moved: Flags = far | (live[slots] != (self.live(slots) & new.any(axis=1)))
        return moved

    def all(self, by: Content | None, choices: float, going_on: Callable[[], bool]) -> Placed | None:
        """Place everything and build an index over it, in a thread; None when told not to go on.

        What changes meanwhile is for the caller to place again.
        """
        columns, n = self._columns, len(self._columns)
        y = np.zeros((len(columns.listed), self._lore.dimensions + 1), dtype=np.float16)
        live = np.zeros(len(y), dtype=np.bool_)
        index = VectorIndex(y.shape[1], automatic=False)
        for slots in blocks_of(n):
            y[slots] = self.place(slots, by)
            live[slots] = found = self.live(slots) & y[slots].any(axis=1)
            index.update(slots[found], y[slots[found]])
            if not going_on():
                return None
        if index.due:
            index.rebuild(wait=True)
        index.automatic = True
        return Placed(n, y, live, index, by, choices)


def blocks_of(n: int) -> list[Slots]:
    """Return the slots 0..n-1 in blocks."""
    return [np.arange(first, min(first + BLOCK, n)) for first in range(0, n, BLOCK)]
