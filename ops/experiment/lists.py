"""Lists: what each arm showed, from the log of slates: how much of the catalogue, and how evenly over categories."""

from collections import Counter
from typing import Any

import numpy as np
from scipy.special import gammaln

from models.evaluation import gini
from ops.experiment.catalogue import began, catalogue, lists
from streams.experiments import Record
from streams.log import Log


def shown(log: Log, tried: Record) -> dict[str, Any]:
    """Return, by arm, how many lists and places were shown since the current version began, and how variously.

    `coverage` is the share of the catalogue that was shown, `coverage_alike` what that would be with as many places as
    the smallest arm has: an arm with more users shows more. `gini` is of how often categories were shown: 0 all alike,
    towards 1 a single one.
    """
    unknown: Counter[str] = Counter()
    counts: dict[str, Counter[str]] = {}
    answered: Counter[str] = Counter()
    for slate, items in lists(log, began(tried), unknown):
        if arm := slate.arms.get(tried.key):
            answered[arm] += 1
            counts.setdefault(arm, Counter()).update(items)
    known = catalogue(log)
    categories = sorted({category for of_item in known.values() for category in of_item})
    places = min((count.total() for count in counts.values()), default=0)
    arms = {}
    for arm, count in sorted(counts.items()):
        spread: Counter[str] = Counter()
        for item, times in count.items():
            for category in known.get(item, ()):
                spread[category] += times
        arms[arm] = {
            "lists": answered[arm],
            "places": count.total(),
            "items": len(count),
            "coverage": len(count) / len(known) if known else None,
            "coverage_alike": rarefied(np.array([*count.values()]), places) / len(known) if known else None,
            "gini": gini(np.array([spread[category] for category in categories])) if spread else None,
        }
    return {"items": len(known), "categories": len(categories), "arms": arms, "left_out": dict(unknown)}


def rarefied(counts: np.ndarray[Any, np.dtype[np.int64]], places: int) -> float:
    """Return how many items so many of the places would have shown, on average (Hurlbert 1971); `counts` by item.

    >>> round(rarefied(np.array([5, 5]), 10), 6), round(rarefied(np.array([5, 5]), 1), 6)
    (2.0, 1.0)
    """
    total = int(counts.sum())
    left = total - counts  # places without the item
    missed = np.where(
        left >= places,
        gammaln(left + 1)
        + gammaln(total - places + 1)
        - gammaln(np.maximum(left - places, 0) + 1)
        - gammaln(total + 1),
        -np.inf,
    )
    return float((1 - np.exp(missed)).sum())
