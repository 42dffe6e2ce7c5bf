"""Placing: from the columns of items to their vectors, and to a fitted space with its index."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from api.columns import Columns, Slots
from api.index import VectorIndex
from models.space import BLOCK, SAMPLE, Space, centroids
from models.vectors import signs

NOISE = 0.01  # difference of a coordinate that is rounding, not change

Halves = npt.NDArray[np.float16]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Placed:
    """A space, the vectors `y` (n or more, d + 1) of `n` items in it, and the index over the `live` ones."""

    space: Space
    n: int
    y: Halves
    live: Flags
    index: VectorIndex
    choices: float  # of all items when the space was fitted


class Placer:
    """Places items by their columns; keeps every item's signs, packed, since they take longest to compute."""

    def __init__(self, columns: Columns) -> None:
        self.signed = 0  # items, counted by slot, whose signs are there
        self._columns = columns
        self._bits = np.zeros((1024, -(-columns.dimensions // 8)), dtype=np.uint8)

    def sign(self, most: int) -> bool:
        """Compute the signs of at most so many new items; tell whether all have theirs."""
        columns = self._columns
        until = min(len(columns), self.signed + most)
        if until > len(self._bits):
            grown = np.zeros((len(columns.listed), self._bits.shape[1]), dtype=np.uint8)
            grown[: len(self._bits)] = self._bits
            self._bits = grown
        for slot in range(self.signed, until):
            # Around the cache of `signs`, which is for the few items that are being acted on.
            own = signs.__wrapped__(columns.ids[slot], columns.dimensions)
            self._bits[slot] = np.packbits(own > 0)
        self.signed = until
        return until == len(columns)

    def live(self, slots: Slots) -> Flags:
        """Tell which items may be found."""
        found: Flags = self._columns.listed[slots] & self._columns.available[slots]
        return found

    def place(self, space: Space, slots: Slots) -> Halves:
        """Return the vectors of signed items in a space, (n, d + 1)."""
        columns = self._columns
        bits = np.unpackbits(self._bits[slots], axis=1, count=columns.dimensions)
        return space.place(
            columns.context[slots],
            columns.mass[slots],
            columns.chosen[slots],
            bits * np.float32(2) - np.float32(1),
            space.prior(columns.categories[slots]),
        ).astype(np.float16)

    def place_all(self, space: Space) -> Halves:
        """Return the vectors of all signed items, zero up to the columns' capacity: (capacity, d + 1)."""
        y = np.zeros((len(self._columns.listed), self._columns.dimensions + 1), dtype=np.float16)
        for slots in blocks_of(self.signed):
            y[slots] = self.place(space, slots)
        return y

    def moved(self, space: Space, y: Halves, live: Flags) -> Flags:
        """Tell, by slot, which signed items differ from these, by more than rounding does."""
        moved = np.zeros(self.signed, dtype=np.bool_)
        for slots in blocks_of(len(moved)):
            distance = np.abs(self.place(space, slots).astype(np.float32) - y[slots])
            moved[slots] = (distance > NOISE).any(axis=1) | (live[slots] != self.live(slots))
        return moved

    def fit(self, going_on: Callable[[], bool]) -> Placed | None:
        """Fit a space to the signed items and build its index, in a thread; None when told not to go on.

        A row that changes meanwhile may be read half old, half new: the caller places it again afterwards.
        """
        columns, n = self._columns, self.signed
        space = Space.fit(columns.context[:n], columns.mass[:n], columns.chosen[:n])
        space = replace(space, centroids=self._centroids(space, n))
        y = self.place_all(space)
        live = np.zeros(len(y), dtype=np.bool_)
        live[:n] = self.live(np.arange(n))
        index = VectorIndex(columns.dimensions + 1, automatic=False)
        for block in blocks_of(n):
            slots = block[live[block]]
            index.update(slots, y[slots])
            if not going_on():
                return None
        if index.due:
            index.rebuild(wait=True)
        index.automatic = True
        return Placed(space, n, y, live, index, float(columns.chosen[:n].sum()))

    def _centroids(self, space: Space, n: int) -> npt.NDArray[np.float32]:
        columns = self._columns
        warm = np.flatnonzero(columns.mass[:n] > 0)
        warm = warm[:: -(-len(warm) // SAMPLE) or 1]
        codes = columns.categories[warm]
        places = np.zeros((len(warm), columns.dimensions), dtype=np.float32)
        for part in blocks_of(len(warm)):
            places[part] = self.place(space, warm[part])[:, :-1]
        return centroids(places, codes, int(codes.max(initial=-1)) + 1)


def blocks_of(n: int) -> list[Slots]:
    """Return the slots 0..n-1 in blocks."""
    return [np.arange(first, min(first + BLOCK, n)) for first in range(0, n, BLOCK)]
