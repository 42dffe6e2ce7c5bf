"""A learner's state as ten choices an item would leave it, written straight into its arrays: learning them takes hours.

What an item chosen c times has was looked at in a state really learned, of 100,000 such choices among 10,000 items.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from models.learned import (
    BIAS,
    CHOSEN,
    HEAT_BIAS,
    HEAT_INTO,
    HEAT_OUT,
    MET,
    PAGE,
    PAGES,
    RECENT,
    RING,
    SPANS,
    USED,
    Learned,
)

CHOICES = 10  # of an item, on average
Ranked = npt.NDArray[np.int64]  # slots of items, the most chosen first
Number = TypeVar("Number", float, npt.NDArray[np.float64])


def ranked(items: int) -> Ranked:
    """Return the slots of so many items in the order of their popularity, which is drawn by lot."""
    return np.random.default_rng(items).permutation(items)


def zipf(items: int, at: Number) -> Number:
    """Return places in such an order, likely in inverse proportion to them, of numbers from 0 to 1; to be rounded down.

    >>> zipf(1000, np.array([0.0, 0.5, 0.999])).astype(int).tolist()
    [0, 30, 992]
    """
    places: Number = float(items) ** at - 1.0
    return places


def taught(order: Ranked, dimensions: int) -> Learned:
    """Return what was learned of all of these items, each with vectors and a list of neighbours."""
    items, random, learned = len(order), np.random.default_rng(3), Learned(dimensions)
    for slot in range(items):
        learned.slot(f"item-{slot}")
    chosen = np.empty(items)
    chosen[order] = np.maximum(CHOICES * items / np.log(items) / np.arange(1, items + 1), 1.0)
    common, numbers = learned.common, learned.arrays.numbers[:items]
    common.choices = CHOICES * items
    common.ring[:] = order[zipf(items, random.random(RING)).astype(np.int64)]
    for vectors in (learned.into, learned.out):
        vectors[:] = random.normal(0.0, 4.0 / np.sqrt(dimensions), vectors.shape)
    numbers[:, CHOSEN], numbers[:, BIAS] = chosen, 0.4 * np.log(chosen / CHOICES)
    numbers[:, HEAT_BIAS], numbers[:, HEAT_OUT] = 2.0 * chosen, 0.03 * chosen
    numbers[:, HEAT_INTO] = 5.0 * chosen**0.45
    numbers[:, MET] = common.choices - random.exponential(items / chosen)
    numbers[:, RECENT : RECENT + len(SPANS)] = chosen[:, None] * (0.0001, 0.001, 0.01)
    _neighbours(learned, order, np.minimum(24.0 * chosen**0.85, items / 2), random)
    return learned


def _neighbours(
    learned: Learned, order: Ranked, wanted: npt.NDArray[np.float64], random: np.random.Generator
) -> None:
    """Give items about so many neighbours, whole pages of them, all different and spread evenly over Zipf's law."""
    held = np.clip(np.rint(wanted / PAGE), 1, PAGES).astype(np.int64)
    learned.arrays.numbers[: len(order), USED] = held * PAGE
    for pages in np.unique(held):
        slots = np.flatnonzero(held == pages)
        learned.ready(pages=pages * len(slots))
        arrays, step = learned.arrays, np.arange(pages * PAGE)
        first = int(arrays.top[0])
        arrays.top[0] = last = first + pages * len(slots)
        arrays.pages[slots, :pages] = np.arange(first, last).reshape(-1, pages)
        spread = (step + random.random((len(slots), len(step)))) / len(step)
        places = np.maximum.accumulate(zipf(len(order), spread).astype(np.int64) - step, axis=1) + step
        arrays.others[first:last] = order[np.minimum(places, len(order) - 1)].reshape(-1, PAGE)
        arrays.counts[first:last] = random.exponential(3.0, (last - first, *arrays.counts.shape[1:]))
