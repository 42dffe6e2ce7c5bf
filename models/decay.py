"""Exponential decay by event time, folded forward: later events weigh more, and nothing is ever rescaled.

A decayed sum is one float: the sum of amounts times `growth(at)`. Divided by `growth(now)` it is the ordinary
decayed sum; two sums compare at any time without being brought up to date, and order of arrival does not matter
(Cormode, Shkapenyuk, Srivastava and Xu 2009, "Forward decay").
"""

from collections.abc import MutableMapping

DAY = 86_400_000  # ms
LANDMARK = 1_577_836_800_000  # 2020-01-01: growth is 1 here
MOST = 900.0  # doublings; growth stays finite, and so do sums: with a half-life of 14 days until 2054


def growth(at: float, half_life: float) -> float:
    """Return the weight of an event at `at` (ms): twice as much a half-life (ms) later.

    >>> growth(LANDMARK + 2 * DAY, DAY)
    4.0
    """
    return float(2.0 ** min((at - LANDMARK) / half_life, MOST))


def current(total: float, now: float, half_life: float) -> float:
    """Return what a decayed sum is worth at `now` (ms).

    >>> current(8.0 * growth(LANDMARK, DAY), LANDMARK + 2 * DAY, DAY)
    2.0
    """
    return total / growth(now, half_life)


def keep_largest(sums: MutableMapping[str, float], keep: int) -> None:
    """Drop all but the `keep` largest sums by size, ties by key; negative ones count by how far they are from zero."""
    ranked = sorted(sums, key=lambda key: (-abs(sums[key]), key))
    for key in ranked[keep:]:
        del sums[key]
