"""Inference: what two arms' sheets say about a metric: means, ratios, differences and lifts with their variances.

A metric is the sum of one measure over units divided by that of another, so a mean is a ratio to the constant 1. A
ratio of means varies as the mean of its linearised units does (the delta method; Deng, Knoblich and Lu 2018, "Applying
the delta method in metric analytics"). What was known of units before they were exposed takes its part of the variance
out of the difference (CUPED; Deng, Xu, Kohavi and Walker 2013, "Improving the sensitivity of online controlled
experiments by utilizing pre-experiment data").

Everything here takes stacks of matrices: leading axes, written `...`, are passed through.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.outcomes import Sheet
from streams.errors import Refused

ENOUGH = 100  # units in each arm before anything is concluded of them
ACTED = 20  # and units in both, at the least, that a metric's measure is not zero of
PER_COVARIATE = 50  # units in each arm for every covariate that is used
ALIKE = 1e-12  # a variance below this part of the mean square is that of equal numbers

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Pair(NamedTuple):
    """A metric in the control and in another arm; arrays of shape (...).

    `value` is (..., 2), control first, adjusted by the covariates, `plain` the same without them; `covariance`
    (..., 2, 2) is that of `value`. `kept` is the part of the difference's variance that the covariates leave, `units`
    counts both arms, `enough` tells where anything can be concluded.
    """

    value: Floats
    plain: Floats
    covariance: Floats
    kept: Floats
    units: Floats
    enough: Mask


def select(sheet: Sheet, of: str, per: str = "", covariates: Sequence[str] = ()) -> Floats:
    """Return the matrix (..., 3 + c, 3 + c) of 1, of, per and covariates; raises Refused for an unknown measure.

    Without `per` its place is taken by the constant 1.
    """
    places = [0]
    for name in (of, per, *covariates):
        if name and name not in sheet.names:
            known = ", ".join(sheet.names) or "none"
            raise Refused(f"{name!r} is not measured in this experiment; there are: {known}")
        places.append(sheet.names.index(name) + 1 if name else 0)
    return sheet.gram[..., places, :][..., :, places]


@dataclass(frozen=True, slots=True)
class _Arm:
    """One arm's metric and covariates as means, with the covariances of those means."""

    units: Floats
    value: Floats  # (...)
    variance: Floats  # (...)
    means: Floats  # (..., c)
    shared: Floats  # (..., c): of value and covariates
    spread: Floats  # (..., c, c)


def mean(gram: Floats) -> tuple[Floats, Floats]:
    """Return a metric and the variance of one unit's linearised share in it, both (...), nan without units.

    `gram` is as `select` gives it.
    """
    arm = _arm(gram)
    return arm.value, arm.variance * arm.units


def compare(control: Floats, other: Floats) -> Pair:
    """Return a metric in two arms, whose matrices are as `select` gives them, adjusted by their covariates.

    Covariates are left out where an arm has too few units for so many. Values are nan where an arm has no units, or
    none of what the metric divides by.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = _arm(control), _arm(other)
        units = a.units + b.units
        plain = np.stack([a.value, b.value], axis=-1)
        separate = np.zeros((*plain.shape, 2))
        separate[..., 0, 0], separate[..., 1, 1] = a.variance, b.variance
        acted = _acted(control) + _acted(other)
        enough = (np.minimum(a.units, b.units) >= ENOUGH) & (acted >= ACTED)
        if not a.means.shape[-1]:
            return Pair(plain, plain, separate, np.ones_like(units), units, enough)
        spread = a.spread + b.spread
        known_well = np.minimum(a.units, b.units) >= PER_COVARIATE * a.means.shape[-1]
        slope = np.where(known_well[..., None], _solve(spread, a.shared + b.shared), 0.0)
        # each arm is moved to where its covariates' means would be those of both arms together
        moved = _dot(slope, b.means - a.means)
        share = b.units / units
        value = np.stack([a.value + share * moved, b.value - (1 - share) * moved], axis=-1)
        known = np.einsum("...i,...ij,...j->...", slope, spread, slope)
        in_a, in_b = _dot(slope, a.shared), _dot(slope, b.shared)
        covariance = np.empty_like(separate)
        covariance[..., 0, 0] = a.variance - 2 * share * in_a + share**2 * known
        covariance[..., 1, 1] = b.variance - 2 * (1 - share) * in_b + (1 - share) ** 2 * known
        covariance[..., 0, 1] = share * in_b + (1 - share) * in_a - share * (1 - share) * known
        covariance[..., 1, 0] = covariance[..., 0, 1]
        kept = contrast_variance(covariance) / (a.variance + b.variance)
        return Pair(value, plain, covariance, np.where(np.isfinite(kept), kept, 1.0), units, enough)


def contrast_variance(covariance: Floats, ratio: float = 1.0) -> Floats:
    """Return the variance of: the other arm's value less `ratio` times the control's."""
    found = covariance[..., 1, 1] - 2 * ratio * covariance[..., 0, 1] + ratio**2 * covariance[..., 0, 0]
    return np.asarray(np.maximum(found, 0.0))


def score(pair: Pair, ratio: float = 1.0) -> Floats:
    """Return by how many standard errors the other arm is above `ratio` times the control; 0 where that is unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (pair.value[..., 1] - ratio * pair.value[..., 0]) / np.sqrt(
            contrast_variance(pair.covariance, ratio)
        )
    return np.asarray(np.where(np.isfinite(found), found, 0.0))


