"""Rerank: from scored candidates to a slate: what may be shown, a varied top, pins, and places that explore.

Scores come in already final and are never changed for the neighbours' sake; only the order is decided here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.features import Floats
from models.places import Slots

TOP = 10  # places that must be varied
HEAD = 200  # candidates looked at closely
DEMOTION = 0.1  # what a seen item keeps of its score where the surface demotes
STEP = 3  # places between two that explore

Codes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


class Listed(Protocol):
    """The columns that decide whether an item may be shown at all."""

    listed: Mask
    available: Mask
    published_at: npt.NDArray[np.float64]
    expires_at: npt.NDArray[np.float64]
    categories: Codes


@dataclass(frozen=True, slots=True)
class Slate:
    """Which candidates stand where (indices, best first), with the chance each had to stand there."""

    order: npt.NDArray[np.int64]
    propensity: npt.NDArray[np.float64]
    explored: Mask


def showable(items: Listed, slots: Slots, now: float, wanted: Codes | None = None) -> Mask:
    """Tell which slots are listed, available, published, not expired and, if `wanted` codes are given, in one of them."""
    mask = items.listed[slots] & items.available[slots] & (items.expires_at[slots] > now)
    mask &= ~(items.published_at[slots] > now)  # unknown is NaN, and published
    if wanted is not None:
        mask &= np.isin(items.categories[slots], wanted).any(axis=1)
    return mask


def arrange(
    scores: Floats,
    categories: Codes,
    n: int,
    cap: int = 3,
    free: Sequence[int] = (),
    diversity: float = 0.0,
    vectors: Floats | None = None,
    pins: Mapping[int, int] | None = None,
) -> npt.NDArray[np.int64]:
    """Return the indices of the best n, the first ten varied: at most `cap` of a category while others are left.

    `categories` has shape (candidates, k), -1 for none; the codes in `free` are not counted. With `vectors` (unit
    rows) and `diversity` the first ten are chosen by maximal marginal relevance (Carbonell and Goldstein 1998).
    `pins` gives places (from 0) to candidates.
    """
    n = min(n, len(scores))
    held = {place: index for place, index in (pins or {}).items() if place < n}
    order = best(scores, max(HEAD, n + TOP))
    if held:
        order = order[~np.isin(order, list(held.values()))]
    top = min(TOP, n)
    first = _varied(scores, order, categories, top, cap, set(free), diversity, vectors, held)
    rest = order[~np.isin(order, first)]
    slate = list(first)
    for place in range(top, n):
        pinned = held.get(place)
        slate.append(
            int(rest[place - top - sum(top <= p < place for p in held)]) if pinned is None else pinned
        )
    return np.array(slate, dtype=np.int64)


def best(scores: Floats, n: int) -> npt.NDArray[np.int64]:
    """Return the indices of the n highest scores, best first, earlier candidates winning ties."""
    if len(scores) > n:
        bar = np.partition(scores, len(scores) - n)[len(scores) - n]
        chosen = np.flatnonzero(scores >= bar)
    else:
        chosen = np.arange(len(scores))
    return chosen[np.argsort(-scores[chosen], kind="stable")][:n]


def explore(
    order: npt.NDArray[np.int64],
    pool: npt.NDArray[np.int64],
    categories: Codes,
    seed: str,
    epsilon: float,
    slots: int,
    cap: int = 3,
    free: Sequence[int] = (),
    fixed: Sequence[int] = (),
) -> Slate:
    """Give some places, each with chance epsilon, to an item of the pool (candidate indices, not in `order`).

    Each place draws from a part of the pool of its own, so the chances are exact and independent: 1 - epsilon for
    the item that stood there, epsilon / (size of the part) for each other. Drawn from a hash of `seed`, a replay
    draws the same. The first place and the `fixed` ones are left alone.
    """
    order, propensity = order.copy(), np.ones(len(order))
    explored = np.zeros(len(order), dtype=np.bool_)
    top = min(TOP, len(order))
    places = (
        [place for place in range(top - 1, 0, -STEP) if place not in fixed][:slots] if epsilon > 0 else []
    )
    pool = pool[~np.isin(pool, order)]
    for n, place in enumerate(places):
        part = pool[n :: len(places)]
        if cap:
            part = part[_fits(categories, order[:top], part, place, cap - len(places) + 1, set(free))]
        if not len(part):
            continue
        digest = blake2b(f"{seed}/{place}".encode(), digest_size=16).digest()
        chance, pick = (int.from_bytes(half, "big") / (1 << 64) for half in (digest[:8], digest[8:]))
        explored[place] = chance < epsilon
        propensity[place] = epsilon / len(part) if explored[place] else 1.0 - epsilon
        if explored[place]:
            order[place] = part[int(pick * len(part))]
    return Slate(order, propensity, explored)


def _fits(
    categories: Codes,
    top: npt.NDArray[np.int64],
    part: npt.NDArray[np.int64],
    place: int,
    cap: int,
    free: set[int],
) -> Mask:
    """Tell which items could stand at `place` without their categories standing there over `cap` times.

    Other exploring places are counted as they stood and once more (by the caller's lower cap) for what they may draw.
    """
    codes, counts = np.unique(categories[np.delete(top, place)], return_counts=True)
    full = [
        code
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
        if count >= cap and code >= 0
    ]
    full = [code for code in full if code not in free]
    return ~np.isin(categories[part], full).any(axis=1) if full else np.ones(len(part), dtype=np.bool_)


def _varied(
    scores: Floats,
    order: npt.NDArray[np.int64],
    categories: Codes,
    top: int,
    cap: int,
    free: set[int],
    diversity: float,
    vectors: Floats | None,
    held: Mapping[int, int],
) -> list[int]:
    """Return the first `top` places, chosen one after the other by worth among candidates whose categories fit."""
    counts: dict[int, int] = {}
    codes = categories[order]
    full = np.zeros(len(order), dtype=np.bool_)

    def count(index: int) -> None:
        for code in set(categories[index].tolist()) - free - {-1}:
            counts[code] = counts.get(code, 0) + 1
            if counts[code] == cap:
                full[(codes == code).any(axis=1)] = True

    for index in held.values():
        count(index)
    worth = scores[order].astype(np.float64)
    likeness = np.zeros(len(order), dtype=np.float32)
    rows = None
    if diversity and vectors is not None and len(order):
        span = float(worth[0] - worth[-1]) or 1.0
        worth = (1.0 - diversity) * (worth - worth[-1]) / span
        rows = vectors[order]
    chosen: list[int] = []
    for place in range(top):
        if place in held:
            chosen.append(held[place])
            continue
        value = worth if rows is None else worth - diversity * likeness
        pick = int(np.argmax(np.where(full, -np.inf, value)))
        if full[pick] or worth[pick] == -np.inf:  # nothing in the head fits: look further down, else give way
            further = _further(scores, categories, counts, cap, [*order.tolist(), *chosen, *held.values()])
            if further is not None:
                chosen.append(further)
                count(further)
                continue
            pick = int(np.argmax(value))
        worth[pick] = -np.inf
        chosen.append(int(order[pick]))
        count(chosen[-1])
        if rows is not None:
            np.maximum(likeness, rows @ rows[pick], out=likeness)
    return chosen


def _further(
    scores: Floats, categories: Codes, counts: Mapping[int, int], cap: int, taken: Sequence[int]
) -> int | None:
    fits = ~np.isin(categories, [code for code, times in counts.items() if times >= cap]).any(axis=1)
    fits[taken] = False
    return int(np.argmax(np.where(fits, scores, -np.inf))) if fits.any() else None
