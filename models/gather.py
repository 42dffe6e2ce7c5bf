"""Gather: the feature matrix of a request, one row per candidate, by numpy alone."""

from collections.abc import Iterable
from functools import reduce

import numpy as np
import numpy.typing as npt

from models.decay import DAY
from models.features import COLUMN, LEARNED, NAMES, NO_CODES, Asker, Codes, Floats, Items, Sparse
from models.items import PRIOR_CTR
from models.lately import lately
from models.places import Places, Slots

FADING = 0.8  # weight of the next older item of a history
WEEK = 7 * DAY


def gather(asker: Asker, items: Items, places: Places, signals: Floats, relevance: Floats) -> Floats:
    """Return the features of the slots that `places` holds, shape (n, len(NAMES)).

    `signals` (n, SIGNALS) and `relevance` (n,) are those of models/stack.py for the same slots.
    """
    slots = places.slots
    matrix = np.zeros((len(NAMES), len(slots)), dtype=np.float32)
    row = {name: matrix[n] for name, n in COLUMN.items()}
    matrix[LEARNED] = signals.T
    row["relevance"][:] = relevance
    for name, sparse in (
        ("in_context", asker.in_context),
        ("repeats", (asker.history, np.log1p(asker.times))),
        ("repeated", (asker.history, _faded(asker.last, asker.now))),
    ):
        scatter(row[name], places, sparse)
    hour, day, week, row["trend"][:] = lately(items, slots, int(asker.now))
    for name, counts in (
        ("popular_hour", hour),
        ("popular_day", day),
        ("popular_week", week),
        ("popular_all", items.chosen[slots]),
    ):
        np.log(counts + np.float32(1.0), out=row[name])
    row["ctr"][:] = np.log(items.ctr[slots] / np.float32(PRIOR_CTR))
    examined = items.examined[slots]
    row["ctr_known"][:] = examined / (examined + np.float32(20.0))
    published = items.published_at[slots]
    row["freshness"][:] = _faded(np.where(np.isnan(published), items.first_at[slots], published), asker.now)
    above = items.categories[slots] + 1  # 0 is none
    row["affinity"][:] = _summed(above, *asker.affinity)
    row["session"][:] = _summed(above, *asker.session)
    row["seen"][:] = seen(asker, items, slots)
    row["boost"][:] = np.log(np.maximum(items.boost[slots], np.float32(1e-3)))
    row["experience"][:] = np.log1p(asker.events)
    return matrix.T


def seen(asker: Asker, items: Items, slots: Slots) -> npt.NDArray[np.bool_]:
    """Tell which slots the asker acted on; hashes of 4 bytes mistake one item in ten million."""
    mask = np.zeros(len(slots), dtype=np.bool_)
    if len(asker.seen):
        hashes = items.seen_hash[slots]
        half = np.zeros(1 << 16, dtype=np.bool_)  # by the lower bits first: few others get past them
        half[asker.seen & 0xFFFF] = True
        likely = np.flatnonzero(half[hashes & 0xFFFF])
        known = set(asker.seen.tolist())
        mask[likely] = [value in known for value in hashes[likely].tolist()]
    return mask


def shares(pairs: Iterable[tuple[int, float]], whole: float = 0.0) -> tuple[Codes, Floats]:
    """Return (code, weight) pairs as distinct codes and their shares of `whole`, by default their absolute sum.

    >>> shares([(4, 1.0), (2, 2.0), (4, 1.0)])
    (array([4, 2], dtype=int32), array([0.5, 0.5], dtype=float32))
    """
    sums: dict[int, float] = {}
    for code, weight in pairs:
        sums[code] = sums.get(code, 0.0) + weight
    whole = whole or sum(map(abs, sums.values()))
    if not whole:
        return NO_CODES
    values = np.fromiter(sums.values(), dtype=np.float64, count=len(sums)) / whole
    return np.fromiter(sums, dtype=np.int32, count=len(sums)), values.astype(np.float32)


def scatter(column: Floats, places: Places, sparse: Sparse) -> None:
    """Write the values of those slots that are candidates into their places of a column."""
    place = places.find(sparse[0])
    real = place >= 0
    column[place[real]] = sparse[1][real]


def _summed(above: Codes, known: Codes, values: Floats) -> Floats | float:
    """Return the sum of the values of each row's codes; `above` holds codes + 1, shape (n, k)."""
    if not len(known):
        return 0.0
    # The first entry stands for none, the last for every other code.
    dense = np.zeros(int(known.max()) + 3, dtype=np.float32)
    dense[known + 1] = values
    # Code after code, not by an inner product: what that rounds depends on how many rows there are.
    summed: Floats = reduce(np.add, dense.take(above.T, mode="clip"))
    return summed


def _faded(since: npt.NDArray[np.float64], now: float) -> Floats:
    """Return 1 for now, half of it a week ago, 0 for never (NaN)."""
    weeks = ((now - since) / -WEEK).astype(np.float32)
    weeks[np.isnan(weeks)] = -np.inf
    faded: Floats = np.exp2(np.minimum(weeks, np.float32(0.0)))
    return faded
