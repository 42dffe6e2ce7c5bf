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

LIKES = 8  # well-known items that a little known one is compared with
EXEMPLARS = 2048  # among which these are looked for
# Of its length: how far a place may be off before the index hears of it. At 0.1 recall@100 is 0.97 while a stream of
# film ratings is young and half the changes are heard of, at 0.3 it is 0.91 and a quarter.
MOVED = 0.05
SURE = 20.0  # choices from which on an item's content no longer counts
BLOCK = 2048  # items placed at a time

Halves = npt.NDArray[np.float16]
Flags = npt.NDArray[np.bool_]
Likes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Guess:
    """What stands in for choices: the map from content to places, and well-known items (m,) with directions (m, d)."""

    content: Content
    known: Slots
    ways: Floats

    def likes(self, places: Floats) -> Likes:
        """Return the slots of the well-known items in most nearly the direction of each place, shape (n, LIKES)."""
        near = np.argpartition(-(unit(places[:, :-1]) @ self.ways.T), LIKES - 1, axis=1)[:, :LIKES]
        return self.known[near].astype(np.int32)


@dataclass(frozen=True)
class Placed:
    """The places `y` (n or more, d + 1) of `n` items, the `likes` of the little known, the index over the `live`."""

    n: int
    y: Halves
    likes: Likes
    live: Flags
    index: VectorIndex
    guess: Guess | None
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

    def place(self, slots: Slots, by: Guess | None) -> tuple[Floats, Likes]:
        """Return places (n, d + 1), zero for an item of which nothing is known, and likes (n, LIKES), -1 for none.

        `by` places the little known, and finds their likes.
        """
        placed, likes = self._lore.places(slots), np.full((len(slots), LIKES), -1, dtype=np.int32)
        if by is None:
            return placed, likes
        new = np.flatnonzero(self.guessed(slots))
        if len(new):
            slots = slots[new]
            guessed = by.content.place(self._columns.terms[slots], self._columns.sketches(slots))
            placed[new] = content.blend(placed[new], self._lore.chosen(slots), guessed)
            likes[new] = by.likes(guessed)
        return placed, likes

    def guessed(self, slots: Slots) -> Flags:
        """Tell which items are known so little that what is said of them has a part in placing them."""
        columns = self._columns
        found: Flags = columns.described[slots] & (self._lore.chosen(slots) < SURE)
        return found

    def fit(self) -> Guess | None:
        """Fit the map from content to places to the items that are known well; None where none can be had.

        A row that changes meanwhile may be read half old, half new: one of many.
        """
        columns = self._columns
        known = np.flatnonzero(columns.described[: len(columns)])
        chosen = [self._lore.chosen(known[part]) for part in blocks_of(len(known))]
        known = known[np.concatenate([np.zeros(0), *chosen]) >= content.KNOWN]
        known = known[:: -(-len(known) // content.SAMPLE) or 1]
        places = self._lore.places(known)
        found = content.fit(columns.terms[known], columns.sketches(known), places)
        if found is None:
            return None
        some = slice(None, None, -(-len(known) // EXEMPLARS))
        return Guess(found, known[some], unit(places[some, :-1]))

    def moved(self, slots: Slots, new: Floats, y: Halves, live: Flags) -> Flags:
        """Tell which items stand too far from where they stood, or can be found now and could not, or reversed."""
        old = y[slots].astype(np.float32)
        far = np.square(new - old).sum(axis=1) > self._moved**2 * np.square(old).sum(axis=1)
        moved: Flags = far | (live[slots] != (self.live(slots) & new.any(axis=1)))
        return moved

    def all(self, by: Guess | None, choices: float, going_on: Callable[[], bool]) -> Placed | None:
        """Place everything and build an index over it, in a thread; None when told not to go on.

        What changes meanwhile is for the caller to place again.
        """
        columns, n = self._columns, len(self._columns)
        y = np.zeros((len(columns.listed), self._lore.dimensions + 1), dtype=np.float16)
        likes = np.full((len(y), LIKES), -1, dtype=np.int32)
        live = np.zeros(len(y), dtype=np.bool_)
        index = VectorIndex(y.shape[1], automatic=False)
        for slots in blocks_of(n):
            y[slots], likes[slots] = self.place(slots, by)
            live[slots] = found = self.live(slots) & y[slots].any(axis=1)
            index.update(slots[found], y[slots[found]])
            if not going_on():
                return None
        if index.due:
            index.rebuild(wait=True)
        index.automatic = True
        return Placed(n, y, likes, live, index, by, choices)


def blocks_of(n: int) -> list[Slots]:
    """Return the slots 0..n-1 in blocks."""
    return [np.arange(first, min(first + BLOCK, n)) for first in range(0, n, BLOCK)]


def unit(rows: Floats) -> Floats:
    """Return rows of length one; zero stays zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Floats = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return scaled
