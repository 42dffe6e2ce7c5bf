"""Rerank: from scored candidates to a list: a varied top, and pins.

Scores come in final and are never changed for the neighbours' sake; only the order is decided here.
"""

from collections.abc import Collection, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.features import Codes, Floats
from models.places import Slots

TOP = 10  # places that must be varied
HEAD = 200  # candidates looked at closely
DEMOTION = 0.01  # what a seen item keeps of its score where the surface demotes
LEAST = 1e-6  # of a factor that a score below zero is divided by

Mask = npt.NDArray[np.bool_]
Order = npt.NDArray[np.int64]  # indices of candidates, best first


class Listed(Protocol):
    """The columns that decide whether an item may be shown at all."""

    listed: Mask
    available: Mask
    published_at: npt.NDArray[np.float64]
    expires_at: npt.NDArray[np.float64]
    categories: Codes


def boosted(scores: Floats, factor: Floats | np.float32) -> Floats:
    """Return scores times factors, so that a larger factor is always better: below zero they are divided.

    >>> boosted(np.float32([2.0, -2.0]), np.float32(4.0)).tolist()
    [8.0, -0.5]
    """
    raised: Floats = np.where(scores < 0.0, scores / np.maximum(factor, np.float32(LEAST)), scores * factor)
    return raised


def showable(items: Listed, slots: Slots, now: float, wanted: Codes | None = None) -> Mask:
    """Tell which slots are available, published, not expired and, if given, of a `wanted` category."""
    mask = items.listed[slots] & items.available[slots] & (items.expires_at[slots] > now)
    mask &= ~(items.published_at[slots] > now)  # NaN is unknown, and published
    if wanted is not None:
        mask &= np.isin(items.categories[slots], wanted).any(axis=1)
    return mask


def best(scores: Floats, n: int) -> Order:
    """Return the indices of the n highest scores, best first, earlier candidates winning ties.

    >>> best(np.float32([1, 3, 2, 3]), 3).tolist()
    [1, 3, 2]
    """
    chosen = np.arange(len(scores))
    if 0 < n < len(scores):
        chosen = np.flatnonzero(scores >= np.partition(scores, len(scores) - n)[len(scores) - n])
    order: Order = chosen[np.argsort(-scores[chosen], kind="stable")][: max(n, 0)]
    return order


def arrange(
    scores: Floats,
    categories: Codes,
    n: int,
    *,
    cap: int = 3,
    free: Collection[int] = (),
    diversity: float = 0.0,
    vectors: Floats | None = None,
    pins: Mapping[int, int] | None = None,
) -> Order:
    """Return the best n, the first ten varied: at most `cap` of a category while others are left (0: any).

    `categories` has shape (candidates, k), -1 for none; codes in `free` are not counted. With `vectors` (whose
    directions count) and `diversity` the first ten are chosen by maximal marginal relevance (Carbonell and Goldstein
    1998), whose lambda is 1 - `diversity`. `pins` gives places (from 0) to candidates.
    """
    n = min(n, len(scores))
    held = {place: index for place, index in (pins or {}).items() if place < n}
    left = np.ones(len(scores), dtype=np.bool_)
    left[list(held.values())] = False
    order = best(scores, max(HEAD, n + TOP))
    order = order[left[order]]
    top = _Top(scores, categories, order, cap, free)
    if diversity and vectors is not None and len(order):
        top.spread(diversity, vectors[order])
    slate = top.fill(min(TOP, n), held)
    left[slate] = False
    rest = iter(order[left[order]].tolist())
    slate += [held[place] if place in held else next(rest) for place in range(len(slate), n)]
    return np.array(slate, dtype=np.int64)


class _Top:
    """The first places of a slate, filled one after the other from the head of the candidates."""

    def __init__(
        self, scores: Floats, categories: Codes, order: Order, cap: int, free: Collection[int]
    ) -> None:
        self._scores, self._categories, self._order, self._cap = scores, categories, order, cap
        self._free = {-1, *free}
        self._codes = categories[order]
        self._worth = scores[order].astype(np.float64)
        self._full: Mask = np.zeros(len(order), dtype=np.bool_)  # a category of it stands there `cap` times
        self._counts: dict[int, int] = {}
        self._likeness = np.zeros(len(order), dtype=np.float32)
        self._diversity, self._rows = 0.0, np.zeros((len(order), 0), dtype=np.float32)

    def spread(self, diversity: float, rows: Floats) -> None:
        """Weigh likeness to what was chosen already against worth, both between 0 and 1."""
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        self._diversity = diversity
        self._rows = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
        lowest = self._worth[-1]
        self._worth = (1.0 - diversity) * (self._worth - lowest) / ((self._worth[0] - lowest) or 1.0)

    def fill(self, places: int, held: Mapping[int, int]) -> list[int]:
        """Return the candidates of the places; those in `held` have theirs."""
        for index in held.values():
            self._count(index)
        slate: list[int] = []
        for place in range(places):
            slate.append(held[place] if place in held else self._next([*slate, *held.values()]))
            if place not in held:
                self._count(slate[-1])
        return slate

    def _next(self, taken: list[int]) -> int:
        value = self._worth - self._diversity * self._likeness if self._diversity else self._worth
        fits = np.where(self._full, -np.inf, value) if self._counts else value
        pick = int(np.argmax(fits)) if len(fits) else -1
        if pick < 0 or fits[pick] == -np.inf:  # nothing in the head fits: look further down, else give way
            further = self._further(taken)
            if further is not None:
                return further
            pick = int(np.argmax(value))
        self._worth[pick] = -np.inf
        if self._diversity:
            np.maximum(self._likeness, self._rows @ self._rows[pick], out=self._likeness)
        return int(self._order[pick])

    def _further(self, taken: list[int]) -> int | None:
        full = [code for code, count in self._counts.items() if count >= self._cap]
        fits = np.ones(len(self._scores), dtype=np.bool_)
        fits[np.isin(self._categories, full).any(axis=1)] = False
        fits[self._order] = False
        fits[taken] = False
        return int(np.argmax(np.where(fits, self._scores, -np.inf))) if fits.any() else None

    def _count(self, index: int) -> None:
        for code in set(self._categories[index].tolist()) - self._free:
            self._counts[code] = self._counts.get(code, 0) + 1
            if self._counts[code] == self._cap:
                self._full |= np.asarray((self._codes == code).any(axis=1))
