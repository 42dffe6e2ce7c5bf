"""Trends: lists of what is chosen lately, more than usual, or not known yet; computed from the columns now and then.

A request gathers from ready lists, which are at most a few seconds old. Equals are listed by the hashes of their ids:
slots tell which item came first, and that differs from process to process.
"""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from api.columns import Columns, Slots
from models.decay import DAY
from models.lately import lately

RISING = 0.4  # trend from which an item is listed: half as much again as expected
LISTED = 1000  # of a list, best first
PER_CATEGORY = 300
FRESH = 30 * DAY  # age up to which an item is new
OVERALL = 0.5  # weight of all choices ever beside those of the week, both as logarithms

NONE: Slots = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Picture:
    """One moment: slots, best first."""

    trending: Slots
    fresh: Slots
    popular_all: Slots
    by_category: dict[int, Slots]


class Trends:
    """The newest picture."""

    def __init__(self, columns: Columns) -> None:
        self.seconds = 0.0  # the last computation took
        self._columns = columns
        self._picture = picture_of(columns, 0, 0)

    @property
    def trending(self) -> Slots:
        """The items that rise, the strongest first."""
        return self._picture.trending

    @property
    def fresh(self) -> Slots:
        """The new items, the least looked at first, then the newest."""
        return self._picture.fresh

    @property
    def popular_all(self) -> Slots:
        """The items most chosen in the week and overall."""
        return self._picture.popular_all

    def by_category(self, code: int) -> Slots:
        """Return the items of a category most chosen in the week and overall."""
        return self._picture.by_category.get(code, NONE)

    def compute(self, now: int) -> Picture:
        """Return the picture at `now` (ms), in a thread if wanted: a change meanwhile counts next time."""
        began = time.perf_counter()
        picture = picture_of(self._columns, len(self._columns), now)
        self.seconds = time.perf_counter() - began
        return picture

    def show(self, picture: Picture) -> None:
        """Make a picture the one that is read; in the event loop."""
        self._picture = picture

    def refresh(self, now: int) -> None:
        """Compute and show the picture at `now` (ms)."""
        self.show(self.compute(now))


def picture_of(columns: Columns, n: int, now: int) -> Picture:
    """Return the picture of the first `n` slots at `now` (ms)."""
    _, _, week, trend = lately(columns, slice(n), now)
    live = columns.listed[:n] & columns.available[:n] & (columns.expires_at[:n] > now)
    slots = np.flatnonzero(live)
    heat = np.log1p(week[slots]) + OVERALL * np.log1p(columns.chosen[slots])
    hottest = slots[np.lexsort((columns.seen_hash[slots], -heat))]
    rising = slots[trend[slots] > RISING]
    return Picture(
        trending=rising[np.lexsort((columns.seen_hash[rising], -trend[rising]))][:LISTED],
        fresh=new(columns, slots, now),
        popular_all=hottest[:LISTED],
        by_category=grouped(columns.categories[hottest], hottest),
    )


def new(columns: Columns, slots: Slots, now: int) -> Slots:
    """Return the items born within `FRESH` ms, by doublings of how often they were looked at, then newest.

    An item that nobody dated or touched yet counts as just at that age.
    """
    published, first = columns.published_at[slots], columns.first_at[slots]
    born = np.where(np.isnan(published), first, published)
    age = np.where(np.isnan(born), FRESH, now - born)
    slots, age = slots[(age >= 0) & (age <= FRESH)], age[(age >= 0) & (age <= FRESH)]
    looked = np.floor(np.log2(1.0 + columns.examined[slots]))
    return slots[np.lexsort((columns.seen_hash[slots], age, looked))][:LISTED]


def grouped(categories: npt.NDArray[np.int32], ranked: Slots) -> dict[int, Slots]:
    """Return the best items of each category; `ranked` are all, best first, `categories` (n, k) codes."""
    codes = categories.ravel()
    order = np.argsort(codes, kind="stable")
    firsts = np.flatnonzero(np.diff(codes[order], prepend=-2))
    items = np.repeat(ranked, categories.shape[1])[order]
    ends = [*firsts[1:], len(order)]
    return {
        int(codes[order[first]]): items[first : min(end, first + PER_CATEGORY)]
        for first, end in zip(firsts, ends, strict=False)
        if codes[order[first]] >= 0
    }
