"""Outcomes: what the users in each arm of an experiment did, as the second moments that all statistics need.

A sheet is the Gram matrix of the units' measures with a constant one before them: numbers, sums, sums of squares and
of products. It is kept up to date by taking a unit's measures out as they were and putting them in as they are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Gram = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sheet:
    """The units of one arm: `gram` is (k + 1, k + 1) for k measures `names`, index 0 the constant 1.

    `gram[0, 0]` counts units, `gram[0, i]` sums measure i - 1 over them, `gram[i, j]` sums its products.
    """

    names: tuple[str, ...]
    gram: Gram

    @classmethod
    def empty(cls, names: Sequence[str] = ()) -> "Sheet":
        """Return the sheet of no units."""
        return cls(tuple(names), np.zeros((len(names) + 1, len(names) + 1)))

    @property
    def units(self) -> int:
        """Return how many units there are."""
        return int(self.gram[0, 0])

    def under(self, names: Sequence[str]) -> Gram:
        """Return the matrix with these measures in this order; those it does not know are zero."""
        if tuple(names) == self.names:
            return self.gram
        found = np.zeros((len(names) + 1, len(names) + 1))
        known = [(to, self.names.index(name) + 1) for to, name in enumerate(names, 1) if name in self.names]
        to, of = [0, *(pair[0] for pair in known)], [0, *(pair[1] for pair in known)]
        found[np.ix_(to, to)] = self.gram[np.ix_(of, of)]
        return found


def merge(sheets: Iterable[Sheet]) -> Sheet:
    """Return the sheet of the units of several, which have none in common; their order does not matter.

    >>> one, two = Sheet(("lists",), np.array([[1.0, 2.0], [2.0, 4.0]])), Sheet.empty(("lists",))
    >>> merge([two, one]).gram.tolist()
    [[1.0, 2.0], [2.0, 4.0]]
    """
    held = list(sheets)
    known = {each.names for each in held}
    names = known.pop() if len(known) == 1 else tuple(sorted({name for each in known for name in each}))
    if not held:
        return Sheet.empty()
    # sorted, since floats do not add up to the same in every order
    return Sheet(names, np.sort(np.stack([each.under(names) for each in held]), axis=0).sum(axis=0))
