"""What enters and leaves the vector index: checked slots, rounded vectors, ranked answers.

USearch takes a vector that is not finite, and returns it first; so nothing unchecked gets there.
"""

import numpy as np
import numpy.typing as npt

from api.overlay import Slots, Vectors
from streams.errors import Refused


def slots_of(slots: npt.ArrayLike) -> Slots:
    """Return distinct slots, sorted. Raises Refused for a negative one."""
    distinct = np.unique(np.asarray(slots, np.int64))
    if len(distinct) and distinct[0] < 0:
        raise Refused(f"slot {distinct[0]} is negative")
    return distinct


def vectors_of(slots: npt.ArrayLike, vectors: npt.ArrayLike, dimensions: int) -> tuple[Slots, Vectors]:
    """Return distinct slots and their vectors, shape (n, dimensions); of a repeated slot the last one counts.

    Raises Refused, naming the slot, when one is negative or its vector is not finite or zero (as float16).
    """
    given, rows = np.asarray(slots, np.int64).reshape(-1), _rounded(vectors)
    distinct = slots_of(given)
    if rows.shape != (len(given), dimensions):
        raise Refused(f"vectors have shape {rows.shape}, not {(len(given), dimensions)}")
    bad = ~np.isfinite(rows).all(axis=1) | ~rows.any(axis=1)
    if bad.any():
        raise Refused(f"the vector of slot {given[bad][0]} is zero or not finite as float16")
    if len(distinct) == len(given):
        return given, rows
    _, last = np.unique(given[::-1], return_index=True)
    return distinct, rows[::-1][last]


def query_of(query: npt.ArrayLike, dimensions: int) -> Vectors:
    """Return a query, shape (dimensions,). Raises Refused for another shape or when it is not finite."""
    vector = _rounded(query)
    if vector.shape != (dimensions,) or not np.isfinite(vector).all():
        raise Refused(f"a query is {dimensions} finite numbers; this one has shape {vector.shape}")
    return vector


def best(slots: Slots, scores: Vectors, count: int) -> tuple[Slots, Vectors]:
    """Return the `count` highest scores with their slots, highest first, ties by slot.

    >>> slots, scores = best(np.array([5, 3, 4]), np.array([1, 2, 2], np.float32), 2)
    >>> slots.tolist(), scores.tolist()
    ([3, 4], [2.0, 2.0])
    """
    if 0 < count < len(slots):  # whoever ties with the last one stays for the sort
        keep = scores >= np.partition(scores, -count)[-count]
        slots, scores = slots[keep], scores[keep]
    order = np.lexsort((slots, -scores))[: max(count, 0)]
    return slots[order], scores[order]


def _rounded(vectors: npt.ArrayLike) -> Vectors:
    """Return numbers as float16 holds them, so that base and overlay score alike; what is too large: inf."""
    with np.errstate(over="ignore"):
        return np.asarray(vectors).astype(np.float16).astype(np.float32)
