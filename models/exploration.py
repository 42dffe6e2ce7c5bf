"""Exploration: places of a list that may try something else, and the exact chance of what was drawn.

At every place that a surface opens, what stands there is weighed against rivals. The draw is made from just the
chances that are logged, so a propensity is exact whatever approximation stands behind it.

epsilon         fresh items, all with the same small chance
thompson        fresh items, each with the chance that its click-through rate is the largest (Thompson 1933)
plackett-luce   the best candidates, more often the higher they score, place after place without replacement (Plackett
                1975)
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import lgamma

import numpy as np
import numpy.typing as npt

from models.features import Codes, Floats
from models.items import PRIOR_CTR, PRIOR_STRENGTH, answered, common_rate
from models.rerank import HEAD, TOP, Mask, Order, best
from models.surfaces import Explore

STEP = 3  # places between two that explore, while there are few of them
MOST = 64  # fresh items, the least looked at, that the places of one list draw from
NODES = 64  # of the quadrature over click-through rates,
WIDTH = 8.0  # which spans this many standard deviations
MOST_SURE = 0.999999  # a click-through rate above which nothing is looked at
BITS = 53  # of a draw
LEAST = -690.0  # whose exponential is small enough
TINY = 1e-300  # stands for a chance of zero where its logarithm is taken

Doubles = npt.NDArray[np.float64]
# of a seed, a place, what may stand there and the chance of each: the index of what shall
Draw = Callable[[str, int, Order, Doubles], int]


@dataclass(frozen=True, slots=True)
class Candidates:
    """What is known of n candidates: `categories` (n, k), the others (n,); `fresh` are indices of those to be tried."""

    scores: Floats
    categories: Codes
    ctr: Floats
    examined: Floats
    fresh: Order


@dataclass(frozen=True, slots=True)
class Slate:
    """Which candidate stands where, the chance each had to stand there, and which of them explore."""

    order: Order
    propensity: Doubles
    explored: Mask


def by_hash(seed: str, place: int, _: Order, chances: Doubles) -> int:
    """Draw by a hash of the seed and the place, so that a replay draws the same."""
    return drawn(chances, f"{seed}/{place}")


def explore(
    order: Order, among: Candidates, how: Explore, *, seed: str, cap: int = 3,
    free: Collection[int] = (), fixed: Collection[int] = (), draw: Draw = by_hash,
) -> Slate:  # fmt: skip
    """Return the list with some of its first ten places drawn.

    The first place and those in `fixed` are left alone; no draw brings a category above `cap` (0: any) among the first
    ten, but for those in `free`. On average at most `how.budget` of the places explore. A chance is that of the draw
    given those at the places above; fresh items are dealt to the places, so that only the cap makes these depend on
    each other.
    """
    order, propensity = order.copy(), np.ones(len(order))
    explored = np.zeros(len(order), dtype=np.bool_)
    places, luce = opened(len(order), how.slots, fixed), how.kind == "plackett-luce"
    tried = among.fresh[among.examined[among.fresh] < how.until]
    pool = best(among.scores, HEAD) if luce else _outside(order, tried, len(among.scores))
    for n, place in enumerate(places):
        rivals = _outside(order, pool, len(among.scores)) if luce else pool[:MOST][n :: len(places)]
        full = _full(among.categories[np.delete(order[:TOP], place)], cap, free) if cap else []
        for code in full:
            rivals = rivals[(among.categories[rivals] != code).all(axis=1)]
        if luce:  # two that swap their places change no count
            rivals = np.concatenate([order[places[n + 1 :]], rivals])
        if len(rivals):
            at = np.concatenate([order[[place]], rivals])
            chances = limited(_weighed(at, among, how), how.budget * len(order) / len(places))
            pick = draw(seed, place, at, chances)
            order[order == at[pick]] = at[0]
            order[place] = at[pick]
            propensity[place], explored[place] = chances[pick], pick > 0
    return Slate(order, propensity, explored)


def opened(n: int, slots: int, fixed: Collection[int] = ()) -> list[int]:
    """Return the places (from 0) of a list of n that explore: as many as `slots`, spread over the first ten.

    >>> opened(20, 3), opened(20, 4), opened(4, 9, fixed=(2,))
    ([3, 6, 9], [3, 5, 7, 9], [1, 3])
    """
    step = max(1, min(STEP, (TOP - 1) // max(slots, 1)))
    return [place for place in range(min(TOP, n) - 1, 0, -step) if place not in fixed][:slots][::-1]


def largest(a: Doubles, b: Doubles) -> Doubles:
    """Return the chance of each of n independent Beta(a, b) variables to be the largest; they sum to one.

    By quadrature over the logit, where no density has a pole: the sum of density times the others' distributions. One
    that is known better than the nodes can tell apart counts as known just that well.

    >>> largest(np.array([1.0, 1.0, 30.0]), np.array([1.0, 1.0, 10.0])).round(2).tolist()
    [0.22, 0.22, 0.57]
    """
    mean, spread = a / (a + b), np.sqrt(1.0 / a + 1.0 / b)  # the latter of the logit
    high = float(np.minimum(mean + WIDTH * np.sqrt(mean * (1.0 - mean) / (a + b + 1.0)), MOST_SURE).max())
    low = float((np.log(a / b) - WIDTH * spread).max())
    logit, step = np.linspace(low, max(np.log(high / (1.0 - high)), low + 1.0), NODES, retstep=True)
    blur = np.minimum((spread / step) ** 2, 1.0)
    a, b = a * blur, b * blur
    beta = np.array(
        [lgamma(x) + lgamma(y) - lgamma(x + y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    )
    share, other = -np.logaddexp(0.0, -logit), -np.logaddexp(0.0, logit)  # log x and log (1 - x)
    density = _exp(np.outer(a, share) + np.outer(b, other) - beta[:, None]) * step
    below = np.cumsum(density, axis=1) - density / 2.0
    below += np.maximum(1.0 - density.sum(axis=1), 0.0)[:, None]
    below = np.log(np.clip(below, TINY, 1.0))
    chances = (density * _exp(below.sum(axis=0) - below)).sum(axis=1)
    total: float = chances.sum()
    return np.asarray(chances / total)


def _exp(x: Doubles) -> Doubles:
    return np.asarray(np.exp(np.maximum(x, LEAST)))  # numbers below the normal ones take ten times as long


def posterior(ctr: Floats, examined: Floats, rate: float = PRIOR_CTR) -> tuple[Doubles, Doubles]:
    """Return Beta(a, b) of click-through rates, from models.items' mean and the places looked at.

    Who was never looked at is expected to have the `rate` (empirical Bayes; Casella 1985, "An introduction to empirical
    Bayes data analysis"). Choices that no impression was sent for do not lower b below the prior's.
    """
    total = examined.astype(np.float64) + PRIOR_STRENGTH
    a = answered(ctr, examined) + PRIOR_STRENGTH * rate
    return a, np.maximum(total - a, PRIOR_STRENGTH * (1.0 - rate))


def limited(chances: Doubles, most: float) -> Doubles:
    """Return the chances with those of all but the first scaled down to `most` together.

    >>> limited(np.array([0.2, 0.6, 0.2]), 0.4).round(2).tolist()
    [0.6, 0.3, 0.1]
    """
    away = float(chances[1:].sum())
    if away <= most:
        return chances
    return np.concatenate([[1.0 - most], chances[1:] * (most / away)])


def drawn(chances: Doubles, seed: str) -> int:
    """Return an index drawn by the chances, from a hash of the seed; never one whose chance is zero."""
    digest = int.from_bytes(blake2b(seed.encode(), digest_size=8).digest()) >> (64 - BITS)
    upto = np.cumsum(chances)
    return int(np.searchsorted(upto, (digest + 1) / (1 << BITS) * upto[-1]))


def _weighed(at: Order, among: Candidates, how: Explore) -> Doubles:
    """Return the chances of candidates at a place, the first of which stands there."""
    if how.kind == "epsilon":
        return np.concatenate([[1.0 - how.epsilon], np.full(len(at) - 1, how.epsilon / (len(at) - 1))])
    if how.kind == "thompson":
        rate = common_rate(among.ctr, among.examined)
        return largest(*posterior(among.ctr[at], among.examined[at], rate))
    worth = among.scores[at].astype(np.float64)
    weights = np.exp((worth - worth.max()) / (how.temperature * (float(among.scores.std()) or 1.0)))
    return np.asarray(weights / weights.sum())


def _outside(order: Order, pool: Order, n: int) -> Order:
    listed = np.zeros(n, dtype=np.bool_)
    listed[order] = True
    return pool[~listed[pool]]


def _full(rows: Codes, cap: int, free: Collection[int]) -> Sequence[int]:
    counts: dict[int, int] = {}
    for row in rows.tolist():
        for code in set(row):
            counts[code] = counts.get(code, 0) + 1
    return [code for code, count in counts.items() if count >= cap and code >= 0 and code not in free]
