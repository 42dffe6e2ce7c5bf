"""The two layers of the vector index as one: a base that never changes under an overlay that does.

A slot counts in one layer at most: a changed vector enters the overlay and hides its old version in the base.
"""

import numpy as np
import numpy.typing as npt

from api.base import Base
from api.overlay import Overlay, Slots, Vectors, grown

WIDENINGS = 4  # how often a search that met hidden vectors asks the base for four times as many
Flags = npt.NDArray[np.bool_]


class Layers:
    """Base, overlay and which of the base's vectors count; not thread-safe, its owner locks.

    Takes distinct slots and checked vectors only.
    """

    def __init__(self, dimensions: int) -> None:
        self.base = Base(dimensions)
        self.overlay = Overlay(dimensions)
        self._based = np.zeros(0, np.bool_)  # by slot: its vector in the base counts
        self._in_base = 0  # how many do
        self._touched = np.zeros(0, np.bool_)  # by slot: changed since `mark`

    def __len__(self) -> int:
        return self._in_base + len(self.overlay)

    @property
    def based(self) -> Slots:
        """The slots whose vectors in the base count."""
        return np.flatnonzero(self._based)

    def put(self, slots: Slots, vectors: Vectors) -> None:
        """Insert or replace."""
        self._hide(slots)
        self.overlay.put(slots, vectors)

    def drop(self, slots: Slots) -> None:
        """Forget."""
        self._hide(slots)
        self.overlay.drop(slots)

    def search(self, query: Vectors, count: int) -> tuple[Slots, Vectors]:
        """Return `count` or more of the best slots (if there are as many) and their scores, in no order."""
        old, old_scores = self._search_base(query, count)
        slots = np.concatenate([old, self.overlay.slots])
        return slots, np.concatenate([old_scores, self.overlay.scores(query)])

    def mark(self) -> None:
        """Begin to note what changes, for the swap to come."""
        self._touched = np.zeros(len(self._based), np.bool_)

    def swap(self, base: Base, holds: Flags) -> None:
        """Let a base serve that `holds` slots as they were at `mark` or later; newer vectors stay on top."""
        self._grow(len(holds))
        self._based = np.zeros(len(self._touched), np.bool_)
        self._based[: len(holds)] = holds
        self._based &= ~self._touched
        self._in_base = int(np.count_nonzero(self._based))
        self.base = base
        fresh = self.overlay.slots
        self.overlay.drop(fresh[self._based[fresh]])

    def _hide(self, slots: Slots) -> None:
        self._grow(int(slots.max(initial=-1)) + 1)
        self._in_base -= int(np.count_nonzero(self._based[slots]))
        self._based[slots] = False
        self._touched[slots] = True

    def _grow(self, end: int) -> None:
        self._based = grown(self._based, end, 0)
        self._touched = grown(self._touched, len(self._based), 0)

    def _search_base(self, query: Vectors, count: int) -> tuple[Slots, Vectors]:
        size = len(self.base)
        if count <= 0 or not self._in_base:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        want = count * size // self._in_base + 32
        for _ in range(WIDENINGS):
            slots, scores = self.base.search(query, min(want, size))
            counts = self._based[slots]
            if want >= size or np.count_nonzero(counts) >= count:
                break
            want *= 4
        return slots[counts], scores[counts]


def flags(slots: Slots) -> Flags:
    """Return an array that is true at `slots`."""
    array = np.zeros(int(slots.max(initial=-1)) + 1, np.bool_)
    array[slots] = True
    return array
