"""Drift: whether a model's losses rise, by River's test of Page and Hinkley on the blocks of its window.

Page 1954, "Continuous inspection schemes". River keeps the test's memory to itself; here it is four numbers, for a row.
"""

from typing import Any

from river import drift, stats

from models.window import Test

DELTA = 0.05  # slack: a rise of the relative loss that is none
THRESHOLD = 1.0  # sum of rises beyond it that is drift; noise of a steady world stays below 0.4
FIRST = 4  # blocks before it speaks


def drifts(test: Test, loss: float) -> tuple[bool, Test]:
    """Take in the loss of a block; tell whether that makes it drift, and what the test remembers then."""
    page: Any = drift.PageHinkley(FIRST, DELTA, THRESHOLD, 1.0, "up")
    count, mean, total, least = test
    vars(page).update(_x_mean=stats.Mean(), _sum_increase=total, _min_increase=least)
    if count:
        vars(page)["_x_mean"].update(mean, count)
    page.update(loss)
    kept = vars(page)
    after = int(kept["_x_mean"].n), float(kept["_x_mean"].get()), kept["_sum_increase"], kept["_min_increase"]
    return bool(page.drift_detected), after
