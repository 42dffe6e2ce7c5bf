"""Lately: choices of items in the last hour, day and week, and how they rise, from the windows of their rows.

All of it is computed for the moment of a request and from rows alone, so that whoever has the same rows finds the same
numbers. An item's rise is told against that of all items together, whose choices are kept as whole numbers by tile: no
order in which rows came can change such sums.
"""

from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.items import WINDOWS
from models.places import Slots

PRIOR = 5.0  # choices that must come together before a rise is believed
THIS, BEFORE, PASSED = (
    0,
    1,
    2,
)  # of all items: in the open tile, in the one before, in it of items that saw none since

_SPANS = np.array(WINDOWS)[:, None]

Floats = npt.NDArray[np.float32]
Tiles = npt.NDArray[np.int32]
Sums = npt.NDArray[np.float64]


class Totals:
    """The choices of all items, by window and by the tile that an item's window stands at."""

    def __init__(self) -> None:
        self._of: tuple[dict[int, list[float]], ...] = tuple({} for _ in WINDOWS)

    def add(self, tiles: Tiles, choices: Floats, times: int = 1) -> None:
        """Count items with windows at `tiles` (n, windows), and their choices (n, windows, 2); -1 takes them back."""
        for window, sums in enumerate(self._of):
            for tile, (this, before) in zip(
                tiles[:, window].tolist(), choices[:, window].tolist(), strict=True
            ):
                if not (this or before):
                    continue
                held = sums.setdefault(tile, [0.0, 0.0])
                held[0] += times * this
                held[1] += times * before
                if not (held[0] or held[1]):
                    del sums[tile]

    def at(self, now: int) -> Sums:
        """Return what counts at `now` (ms): THIS, BEFORE and PASSED by window, shape (windows, 3)."""
        found = np.zeros((len(WINDOWS), 3))
        for window, (sums, span) in enumerate(zip(self._of, WINDOWS, strict=True)):
            found[window, :PASSED] = sums.get(now // span, (0.0, 0.0))
            found[window, PASSED] = sums.get(now // span - 1, (0.0, 0.0))[0]
        return found


class Windows(Protocol):
    """Windows by slot: `tiles` (slots, windows), `choices` (slots, windows, 2), and the sums of all of them."""

    tiles: Tiles
    choices: Floats
    totals: Totals


def lately(items: Windows, slots: Slots | slice, now: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Return choices in the last hour, day and week, and the rise, each of shape (n,), at `now` (ms).

    A window counts its open tile, and what is left of the one before. The rise is the log of how much more is chosen
    this hour than the day lets expect, and the day than the week.
    """
    tiles = np.ascontiguousarray(items.tiles[slots].T)  # a window's numbers side by side: three times as fast
    this, before = np.ascontiguousarray(items.choices[slots].transpose(2, 1, 0))
    tile, left = (now // _SPANS).astype(np.int32), (1.0 - now % _SPANS / _SPANS).astype(np.float32)
    fading = np.where(tiles == tile, before, np.where(tiles == tile - 1, this, np.float32(0)))
    hour, day, week = np.where(tiles == tile, this, np.float32(0)) + fading * left
    of_day, of_week = shares(items.totals.at(now), now)
    return hour, day, week, rise(hour, day, of_day) + rise(day, week, of_week)


def shares(totals: Sums, now: int) -> tuple[float, float]:
    """Return the choices of the last hour as a share of the day's, and those of the day as one of the week's."""
    sums = [
        this + (before + passed) * (1.0 - now % span / span)
        for (this, before, passed), span in zip(totals.tolist(), WINDOWS, strict=True)
    ]
    of_day, of_week = (short / long if long > 0 else 0.0 for short, long in pairwise(sums))
    return of_day, of_week


def rise(short: Floats, long: Floats, share: float) -> Floats:
    """Return log of a short window's choices over what the longer one lets expect.

    An item is expected to keep its share: what all do together (an evening, a new shop) is no trend.
    """
    risen: Floats = np.log((short + np.float32(PRIOR)) / (long * np.float32(share) + np.float32(PRIOR)))
    return risen
