"""Popular lists: what is chosen most in a context, merged over partitions that each count their items."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from api.columns import Columns, Slots
from models.decay import LANDMARK, growth
from models.popular import HALF_LIFE, Popular

CACHED = 512  # contexts kept merged, about 40 KB each
MOST = float(np.finfo(np.float32).max)

Floats = npt.NDArray[np.float32]
Sums = tuple[Slots, npt.NDArray[np.float64]]  # best first


class PopularLists:
    """Merged lists by context; `rows(context)` gives the rows of its partitions.

    Sums decay forward (models/decay.py), so a list once ranked stays ranked: only its scale depends on `now`.
    """

    def __init__(self, columns: Columns, rows: Callable[[str], list[Popular]]) -> None:
        self._columns = columns
        self._rows = rows
        self._lists: dict[str, Sums] = {}

    def get(self, context: str, now: int) -> tuple[Slots, Floats]:
        """Return the slots of a context, best first, and their decayed choices at `now` (ms)."""
        held = self._lists.pop(context, None)
        if held is None:
            held = self._merge(self._rows(context))
        self._lists[context] = held  # at the end: the first is the one asked for longest ago
        if len(self._lists) > CACHED:
            del self._lists[next(iter(self._lists))]
        slots, sums = held
        # Asked about long before the last choice, the values would outgrow a float32.
        return slots, np.minimum(sums / growth(max(now, LANDMARK), HALF_LIFE), MOST).astype(np.float32)

    def forget(self, context: str) -> None:
        """Drop a list whose row has changed."""
        self._lists.pop(context, None)

    def clear(self) -> None:
        """Drop all lists."""
        self._lists.clear()

    def _merge(self, rows: list[Popular]) -> Sums:
        sums = {item: total for row in rows for item, total in row.items.items()}
        slots = np.array([self._columns.slot(item) for item in sums], dtype=np.int64)
        totals = np.array(list(sums.values()), dtype=np.float64)
        order = np.lexsort((self._columns.seen_hash[slots], -totals))  # slots differ by process
        return slots[order], totals[order]
