"""Offered: candidates that the client sends, such as what its search found; these are ranked, and no others."""

import numpy as np

from api.answers import Placed, Request
from api.candidates import HALFWAY, SOURCES, Pool, merge
from api.columns import Columns
from models.features import Floats
from models.places import Places

UNKNOWN = "unknown"  # the source of an item that the catalogue does not know


def offered(columns: Columns, request: Request, places: Places) -> Pool:
    """Return the known ones of a request, in the client's order, whose reciprocal ranks are their merit."""
    slots = columns.slots(list(request.offered))
    slots = slots[columns.listed[slots]]
    return merge([(SOURCES.index("offered"), slots)], places, len(slots))


def fused(scores: Floats, merit: Floats, trust: float) -> Floats:
    """Return scores in which the client's order counts `trust`, ours the rest: of both only the ranks matter.

    The scales of two scores do not compare, their ranks do: reciprocal rank fusion (Cormack, Clarke and Buettcher
    2009). Without trust the scores stay what they are.

    >>> ours, theirs = np.float32([0.9, 0.1, 0.5]), np.float32([1 / 62, 1 / 60, 1 / 61])
    >>> [np.argsort(-fused(ours, theirs, trust)).tolist() for trust in (0.0, 0.2, 1.0)]
    [[0, 2, 1], [0, 2, 1], [1, 2, 0]]
    """
    if not trust:
        return scores
    ranks = np.empty(len(scores), dtype=np.float32)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    both: Floats = ((1.0 - trust) / (HALFWAY + ranks) + trust * merit).astype(np.float32)
    return both


def unknown(columns: Columns, request: Request) -> tuple[Placed, ...]:
    """Return the items of a request that the catalogue does not know, in the client's order, not scored."""
    listed, slot_of = columns.listed, columns.slot_of
    return tuple(
        Placed(item_id=item, score=0.0, source=UNKNOWN)
        for item in request.offered
        if (slot := slot_of.get(item)) is None or not listed[slot]
    )
