"""Trends: what is chosen lately, more than usual, or not known yet; computed from the columns now and then.

A request gathers from ready lists and arrays, which are at most a few seconds old. Equals are listed by the hashes of
their ids: slots tell which item came first, and that differs from process to process.
"""

import time
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from api.columns import Columns, Slots
from models.decay import DAY
from models.items import WINDOWS

PRIOR = 5.0  # choices that must come together before a rise is believed
RISING = 0.4  # trend from which an item is listed: half as much again as expected
LISTED = 1000  # of a list, best first
PER_CATEGORY = 300
FRESH = 30 * DAY  # age up to which an item is new
OVERALL = 0.5  # weight of all choices ever beside those of the week, both as logarithms

Floats = npt.NDArray[np.float32]
NONE: Slots = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Picture:
    """One moment: choices per slot in the last hour, day and week, how they rise, and lists, best first."""

    hour: Floats
    day: Floats
    week: Floats
    trend: Floats
    trending: Slots
    fresh: Slots
    popular_all: Slots
    by_category: dict[int, Slots]


class Trends:
    """The newest picture; the arrays by slot are put into the columns, where new items have their zero."""

    def __init__(self, columns: Columns) -> None:
        self.seconds = 0.0  # the last computation took
        self._columns = columns
        self._picture = picture_of(columns, 0, 0)

    @property
    def hour(self) -> Floats:
        """Choices in the last hour, by slot."""
        return self._columns.hour

    @property
    def day(self) -> Floats:
        """Choices in the last day, by slot."""
        return self._columns.day

    @property
    def week(self) -> Floats:
        """Choices in the last week, by slot."""
        return self._columns.week

    @property
    def trend(self) -> Floats:
        """The logarithm of how much more is chosen lately than usual, by slot."""
        return self._columns.trend

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
        for name in ("hour", "day", "week", "trend"):
            values = getattr(picture, name)
            getattr(self._columns, name)[: len(values)] = values
        self._picture = picture

    def refresh(self, now: int) -> None:
        """Compute and show the picture at `now` (ms)."""
        self.show(self.compute(now))


def picture_of(columns: Columns, n: int, now: int) -> Picture:
    """Return the picture of the first `n` slots at `now` (ms)."""
    hour, day, week = (recent(columns, n, window, now) for window in range(len(WINDOWS)))
    trend = rise(hour, day) + rise(day, week)
    live = columns.listed[:n] & columns.available[:n] & (columns.expires_at[:n] > now)
    slots = np.flatnonzero(live)
    heat = np.log1p(week[slots]) + OVERALL * np.log1p(columns.chosen[slots])
    hottest = slots[np.lexsort((columns.seen_hash[slots], -heat))]
    rising = slots[trend[slots] > RISING]
    return Picture(
        hour,
        day,
        week,
        trend,
        trending=rising[np.lexsort((columns.seen_hash[rising], -trend[rising]))][:LISTED],
        fresh=new(columns, slots, now),
        popular_all=hottest[:LISTED],
        by_category=grouped(columns.categories[hottest], hottest),
    )


def recent(columns: Columns, n: int, window: int, now: int) -> Floats:
    """Return the choices in the last hour, day or week: of this tile, and a share of the one before."""
    tile, into = divmod(now, WINDOWS[window])
    left = np.float32(1.0 - into / WINDOWS[window])
    tiles, (this, before) = columns.tiles[:n, window], columns.choices[:n, window].T
    open_now = np.where(tiles == tile, this + before * left, np.float32(0))
    return cast("Floats", np.where(tiles == tile - 1, this * left, open_now))


def rise(short: Floats, long: Floats) -> Floats:
    """Return log of a short window's choices over what the longer one lets expect.

    An item is expected to keep its share: what all do together (an evening, a new shop) is no trend.
    """
    total = float(long.sum())
    share = float(short.sum()) / total if total > 0 else 0.0
    return cast("Floats", np.log((short + PRIOR) / (long * np.float32(share) + PRIOR)).astype(np.float32))


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
