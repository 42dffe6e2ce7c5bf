"""Outcomes: a row of `outcomes`, what the users in each arm of an experiment did, and the fold of their trials into it.

A sheet is the Gram matrix of the units' measures with a constant one before them: numbers, sums, sums of squares and
of products, the second moments that all statistics need. It is kept up to date by taking a unit's measures out as they
were and putting them in as they are. A partition holds the units of one partition of `events`; a reader merges them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from models.marks import in_order
from streams.exposures import MEASURES
from streams.rows import pack, unpack
from streams.touches import Outcome

VERSION = 1
SHEETS = 32  # arms of an experiment, all versions together; those of the oldest version leave

Arm = tuple[int, str]  # the version of the experiment, and the arm
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


@dataclass(slots=True)
class Outcomes:
    """The sheets of an experiment by version and arm, over the units of one partition."""

    marks: dict[int, int] = field(default_factory=dict)
    sheets: dict[Arm, Sheet] = field(default_factory=dict)

    def row(self) -> bytes:
        """Return the bytes of the row."""
        sheets = [
            (*arm, sheet.names, sheet.gram.ravel().tolist()) for arm, sheet in sorted(self.sheets.items())
        ]
        return pack(VERSION, (in_order(self.marks), sheets))

    @classmethod
    def from_row(cls, row: bytes) -> "Outcomes":
        """Return the sheets of a row; raises StateError on another version."""
        marks, sheets = unpack(VERSION, row)
        return cls(marks, {
            (version, arm): Sheet(tuple(names), np.array(gram).reshape(len(names) + 1, -1))
            for version, arm, names, gram in sheets
        })  # fmt: skip


def change(outcomes: Outcomes, said: Outcome) -> Outcomes:
    """Fold how a user's part in the experiment changed."""
    arm, sheets = (said.version, said.arm), outcomes.sheets
    sheet = sheets.get(arm) or Sheet.empty(said.names[:MEASURES])
    if not set(said.names) <= set(sheet.names):
        names = tuple(dict.fromkeys((*sheet.names, *said.names)))[:MEASURES]
        sheet = Sheet(names, sheet.under(names))
    sheets[arm] = sheet
    places = None if sheet.names == said.names else _places(said.names, sheet.names)
    gram = sheet.gram
    if said.after:
        gram += _squared(said.after, places, len(gram))
    if said.before:
        gram -= _squared(said.before, places, len(gram))
    if len(sheets) > SHEETS:
        del sheets[min(sheets)]
    return outcomes


def _places(names: Sequence[str], among: Sequence[str]) -> list[int]:
    """Return where the constant and each name stand in a sheet of other names, -1 for nowhere."""
    return [0, *(among.index(name) + 1 if name in among else -1 for name in names)]


def _squared(vector: Sequence[float], places: Sequence[int] | None, size: int) -> Gram:
    """Return the products of a unit's measures, each at its place."""
    numbers = np.array(vector, np.float64)
    if places is not None:
        numbers, given = np.zeros(size), numbers
        numbers[[place for place in places if place >= 0]] = given[[place >= 0 for place in places]]
    return numbers[:, None] * numbers
