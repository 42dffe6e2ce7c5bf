"""Sequential: intervals and p-values that hold however often, and whenever, someone looks.

An interval reaches so many standard errors to each side that it holds the truth at all times at once with the stated
probability: an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021, "Time-uniform
central limit theory and asymptotic confidence sequences", theorem 2.2). In standard errors it is that of the mixture
test of Johari, Koomen, Pekelis and Walsh (2017, "Peeking at A/B tests"). It is narrowest at `TIGHTEST` units, which is
fixed for all experiments, since it may not be chosen after a look at the data.
"""

from math import log, log1p

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

ALPHA = 0.05  # the chance of a wrong conclusion
TIGHTEST = 1_000  # units of both arms
_WIDTH = -2 * log(ALPHA)
RHO = ((_WIDTH + log1p(_WIDTH)) / TIGHTEST) ** 0.5  # the tuning parameter of the paper

Floats = npt.NDArray[np.float64]


def reach(units: npt.ArrayLike, alpha: npt.ArrayLike = ALPHA) -> Floats:
    """Return how many standard errors an interval reaches at so many units, if it may be looked at at any time.

    >>> reach([100, 1_000, 100_000]).round(2).tolist()
    [3.86, 3.04, 3.56]
    """
    clock = RHO**2 * np.maximum(units, 1.0)
    return np.asarray(np.sqrt(2 * (1 + 1 / clock) * (np.log1p(clock) / 2 - np.log(alpha))))


def chance(score: npt.ArrayLike, units: npt.ArrayLike) -> Floats:
    """Return the always valid p-value of a distance in standard errors: the least alpha that it is out of reach at.

    >>> bool(np.isclose(chance(reach(5_000, 0.01), 5_000), 0.01))
    True
    """
    clock = RHO**2 * np.maximum(units, 1.0)
    return np.asarray(
        np.minimum(1.0, np.exp(np.log1p(clock) / 2 - np.square(score) * clock / (2 * (1 + clock))))
    )


def fixed_reach(alpha: npt.ArrayLike = ALPHA) -> Floats:
    """Return how many standard errors an interval reaches that is looked at once, at a time fixed before."""
    return np.asarray(-ndtri(np.asarray(alpha) / 2))


def fixed_chance(score: npt.ArrayLike) -> Floats:
    """Return the two-sided p-value of a distance in standard errors, looked at once."""
    return np.asarray(2 * ndtr(-np.abs(score)))


def holm(chances: npt.ArrayLike) -> Floats:
    """Return p-values corrected for their number (Holm 1979): those below alpha are all right but with that chance.

    Along the last axis.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    found = np.asarray(chances, dtype=np.float64)
    order = np.argsort(found, axis=-1)
    count = found.shape[-1]
    ranked = np.take_along_axis(found, order, -1) * np.arange(count, 0, -1)
    corrected = np.empty_like(found)
    np.put_along_axis(corrected, order, np.minimum(1.0, np.maximum.accumulate(ranked, axis=-1)), -1)
    return corrected
