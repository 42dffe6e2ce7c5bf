"""Places: which slots are among the candidates, and where; for many at once, without sorting or hashing."""

import numpy as np
import numpy.typing as npt

Slots = npt.NDArray[np.int64]


class Places:
    """A sparse set over slots (Briggs and Torczon 1993): it needs no clearing between requests.

    >>> places = Places()
    >>> kept = places.take(np.array([7, 3, 7, 9]))
    >>> kept.tolist(), places.find(np.array([3, 8, -1])).tolist()
    ([0, 1, 3], [1, -1, -1])
    """

    def __init__(self) -> None:
        self._place = np.zeros(1024, dtype=np.int32)
        self.slots: Slots = np.zeros(0, dtype=np.int64)

    def take(self, slots: Slots) -> npt.NDArray[np.int64]:
        """Hold the distinct slots; return the index in `slots` of each one's first occurrence, in order."""
        if len(slots) and (most := int(slots.max())) >= len(self._place):
            self._place = np.zeros(max(2 * len(self._place), most + 1), dtype=np.int32)
        index = np.arange(len(slots), dtype=np.int32)
        self._place[slots[::-1]] = index[::-1]  # written last, the first occurrence stays
        first = np.flatnonzero(self._place[slots] == index)
        self.hold(slots[first])
        return first

    def hold(self, slots: Slots) -> None:
        """Hold slots that are distinct and have been taken before."""
        self._place[slots] = np.arange(len(slots), dtype=np.int32)
        self.slots = slots

    def find(self, slots: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """Return the place of each slot among those held, -1 where it is not."""
        if not len(self.slots):
            return np.full(len(slots), -1, dtype=np.int32)
        place = self._place.take(slots, mode="clip")  # of another slot, or of none: then it does not agree
        return np.where(self.slots.take(place, mode="clip") == slots, place, np.int32(-1))
