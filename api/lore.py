"""Lore: what was learned of all items together, as this process has it, and how its slots meet those of the columns.

The learner numbers items by itself, so an item may be here and not in the columns' arrays, or there and not here. Two
translations, by slot, go with every row; an item without a row is described as one that nobody ever chose.
"""

import logging
from collections.abc import Sequence
from functools import cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from api.columns import Columns, Slots
from models import stack
from models.features import NONE, Floats, Sparse
from models.learned import CHOSEN, COMMON, FREE, NOBODY, Learned
from models.merged import Merged
from models.responses import scorer_of
from models.scorer import Scorer, light
from models.users import seen_hash
from streams.errors import StateError

log = logging.getLogger("refold.api")
After = npt.NDArray[np.int32]  # slots of the learner, the newest choice first
Number = TypeVar("Number", np.int32, np.int64)


class Lore:
    """The rows of `learned`, one `Learned` for each shard; requests read `learned`, which is all of them in one.

    With one shard that is the shard itself; with several it is kept beside them (models/merged.py).
    """

    def __init__(self, columns: Columns, dimensions: int = 64, shards: int = 1) -> None:
        self.dimensions = dimensions
        self._columns = columns
        self._shards = shards
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._parts = [Learned(self.dimensions) for _ in range(self._shards)]
        self._merged = Merged(self._parts) if self._shards > 1 else None
        self.learned = self._parts[0] if self._merged is None else self._merged.learned
        self._taught: tuple[bytes, ...] = ()
        self._scorer = light()
        self._blank = Learned(self.dimensions)  # its items were never chosen
        self._column = np.full(1, FREE, dtype=np.int64)  # by slot of the learner
        self._slot = np.full(1, FREE, dtype=np.int32)  # by slot of the columns

    def put(self, shard: int, key: str, row: bytes | None) -> int | None:
        """Take over a row of a shard, None for a deleted one; return the columns' slot, None for the common row.

        Raises StateError for a row that cannot be read.
        """
        part = self._parts[shard]
        if row is None:
            part.drop(key)
        else:
            part.put(key, row)
        if self._merged is not None:
            self._merged.take(key)
        return None if key == COMMON else self.meet(key)

    @property
    def scorer(self) -> Scorer:
        """The light model as the shards taught it, compiled when one says more; the packaged one before that."""
        rows = tuple(part.common.actions for part in self._parts)
        if rows != self._taught:
            self._taught = rows
            try:
                self._scorer = scorer_of(rows)
            except StateError as error:
                log.warning("what was learned of actions is left out: %s", error)
        return self._scorer

    def after(self, items: Sequence[str]) -> After:
        """Return the slots of those items that are known here, in their order."""
        return self.learned.slots(tuple(items))

    def slots(self, columns: Slots) -> After:
        """Return the slots here of slots of the columns, FREE for an item without a row."""
        own = np.full(len(columns), FREE, dtype=np.int32)
        inside = columns < len(self._slot)
        own[inside] = self._slot[columns[inside]]
        own[self._column[own] != columns] = FREE  # a slot may have become another item's
        return own

    def chosen(self, columns: Slots) -> npt.NDArray[np.float64]:
        """Return how often items were chosen (n,), as far as the learner was told."""
        own = self.slots(columns)
        return np.where(own == FREE, 0.0, self.learned.arrays.numbers[own, CHOSEN])

    def places(self, columns: Slots) -> Floats:
        """Return the places of items (n, d + 1), zero for an item without a row."""
        own = self.slots(columns)
        placed = stack.places(self.learned, own)
        placed[own == FREE] = 0.0
        return placed

    def query(self, after: After) -> Floats | None:
        """Return the query (d + 1,) of a trail; None where nothing of it is known."""
        return stack.query(self.learned, after) if len(after) else None

    def before(self, hashes: bytes, after: After) -> After:
        """Return the slots of what someone acted on before a trail, by hashes, the last of them first."""
        return self.learned.before(hashes, after)

    def related(self, after: After, count: int, before: After = NOBODY) -> Sparse:
        """Return at most so many items chosen near those of a trail, with strengths, the strongest first."""
        if not len(after) or count <= 0:
            return NONE
        slots, strengths = stack.neighbours(self.learned, after, count, before)
        known = slots < len(self._column)  # else its row has not come yet
        columns = self._column[np.where(known, slots, 0)]
        known &= (columns != FREE) & (self._slot[columns] == slots)
        return columns[known], strengths[known]

    def near(self, item: str, count: int) -> list[tuple[str, float]]:
        """Return at most so many items chosen near one, with strengths, the strongest first."""
        slots, strengths = self.related(self.after([item]), count)
        ids = [self._columns.ids[slot] for slot in slots.tolist()]
        return list(zip(ids, strengths.tolist(), strict=True))

    def signals(self, after: After, columns: Slots, stage: int = FREE, before: After = NOBODY) -> Floats:
        """Return the signals of items (n, SIGNALS) for someone with a trail and what was before it, at a stage."""
        own = self.slots(columns)
        rows = stack.signals(self.learned, after, np.maximum(own, 0), stage, before)
        if (unknown := own == FREE).any():
            self._blank.common.choices = self.learned.common.choices
            rows[unknown] = stack.signals(self._blank, NOBODY, np.zeros(1, dtype=np.int32))
        # An item's row may be newer than the common one, for as long as a flush is being taken over.
        return np.nan_to_num(rows, copy=False)

    def relevance(self, signals: Floats, after: After, before: After = NOBODY) -> Floats:
        """Return the stack's log-score (n,) of items with these signals."""
        return stack.relevance(self.learned, signals, len(after) + len(before))

    def meet(self, key: str) -> int:
        """Return the slot of an item in the columns, having noted which one it has here."""
        column, slot = self._columns.slot(key), self.learned.slot_of.get(key, FREE)
        self._slot = _reaching(self._slot, column)
        self._slot[column] = slot
        if slot != FREE:
            self._column = _reaching(self._column, slot)
            self._column[slot] = column
        return column


@cache
def warm() -> None:
    """Make the compiled functions ready that requests call: a second where they lie on disk, a minute where not."""
    lore = Lore(Columns(1))
    lore.learned.slot("a")
    after = lore.after(["a"])
    lore.related(after, 1)
    lore.query(after)
    lore.before(seen_hash("b"), after)
    lore.relevance(lore.signals(after, np.zeros(1, dtype=np.int64)), after)


def _reaching(array: npt.NDArray[Number], slot: int) -> npt.NDArray[Number]:
    if slot < len(array):
        return array
    longer = np.full(2 * slot + 64, FREE, dtype=array.dtype)
    longer[: len(array)] = array
    return longer