def difference(pair: Pair, errors: Floats | float) -> tuple[Floats, Floats, Floats]:
    """Return the other arm's value less the control's, and its interval of so many standard errors."""
    found = pair.value[..., 1] - pair.value[..., 0]
    reach = errors * np.sqrt(contrast_variance(pair.covariance))
    return found, found - reach, found + reach


def lift(pair: Pair, errors: Floats | float) -> tuple[Floats, Floats, Floats]:
    """Return the relative difference and its interval of so many standard errors, nan where it has no bounds.

    The interval holds every lift that the data do not contradict (Fieller 1954, "Some problems in interval
    estimation"), so it leaves out 0 where `difference` does. A control not clearly above 0 gives none.
    """
    control, other, width = pair.value[..., 0], pair.value[..., 1], np.square(errors)
    with np.errstate(divide="ignore", invalid="ignore"):
        a = control**2 - width * pair.covariance[..., 0, 0]
        b = control * other - width * pair.covariance[..., 0, 1]
        c = other**2 - width * pair.covariance[..., 1, 1]
        reach = np.sqrt(np.maximum(b * b - a * c, 0.0))
        bounded = (a > 0) & (control > 0)
        low, high = (np.where(bounded, (b + sign * reach) / a - 1, np.nan) for sign in (-1, 1))
        return np.where(control > 0, other / control - 1, np.nan), low, high


def _arm(gram: Floats) -> _Arm:
    with np.errstate(divide="ignore", invalid="ignore"):
        units = gram[..., 0, 0]
        means = gram[..., 0, :] / units[..., None]
        squares = gram / units[..., None, None]
        spread = squares - means[..., :, None] * means[..., None, :]
        spread = np.where(np.abs(spread) < ALIKE * np.abs(squares), 0.0, spread)
        spread = spread / (units - 1)[..., None, None]  # of means, without bias
        per = np.where(means[..., 2], means[..., 2], np.nan)
        value = means[..., 1] / per
        slope = (spread[..., 1, :] - value[..., None] * spread[..., 2, :]) / per[..., None]
        variance = np.maximum((slope[..., 1] - value * slope[..., 2]) / per, 0.0)
        return _Arm(units, value, variance, means[..., 3:], slope[..., 3:], spread[..., 3:, 3:])


def _acted(gram: Floats) -> Floats:
    """Return how many units the metric's first measure is not zero of, at the least: that many equal ones (Kish)."""
    return np.nan_to_num(np.asarray(gram[..., 0, 1] ** 2 / gram[..., 1, 1]))


def _solve(matrix: Floats, right: Floats) -> Floats:
    """Return the least x with matrix x = right, as well as there is one: covariates may be alike or constant."""
    scale = np.sqrt(np.maximum(np.diagonal(matrix, axis1=-2, axis2=-1), 0.0))
    scale = np.where(scale > 0, scale, 1.0)
    inverse = np.linalg.pinv(
        np.nan_to_num(matrix / (scale[..., :, None] * scale[..., None, :])), rcond=1e-8, hermitian=True
    )
    return np.asarray(np.einsum("...ij,...j->...i", inverse, np.nan_to_num(right) / scale) / scale)


def _dot(one: Floats, other: Floats) -> Floats:
    return np.asarray((one * other).sum(axis=-1))
