"""Items as numpy columns: what a request gathers for a thousand candidates at once, without a Python loop.

An item has a slot, an integer that never changes while the process lives; every column is indexed by slot. A slot
exists as soon as an id is met (as a neighbour, say); `listed` tells whether the catalogue knows it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from models.items import CHOICES, LANDMARK, VALUE, WINDOWS, ItemRow, growth
from models.users import seen_hash

CATEGORIES = 4  # of an item, used in ranking
NEIGHBOURS = 32  # related items kept per item, best first
PRIOR_CTR, PRIOR_STRENGTH = 0.02, 20.0  # what a list position earns before it is known, in examined impressions

Slots = npt.NDArray[np.int64]


class Columns:
    """The items of a replica, column by column; `capacity` doubles when it is reached.

    Times are float64 ms since 1970; `related` holds slots (-1 for none) with `related_weight` beside it; `context`
    is the mean vector users arrived with (float16), `mass` its weight. `tiles`, `choices` and `values` hold the
    windows of models.items: tile number, and (this tile, the tile before) sums, shape (slot, window, 2).
    """

    def __init__(self, dimensions: int, capacity: int = 1024) -> None:
        self.dimensions = dimensions
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
            "related": ((NEIGHBOURS,), np.int32, -1),
            "related_weight": ((NEIGHBOURS,), np.float32, 0.0),
            "context": ((dimensions,), np.float16, 0.0),
            "mass": ((), np.float32, 0.0),
        }
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
        self.related: npt.NDArray[np.int32]
        self.related_weight: npt.NDArray[np.float32]
        self.context: npt.NDArray[np.float16]
        self.mass: npt.NDArray[np.float32]
        for name, (inner, kind, fill) in self._shape.items():
            setattr(self, name, np.full((capacity, *inner), fill, dtype=kind))

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
        known = (self.slot_of.get(item, -1) for item in items)
        return np.array([slot for slot in known if slot >= 0], dtype=np.int64)

    def put(self, item: str, row: ItemRow) -> int:
        """Take over a row of the items table; return its slot."""
        slot = self.slot(item)
        self._list(slot, row.catalogue)
        self.first_at[slot] = row.first_at or np.nan
        self.last_at[slot] = row.last_at or np.nan
        self.chosen[slot] = row.chosen
        self.examined[slot] = row.examined
        self.ctr[slot] = (row.answered + PRIOR_CTR * PRIOR_STRENGTH) / (row.examined + PRIOR_STRENGTH)
        for n, window in enumerate(row.windows):
            self.tiles[slot, n] = window[0]
            self.choices[slot, n] = window[1 + CHOICES], window[4 + CHOICES]
            self.values[slot, n] = window[1 + VALUE], window[4 + VALUE]
        self._relate(slot, row)
        self.mass[slot] = row.mass
        if row.context is not None and row.mass > 0:
            self.context[slot] = row.context / row.mass
        return slot

    def drop(self, item: str) -> int | None:
        """Forget what a deleted row said; the slot stays. Return it, or None for an unknown item."""
        slot = self.slot_of.get(item)
        if slot is not None:
            for name, (_, _, fill) in self._shape.items():
                if name != "seen_hash":
                    getattr(self, name)[slot] = fill
        return slot

    def _list(self, slot: int, catalogue: dict[str, Any] | None) -> None:
        self.listed[slot] = catalogue is not None
        said = catalogue or {"available": False}
        self.available[slot] = said.get("available", True)
        self.published_at[slot] = said.get("published_at") or np.nan
        self.expires_at[slot] = said.get("expires_at") or np.inf
        self.boost[slot] = said.get("boost", 1.0)
        self.categories[slot] = -1
        for n, name in enumerate(said.get("categories", ())[:CATEGORIES]):
            self.categories[slot, n] = self.category(name)

    def _relate(self, slot: int, row: ItemRow) -> None:
        best = sorted(row.related.items(), key=lambda pair: (-pair[1], pair[0]))[:NEIGHBOURS]
        scale = growth(row.last_at or LANDMARK)
        others = [self.slot(other) for other, _ in best]
        self.related[slot, : len(best)] = others
        self.related[slot, len(best) :] = -1
        self.related_weight[slot, : len(best)] = [weight / scale for _, weight in best]

    def _grow(self) -> None:
        for name, (inner, kind, fill) in self._shape.items():
            old = getattr(self, name)
            new = np.full((2 * len(old), *inner), fill, dtype=kind)
            new[: len(old)] = old
            setattr(self, name, new)
