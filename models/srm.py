"""Sample ratio: whether the arms hold as many units as their weights say; where not, no comparison can be trusted.

The chi-square test is for one look. Since an experiment is looked at all the time, what decides is the sequential
multinomial test of Lindon and Malek (2020, "Anytime-valid inference for multinomial count data"): a Bayes factor, whose
inverse is below alpha at any time at all with a chance of at most alpha.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, gammaln, xlogy

ALPHA = 0.001  # below it the verdict is stopped
STRENGTH = 1_000.0  # how close to the weights a mismatch is looked for: as many units seen before
SIGNS = 10.0  # the same of preferences, which are looked for among far fewer

Floats = npt.NDArray[np.float64]


def chi_square(counts: npt.ArrayLike, weights: npt.ArrayLike) -> Floats:
    """Return the p-value, for one look, of counts (..., arms) whose expected shares are as `weights` (arms,)."""
    found, shares = _shares(counts, weights)
    expected = found.sum(axis=-1, keepdims=True) * shares
    with np.errstate(invalid="ignore"):
        distance = np.nan_to_num((found - expected) ** 2 / expected).sum(axis=-1)
    return np.asarray(chdtrc(max(1, found.shape[-1] - 1), distance))


def at_any_time(counts: npt.ArrayLike, weights: npt.ArrayLike, strength: float = STRENGTH) -> Floats:
    """Return the p-value, at any time and any number of times, of counts (..., arms) against `weights` (arms,) > 0.

    >>> at_any_time([5_000, 5_000], [1, 1]).item(), at_any_time([6_000, 5_000], [1, 1]).item() < 1e-9
    (1.0, True)
    """
    found, shares = _shares(counts, weights)
    prior = strength * shares
    total = found.sum(axis=-1)
    mixed = (
        gammaln(strength) - gammaln(strength + total) + (gammaln(prior + found) - gammaln(prior)).sum(axis=-1)
    )
    return np.asarray(np.exp(np.minimum(0.0, xlogy(found, shares).sum(axis=-1) - mixed)))


def share(wins: int, losses: int, alpha: float) -> tuple[float, float]:
    """Return the interval of the share of wins that holds at all times: what the test does not reject at `alpha`.

    >>> [round(end, 2) for end in share(70, 30, 0.05)]
    [0.55, 0.83]
    """
    total = wins + losses
    if not total:
        return 0.0, 1.0
    prior = SIGNS / 2
    mixed = gammaln(SIGNS) - gammaln(SIGNS + total)
    mixed += gammaln(prior + wins) + gammaln(prior + losses) - 2 * gammaln(prior)

    def rejected(theta: float) -> bool:
        return bool(xlogy(wins, theta) + xlogy(losses, 1 - theta) - mixed < np.log(alpha))

    def end(out: float) -> float:  # the likelihood falls from its top to both sides
        inside = wins / total
        for _ in range(50):
            middle = (inside + out) / 2
            inside, out = (inside, middle) if rejected(middle) else (middle, out)
        return inside

    return end(0.0), end(1.0)


def _shares(counts: npt.ArrayLike, weights: npt.ArrayLike) -> tuple[Floats, Floats]:
    shares = np.asarray(weights, dtype=np.float64)
    return np.asarray(counts, dtype=np.float64), shares / shares.sum()
