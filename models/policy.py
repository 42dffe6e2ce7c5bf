"""Policy: what a policy is worth, told from what another one showed and how likely it was to show it.

Each shown action carries the chance it had. Weighed by how much likelier the judged policy is to show it, the rewards
of the logged actions become those of the judged policy, as far as the log shows what that one would show.

n is the number of lists and k of their places; a single action is a list of one place. Rewards are (n, k) and add up
over places. Weights are (n, k): each place on its own (the item-position model of Li, Kim and Zitouni 2015, "Toward
predicting the outcome of an A/B experiment for search relevance"), or (n, 1), one product for each list.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from streams.errors import Refused

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Model(NamedTuple):
    """A model's guess of the reward: `logged` (n, k) of what was shown, `judged` (n, k) in the mean of the policy."""

    logged: Floats
    judged: Floats


class Estimate(NamedTuple):
    """A value for each list, and what each of n lists says of it: (n,), with `value` as their mean."""

    value: float
    each: Floats


def weights(judged: Floats, logged: Floats) -> Floats:
    """Return how much likelier the judged policy is to show what was shown; raises Refused where that had no chance.

    >>> weights(np.array([0.5, 0.0]), np.array([0.1, 0.2])).tolist()
    [5.0, 0.0]
    """
    if not (logged > 0).all():
        raise Refused(
            f"logged propensity {float(np.min(logged))} of an action that was shown: it must be above 0"
        )
    found: Floats = judged / logged
    return found


def listwise(each: Floats) -> Floats:
    """Return the weights (n, 1) of whole lists, from those of places drawn one given those above it.

    >>> listwise(np.array([[2.0, 1.0], [2.0, 0.0]])).tolist()
    [[2.0], [0.0]]
    """
    product: Floats = each.prod(axis=1, keepdims=True)
    return product


def clipped(each: Floats, most: float) -> Floats:
    """Return weights of at most `most`: some bias for less variance (Ionides 2008, "Truncated importance sampling").

    >>> clipped(np.array([0.5, 30.0]), 10.0).tolist()
    [0.5, 10.0]
    """
    found: Floats = np.minimum(each, most)
    return found


def ips(rewards: Floats, each: Floats) -> Estimate:
    """Weigh rewards by inverse propensity (Horvitz and Thompson 1952; Precup, Sutton and Singh 2000).

    >>> ips(np.array([[1.0], [0.0]]), np.array([[3.0], [0.5]])).value
    1.5
    """
    return _estimate((each * rewards).sum(axis=1))


def snips(rewards: Floats, each: Floats) -> Estimate:
    """Divide by the weights there were instead of those expected (Swaminathan and Joachims 2015); NaN where none is.

    >>> snips(np.array([[1.0], [0.0]]), np.array([[3.0], [1.0]])).value
    0.75
    """
    mean = each.mean(axis=0)
    if not (mean > 0).all():
        return _estimate(np.full(len(each), np.nan))
    values = (each * rewards).mean(axis=0) / mean
    value = float(values.sum())
    return Estimate(value, value + (each * (rewards - values) / mean).sum(axis=1))


def doubly_robust(rewards: Floats, each: Floats, model: Model) -> Estimate:
    """Weigh only what a model has wrong: unbiased if either propensities or model are (Dudík, Langford and Li 2011).

    >>> perfect = Model(np.array([[1.0], [0.0]]), np.array([[0.5], [0.5]]))
    >>> doubly_robust(np.array([[1.0], [0.0]]), np.array([[9.0], [9.0]]), perfect).value
    0.5
    """
    return _estimate((model.judged + each * (rewards - model.logged)).sum(axis=1))


def interval(each: Floats, units: Ints | None = None, confidence: float = 0.95) -> tuple[float, float]:
    """Return the bounds of the mean of (n,) values by Student's t.

    Values of the same unit, a number from 0 for each, may depend on each other: a user's lists do (Liang and Zeger
    1986). Not to be trusted below some tens of effective samples, and NaN for a single unit.

    >>> [round(bound, 3) for bound in interval(np.array([0.0, 1.0] * 50))]
    [0.4, 0.6]
    """
    off = each - each.mean()
    if units is not None:
        off = np.bincount(units, off)[np.unique(units)]
    if len(off) < 2:
        return np.nan, np.nan
    error = float(np.sqrt((off**2).sum() * len(off) / (len(off) - 1))) / len(each)
    half = float(stdtrit(len(off) - 1, 0.5 + confidence / 2.0)) * error
    return float(each.mean()) - half, float(each.mean()) + half


def effective(each: Floats) -> Floats:
    """Return how many lists of equal weight would tell as much, for each column (Kish 1965).

    >>> effective(np.array([[1.0, 3.0], [1.0, 1.0]])).tolist()
    [2.0, 1.6]
    """
    squares = (each**2).sum(axis=0)
    found: Floats = np.divide(each.sum(axis=0) ** 2, squares, out=np.zeros_like(squares), where=squares > 0)
    return found


def unsupported(judged: Floats, logged: Floats) -> Floats:
    """Return the chance that the judged policy shows what the logging one never shows.

    Both are chances over all actions, (..., actions). No log tells the reward of that share: IPS counts it as none,
    SNIPS as the mean of the rest, the doubly robust estimate as what its model says.

    >>> unsupported(np.array([0.2, 0.5, 0.3]), np.array([0.5, 0.5, 0.0])).tolist()
    0.3
    """
    found: Floats = np.where(logged > 0, 0.0, judged).sum(axis=-1)
    return found


def _estimate(each: Floats) -> Estimate:
    return Estimate(float(each.mean()), each)
