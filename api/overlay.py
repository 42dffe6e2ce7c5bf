"""The fresh vectors: a small exact table beside the index, searched row by row.

A vector that has just changed lives here until the next base is built, so it is found at once and exactly.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=np.generic)
Slots = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class Overlay:
    """Rows of (slot, vector), one per slot, in no order; not thread-safe, its owner locks.

    >>> overlay = Overlay(2)
    >>> overlay.put(np.array([7, 3]), np.array([[1, 0], [0, 1]], np.float32))
    >>> overlay.scores(np.array([2, 1], np.float32)).tolist()
    [2.0, 1.0]
    """

    def __init__(self, dimensions: int) -> None:
        self._size = 0
        self._slots: Slots = np.empty(64, np.int64)
        self._rows: Vectors = np.empty((64, dimensions), np.float32)
        self._row_of: Slots = np.full(64, -1, np.int64)  # by slot; -1 means not here

    def __len__(self) -> int:
        return self._size

    @property
    def slots(self) -> Slots:
        """The slots by row: a view that the next change invalidates."""
        return self._slots[: self._size]

    @property
    def vectors(self) -> Vectors:
        """The vectors by row, shape (rows, dimensions): a view that the next change invalidates."""
        return self._rows[: self._size]

    def put(self, slots: Slots, vectors: Vectors) -> None:
        """Insert or overwrite; `slots` are distinct and not negative."""
        if not len(slots):
            return
        self._row_of = grown(self._row_of, int(slots.max()) + 1, -1)
        new = slots[self._row_of[slots] < 0]
        end = self._size + len(new)
        self._slots = grown(self._slots, end, 0)
        self._rows = grown(self._rows, end, 0)
        self._slots[self._size : end] = new
        self._row_of[new] = np.arange(self._size, end)
        self._size = end
        self._rows[self._row_of[slots]] = vectors

    def drop(self, slots: Slots) -> None:
        """Forget distinct slots, those not here included; the last rows move into the holes."""
        gone = self._rows_of(slots)
        self._row_of[self._slots[gone]] = -1
        size = self._size - len(gone)
        stays = np.ones(self._size, np.bool_)
        stays[gone] = False
        tail = size + np.flatnonzero(stays[size:])
        holes = gone[gone < size]
        self._rows[holes] = self._rows[tail]
        self._slots[holes] = self._slots[tail]
        self._row_of[self._slots[holes]] = holes
        self._size = size

    def take(self, slots: Slots) -> tuple[Slots, Vectors]:
        """Return a copy of those of `slots` that are here, with their vectors."""
        rows = self._rows_of(slots)
        return self._slots[rows], self._rows[rows]

    def scores(self, query: Vectors) -> Vectors:
        """Return the inner product of the query, shape (dimensions,), with each row.

        Not BLAS: its threads wait for each other while a build has one of the cores.
        """
        scores: Vectors = np.einsum("nd,d->n", self.vectors, query)
        return scores

    def _rows_of(self, slots: Slots) -> Slots:
        rows = self._row_of[slots[slots < len(self._row_of)]]
        return rows[rows >= 0]


def grown(array: npt.NDArray[T], length: int, fill: float) -> npt.NDArray[T]:
    """Return the array, or, if shorter than `length`, a copy at least twice as long, padded with `fill`."""
    if length <= len(array):
        return array
    longer = np.full((max(length, 2 * len(array)), *array.shape[1:]), fill, array.dtype)
    longer[: len(array)] = array
    return longer
