"""Items as numpy columns: what a request gathers for a thousand candidates at once, without a Python loop.

An item has a slot, an integer that never changes while the process lives; every column is indexed by slot. A
slot exists as soon as an id is met (in a popular list, say); `listed` tells whether the catalogue knows it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.content import SKETCH, TERMS, sketch, terms
from models.items import CHOICES, PRIOR_CTR, VALUE, WINDOWS, ItemRow, ctr
from models.lately import Totals
from models.users import seen_hash

CATEGORIES = 4  # of an item, used in ranking

Slots = npt.NDArray[np.int64]


class Columns:
    """The items of a replica, column by column; `capacity` doubles when it is reached.

    Times are float64 ms since 1970. `tiles`, `choices` and `values` hold windows of models.items: tile number, and
    sums of (this tile, the tile before), shape (slot, window, 2); `totals` are those of all items' choices. `terms`
    are what the catalogue says (models/content.py), 0 for none; `described` tells whether it says anything, in words
    or by a vector of the client's.
    """

    def __init__(self, capacity: int = 1024) -> None:
        self.ids: list[str] = []
        self.slot_of: dict[str, int] = {}
        self.category_names: list[str] = []
        self.category_code: dict[str, int] = {}
        self._shape: dict[str, tuple[tuple[int, ...], Any, Any]] = {
            "listed": ((), np.bool_, False),
            "available": ((), np.bool_, False),
            "published_at": ((), np.float64, np.nan),
            "expires_at": ((), np.float64, np.inf),
            "boost": ((), np.float32, 1.0),
            "categories": ((CATEGORIES,), np.int32, -1),
            "first_at": ((), np.float64, np.nan),
            "last_at": ((), np.float64, np.nan),
            "chosen": ((), np.float32, 0.0),
            "examined": ((), np.float32, 0.0),
            "ctr": ((), np.float32, PRIOR_CTR),
            "tiles": ((len(WINDOWS),), np.int32, 0),
            "choices": ((len(WINDOWS), 2), np.float32, 0.0),
            "values": ((len(WINDOWS), 2), np.float32, 0.0),
            "seen_hash": ((), np.uint32, 0),
            "terms": ((TERMS,), np.int16, 0),
            "described": ((), np.bool_, False),
        }
        self.totals = Totals()
        self.listed: npt.NDArray[np.bool_]
        self.available: npt.NDArray[np.bool_]
        self.published_at: npt.NDArray[np.float64]
        self.expires_at: npt.NDArray[np.float64]
        self.boost: npt.NDArray[np.float32]
        self.categories: npt.NDArray[np.int32]
        self.first_at: npt.NDArray[np.float64]
        self.last_at: npt.NDArray[np.float64]
        self.chosen: npt.NDArray[np.float32]
        self.examined: npt.NDArray[np.float32]
        self.ctr: npt.NDArray[np.float32]
        self.tiles: npt.NDArray[np.int32]
        self.choices: npt.NDArray[np.float32]
        self.values: npt.NDArray[np.float32]
        self.seen_hash: npt.NDArray[np.uint32]
        self.terms: npt.NDArray[np.int16]
        self.described: npt.NDArray[np.bool_]
        for name, (inner, kind, fill) in self._shape.items():
            setattr(self, name, np.full((capacity, *inner), fill, dtype=kind))
        self._sketches: npt.NDArray[np.float16] | None = None  # none as long as no client gives a vector

    def __len__(self) -> int:
        return len(self.ids)

    def slot(self, item: str) -> int:
        """Return the slot of an item, giving it one when it is new."""
        slot = self.slot_of.get(item)
        if slot is None:
            slot = len(self.ids)
            if slot == len(self.listed):
                self._grow()
            self.ids.append(item)
            self.slot_of[item] = slot
            self.seen_hash[slot] = int.from_bytes(seen_hash(item), "little")
        return slot

    def category(self, name: str) -> int:
        """Return the code of a category, giving it one when it is new."""
        code = self.category_code.get(name)
        if code is None:
            code = self.category_code[name] = len(self.category_names)
            self.category_names.append(name)
        return code

    def slots(self, items: list[str]) -> Slots:
        """Return the slots of the items that have one, in order."""
        return np.array([self.slot_of[item] for item in items if item in self.slot_of], dtype=np.int64)

    def put(self, item: str, row: ItemRow) -> int:
        """Take over a row of the items table; return its slot."""
        return int(self.put_all([(item, row)])[0])

    def put_all(self, rows: Sequence[tuple[str, ItemRow]]) -> Slots:
        """Take over rows of different items, cheaper at once than one by one; return their slots."""
        if not rows:
            return np.empty(0, dtype=np.int64)
        # Slots first: a new one may grow the columns, and an array taken before that is no longer the column.
        slots = np.array([self.slot(item) for item, _ in rows], dtype=np.int64)
        self._list(slots, rows)
        numbers = np.array(
            [(r.first_at, r.last_at, r.chosen, r.examined, r.answered) for _, r in rows], dtype=np.float64
        )
        first, last, self.chosen[slots], examined, answered = numbers.T
        self.first_at[slots] = np.where(first > 0, first, np.nan)
        self.last_at[slots] = np.where(last > 0, last, np.nan)
        self.examined[slots] = examined
        self.ctr[slots] = ctr(answered, examined)
        windows = np.array([row.windows for _, row in rows], dtype=np.float64)
        self.totals.add(self.tiles[slots], self.choices[slots], -1)
        self.tiles[slots] = windows[:, :, 0]
        self.choices[slots] = windows[:, :, (1 + CHOICES, 4 + CHOICES)]
        self.totals.add(self.tiles[slots], self.choices[slots])
        self.values[slots] = windows[:, :, (1 + VALUE, 4 + VALUE)]
        return slots

    def sketches(self, slots: Slots) -> npt.NDArray[np.float32] | None:
        """Return the sketches of the clients' vectors, shape (n, SKETCH), zero for none; None if no item has one."""
        return None if self._sketches is None else self._sketches[slots].astype(np.float32)

    def drop(self, item: str) -> int | None:
        """Forget what a deleted row said; the slot stays. Return it, or None for an unknown item."""
        slot = self.slot_of.get(item)
        if slot is not None:
            self.totals.add(self.tiles[[slot]], self.choices[[slot]], -1)
            self._blank(slot)
        return slot

    def clear(self) -> None:
        """Forget what all rows said; the slots stay."""
        self.totals = Totals()
        self._blank(slice(None))

    def _blank(self, which: int | slice) -> None:
        for name, (_, _, fill) in self._shape.items():
            if name != "seen_hash":
                getattr(self, name)[which] = fill

    def _list(self, slots: Slots, rows: Sequence[tuple[str, ItemRow]]) -> None:
        unlisted: dict[str, Any] = {"available": False}
        said = [unlisted if row.catalogue is None else row.catalogue for _, row in rows]
        codes = np.full((len(rows), CATEGORIES), -1, dtype=np.int32)
        for n, item in enumerate(said):
            for m, name in enumerate([*dict.fromkeys(item.get("categories", ()))][:CATEGORIES]):
                codes[n, m] = self.category(name)
        self.categories[slots] = codes
        self.listed[slots] = [row.catalogue is not None for _, row in rows]
        self.available[slots] = [item.get("available", True) for item in said]
        self.published_at[slots] = [item.get("published_at") or np.nan for item in said]
        self.expires_at[slots] = [item.get("expires_at") or np.inf for item in said]
        self.boost[slots] = [item.get("boost", 1.0) for item in said]
        self._describe(slots, said)

    def _describe(self, slots: Slots, said: Sequence[dict[str, Any]]) -> None:
        found = np.zeros((len(said), TERMS), dtype=np.int16)
        for n, item in enumerate(said):
            own = terms(item.get("title", ""), tuple(item.get("tags", ())), tuple(item.get("categories", ())))
            found[n, : len(own)] = own
        self.terms[slots] = found
        self.described[slots] = found.any(axis=1)
        given = [n for n, item in enumerate(said) if item.get("vector")]
        if given and self._sketches is None:
            self._sketches = np.zeros((len(self.listed), SKETCH), dtype=np.float16)
        if self._sketches is not None:
            self._sketches[slots] = 0.0
            for n in given:
                self._sketches[slots[n]] = sketch(said[n]["vector"])
            self.described[slots[given]] = True

    def _grow(self) -> None:
        for name, (inner, kind, fill) in self._shape.items():
            old = getattr(self, name)
            new = np.full((2 * len(old), *inner), fill, dtype=kind)
            new[: len(old)] = old
            setattr(self, name, new)
        if self._sketches is not None:
            added = np.zeros((len(self.listed) - len(self._sketches), SKETCH), dtype=np.float16)
            self._sketches = np.concatenate([self._sketches, added])
